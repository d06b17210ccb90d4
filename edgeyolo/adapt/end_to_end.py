"""Detectors that give their final boxes, one row each: YOLOv10, YOLO26, exports with the suppression inside.

Owns the layout ``[B, K, 6]`` of ``x0 y0 x1 y1 score class``. In the contract each box has its score in the
column of its class and 0 elsewhere, and is marked as final: no suppression follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.adapt.box_format import PIXEL_CORNERS, BoxFormat, format_of_values, pixel_corners
from edgeyolo.adapt.evidence import LETTERBOX_114, STRETCH, Evidence, Normalised, Wishes, grid_of
from edgeyolo.adapt.view import LAYOUT

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Tensor

__all__ = ["EndToEnd", "EndToEndApart", "scores_of_classes"]

_COCO_CLASSES = 80
_VALUES = 6
_SELECTS = ("TopK", "NonMaxSuppression")


class _Order(NamedTuple):
    """First column of the box, column of the score, column of the class."""

    box: int
    score: int
    class_id: int
    why: str = ""


class EndToEnd:
    """Final boxes in rows of six values."""

    name = "end2end"
    layout = "[B,K,6] of x0 y0 x1 y1, score, class"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        if wishes.strip_nms and view.nodes_of("NonMaxSuppression"):
            return None
        output = next((item for item in view.outputs if _is_final(view, item)), None)
        if output is None:
            return None
        classes, told, assumed = _class_count(view, wishes)
        reasons = [f"output {output.name!r} is [B,{output.shape[1]},6]: final boxes, no row of every cell"]
        if selects := [node.op_type for node in view.nodes_of(*_SELECTS)]:
            reasons.append(f"the graph chooses its boxes itself: {', '.join(sorted(set(selects)))}")
        order = _order(view, output)
        words = f"columns are box from {order.box}, score {order.score}, class {order.class_id}{order.why}"
        (reasons if order.why else assumed).append(words)
        found = _final_format(view, output, order.box)
        (reasons if found.why else assumed).append(f"boxes are {found}")
        return Evidence(
            family=self.name,
            reasons=(*reasons, *told),
            classes=classes,
            preprocess=LETTERBOX_114,
            outputs=(output.name,),
            final=True,
            assumed=tuple(assumed),
            details={"order": order, "format": found},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Cut the boxes; spread the scores over the classes."""
        (output,) = (item for item in view.outputs if item.name in evidence.outputs)
        order, found = evidence.details["order"], evidence.details["format"]
        assert isinstance(order, _Order)
        assert isinstance(found, BoxFormat)
        source = edit.float32(output.name, output.dtype)
        column, place = order.score, order.class_id
        scores = scores_of_classes(
            edit,
            edit.cut(source, 2, column, column + 1, "score"),
            edit.cut(source, 2, place, place + 1, "class"),
            evidence.classes,
        )
        count = output.shape[1]
        assert count is not None
        boxes = edit.cut(source, 2, order.box, order.box + 4, "box")
        return Normalised(pixel_corners(edit, boxes, 2, found, view.input_wh), scores, count)


class _Apart(NamedTuple):
    """Final boxes, their scores and their classes; without `scores` these are the boxes' fifth value."""

    boxes: Tensor
    scores: Tensor | None
    classes: Tensor


