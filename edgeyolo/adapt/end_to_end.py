"""Detectors that give their final boxes, one row each: YOLOv10, YOLO26, exports with the suppression inside.

Owns the layout ``[B, K, 6]`` of ``x0 y0 x1 y1 score class``. In the contract each box has its score in the
column of its class and 0 elsewhere, and is marked as final: no suppression follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.evidence import LETTERBOX_114, STRETCH, Evidence, Normalised, Wishes, grid_of

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Tensor

__all__ = ["EndToEnd", "EndToEndApart", "scores_of_classes"]

_COCO_CLASSES = 80
_VALUES = 6
_SELECTS = ("TopK", "NonMaxSuppression")


class EndToEnd:
    """Final boxes in rows of six values."""

    name = "end2end"
    layout = "[B,K,6] of x0 y0 x1 y1 in pixels, score, class"

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
        return Evidence(
            family=self.name,
            reasons=(*reasons, *told),
            classes=classes,
            preprocess=LETTERBOX_114,
            outputs=(output.name,),
            final=True,
            assumed=(*assumed, "columns are x0 y0 x1 y1 in pixels of the network input, score, class"),
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Cut the boxes; spread the scores over the classes."""
        (output,) = (item for item in view.outputs if item.name in evidence.outputs)
        source = edit.float32(output.name, output.dtype)
        scores = scores_of_classes(
            edit, edit.cut(source, 2, 4, 5, "score"), edit.cut(source, 2, 5, 6, "class"), evidence.classes
        )
        count = output.shape[1]
        assert count is not None
        return Normalised(edit.cut(source, 2, 0, 4, "box"), scores, count)


class EndToEndApart:
    """Final boxes, their scores and their classes as three outputs, as RT-DETR and D-FINE are deployed."""

    name = "end2end-apart"
    layout = "[B,K,4] of x0 y0 x1 y1 in pixels, [B,K] of scores, [B,K] of integer classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        found = _triple(view)
        if found is None or (wishes.strip_nms and view.nodes_of("NonMaxSuppression")):
            return None
        classes, told, assumed = _class_count(view, wishes)
        text = (
            f"outputs {', '.join(repr(item.name) for item in found)}: boxes, scores and integer classes of "
        )
        return Evidence(
            family=self.name,
            reasons=(f"{text}{found[0].shape[1]} final boxes", *told),
            classes=classes,
            preprocess=LETTERBOX_114 if view.nodes_of("NonMaxSuppression") else STRETCH,
            outputs=tuple(item.name for item in found),
            final=True,
            assumed=(*assumed, "boxes are x0 y0 x1 y1 in pixels of the network input"),
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Spread the scores over the classes."""
        found = _triple(view)
        assert found is not None  # it matched
        boxes, scores, classes = found
        count = boxes.shape[1]
        assert count is not None
        shape = edit.constant([0, count, 1], "column", np.int64)
        columns = [
            edit.node("Reshape", (edit.float32(item.name, item.dtype), shape), "column")
            for item in (scores, classes)
        ]
        spread = scores_of_classes(edit, columns[0], columns[1], evidence.classes)
        return Normalised(edit.float32(boxes.name, boxes.dtype), spread, count)


def _triple(view: GraphView) -> tuple[Tensor, Tensor, Tensor] | None:
    """Find boxes, scores and classes."""
    boxes = [item for item in view.outputs if len(item.shape) == 3 and item.shape[2] == 4 and item.shape[1]]
    if len(boxes) != 1:
        return None
    flat = [item for item in view.outputs if len(item.shape) == 2 and item.shape[1] == boxes[0].shape[1]]
    scores = [item for item in flat if item.dtype.startswith("float")]
    classes = [item for item in flat if item.dtype.startswith("int")]
    return (boxes[0], scores[0], classes[0]) if len(scores) == len(classes) == 1 else None


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
    for node in view.nodes_of("ReduceMax", "ArgMax"):
        shape = view.shape(node.input[0])
        if shape and len(shape) == 3 and shape[2] is not None and grid_of(view.input_wh, shape[1]):
            yield shape[2], f"as {node.op_type} takes the best of that many of each cell"
    for node in view.nodes_of("NonMaxSuppression"):
        shape = view.shape(node.input[1])
        if shape and len(shape) == 3 and shape[1] is not None and shape[1] > 1:
            yield shape[1], "as the scores of its NonMaxSuppression"