class EndToEndApart:
    """Final boxes, their scores and their classes as outputs of their own: RT-DETR, D-FINE, mmdeploy."""

    name = "end2end-apart"
    layout = "[B,K,4] of x0 y0 x1 y1 and [B,K] of scores, or [B,K,5] of both; [B,K] of integer classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        parts = _apart(view)
        if parts is None or (wishes.strip_nms and view.nodes_of("NonMaxSuppression")):
            return None
        classes, told, assumed = _class_count(view, wishes)
        outputs = tuple(item.name for item in parts if item is not None)
        found = _final_format(view, parts.boxes, 0)
        reasons = [
            f"outputs {', '.join(map(repr, outputs))}: boxes, scores and integer classes of "
            f"{parts.boxes.shape[1]} final boxes"
        ]
        (reasons if found.why else assumed).append(f"boxes are {found}")
        return Evidence(
            family=self.name,
            reasons=(*reasons, *told),
            classes=classes,
            preprocess=LETTERBOX_114 if view.nodes_of("NonMaxSuppression") else STRETCH,
            outputs=outputs,
            final=True,
            assumed=tuple(assumed),
            details={"parts": parts, "format": found},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Spread the scores over the classes."""
        parts, found = evidence.details["parts"], evidence.details["format"]
        assert isinstance(parts, _Apart)
        assert isinstance(found, BoxFormat)
        count = parts.boxes.shape[1]
        assert count is not None
        boxes = edit.float32(parts.boxes.name, parts.boxes.dtype)
        shape = edit.constant([0, count, 1], "column", np.int64)
        classes = edit.node("Reshape", (edit.float32(parts.classes.name, "int"), shape), "class_column")
        if parts.scores is None:
            score = edit.cut(boxes, 2, 4, 5, "score")
            boxes = edit.cut(boxes, 2, 0, 4, "box")
        else:
            scores = edit.float32(parts.scores.name, parts.scores.dtype)
            score = edit.node("Reshape", (scores, shape), "score_column")
        spread = scores_of_classes(edit, score, classes, evidence.classes)
        return Normalised(pixel_corners(edit, boxes, 2, found, view.input_wh), spread, count)


def _apart(view: GraphView) -> _Apart | None:
    """Find boxes, scores and classes."""
    rows = [item for item in view.outputs if len(item.shape) == 3 and item.shape[2] in (4, 5)]
    if len(rows) != 1 or not rows[0].shape[1]:
        return None
    flat = [item for item in view.outputs if item.shape[1:] in (rows[0].shape[1:2], (rows[0].shape[1], 1))]
    scores = [item for item in flat if item.dtype.startswith("float")]
    classes = [item for item in flat if item.dtype.startswith("int")]
    wanted = 1 if rows[0].shape[2] == 4 else 0
    if len(classes) != 1 or len(scores) != wanted:
        return None
    return _Apart(rows[0], scores[0] if scores else None, classes[0])


def _order(view: GraphView, output: Tensor) -> _Order:
    """Tell the columns by their values: classes are whole numbers, scores are none, from 0 to 1."""
    values = view.values(output.name)
    usual = _Order(0, 4, 5)
    if values is None or not values.any():
        return usual
    columns = values.reshape(-1, _VALUES).astype(np.float64).T
    for order in (usual, _Order(0, 5, 4), _Order(2, 1, 0)):
        score, class_id = columns[order.score], columns[order.class_id]
        is_score = bool((score >= 0).all() and (score <= 1).all() and (score % 1).any())
        if is_score and not (class_id % 1).any() and (class_id >= -1).all():
            return order._replace(why=", by their values for a picture of noise")
    return usual


def _final_format(view: GraphView, output: Tensor, first: int) -> BoxFormat:
    values = view.values(output.name)
    boxes = None if values is None else values[..., first : first + 4]
    # What chose the boxes lies between them and what made them: only their values tell.
    return (None if boxes is None else format_of_values(boxes)) or PIXEL_CORNERS


def scores_of_classes(edit: GraphEdit, score: str, class_id: str, classes: int) -> str:
    """Spread scores over classes.

    Args:
        edit: The graph.
        score: ``[B, K, 1]``.
        class_id: ``[B, K, 1]`` float32, whole numbers; -1 and the like of padding belong to no class.
        classes: C.

    Returns:
        ``[B, K, C]``, the score in the column of its class and 0 elsewhere.
    """
    columns = edit.constant(np.arange(classes).reshape(1, 1, -1), "class_ids")
    same = edit.node("Equal", (class_id, columns), "is_class")
    return edit.node("Mul", (edit.float32(same, "bool"), score), "class_scores")


def _is_final(view: GraphView, output: Tensor) -> bool:
    if len(output.shape) != 3 or output.shape[2] != _VALUES or output.shape[1] is None:
        return False
    # [B, N, 5 + 1] of one class has a row for every cell; where it chooses none, it is that.
    return grid_of(view.input_wh, output.shape[1]) is None or bool(view.nodes_of(*_SELECTS))


def _class_count(view: GraphView, wishes: Wishes) -> tuple[int, list[str], list[str]]:
    """Give the number of classes, what told it, and what was assumed."""
    if wishes.classes is not None:
        return wishes.classes, [f"{wishes.classes} classes, by the class names that are given"], []
    for found, why in _counts_in_the_graph(view):
        return found, [f"{found} classes, {why}"], []
    return _COCO_CLASSES, [], [f"{_COCO_CLASSES} classes: the graph does not tell; --names FILE gives others"]


def _counts_in_the_graph(view: GraphView) -> Iterator[tuple[int, str]]:
    """Look where a choice of the best class leaves its number of classes."""
    for node in view.nodes_of("Mod"):
        value = view.constant(node.input[1])
        if value is not None and value.size == 1:
            yield int(value.ravel()[0]), "as the best score's place is divided by that number"
    for node in view.nodes_of("TopK"):
        # Of all scores in one row: before that they were [B, Q, C].
        maker, shape = view.producer(node.input[0]), view.shape(node.input[0])
        before = view.shape(maker.input[0]) if maker is not None and maker.op_type in LAYOUT else None
        if before and shape and len(before) == 3 and len(shape) == 2 and before[2] is not None:
            yield before[2], "as the best scores are chosen of queries times that many"
    for node in view.nodes_of("ReduceMax", "ArgMax"):
        shape = view.shape(node.input[0])
        if shape and len(shape) == 3 and shape[2] is not None and grid_of(view.input_wh, shape[1]):
            yield shape[2], f"as {node.op_type} takes the best of that many of each cell"
    for node in view.nodes_of("NonMaxSuppression"):
        shape = view.shape(node.input[1])
        if shape and len(shape) == 3 and shape[1] is not None and shape[1] > 1:
            yield shape[1], "as the scores of its NonMaxSuppression"
