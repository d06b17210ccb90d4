"""Detectors with the suppression in the graph: ONNX's NonMaxSuppression and TensorRT's EfficientNMS.

Owns two ways with them: their choice is kept (scores of what was not chosen become 0), or the suppression is
cut and its own inputs become the outputs. Refuses to repeat the suppression; `edgeyolo.vision.nms` does one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.end_to_end import scores_of_classes
from edgeyolo.adapt.evidence import LETTERBOX_114, Evidence, Normalised, Wishes
from edgeyolo.errors import GraphError

if TYPE_CHECKING:
    import onnx

    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView

__all__ = ["EfficientNms", "OnnxNms"]

_STRIP_HINT = "--strip-nms leaves the suppression to EdgeYOLO, on every backend"


@dataclass(frozen=True)
class _Candidates:
    """What goes into a suppression: ``[B, N, 4]`` and ``[B, N, C]``, or `scores` as ``[B, C, N]``."""

    boxes: str
    scores: str
    score_axis: int
    count: int
    classes: int
    offset: bool
    best_only: bool


class OnnxNms:
    """The ONNX operator: its choice of (picture, class, box) is turned into scores."""

    name = "onnx-nms"
    layout = "any, of one NonMaxSuppression"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        nodes = view.nodes_of("NonMaxSuppression")
        if len(nodes) != 1 or (found := _candidates(view, nodes[0])) is None:
            return None
        reasons = [
            f"one NonMaxSuppression, over {found.count} boxes and {found.classes} classes",
            _fate(wishes.strip_nms),
        ]
        if found.best_only:
            reasons.append("it sees the best class of a box only; the scores before that are used")
        if found.offset:
            reasons.append("its boxes are moved apart by class; the boxes before that are used")
        center = _attribute(nodes[0], "center_point_box")
        assumed = (
            () if center else ("boxes are x0 y0 x1 y1 in pixels, x first (the operator takes y first too)",)
        )
        return Evidence(
            family=self.name,
            reasons=tuple(reasons),
            classes=found.classes,
            preprocess=LETTERBOX_114,
            outputs=tuple(output.name for output in view.outputs),
            assumed=assumed,
            final=not wishes.strip_nms,
            details={"strip": wishes.strip_nms},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Give the suppression's inputs, with the scores of what it did not choose as 0 unless it is cut."""
        (node,) = view.nodes_of("NonMaxSuppression")
        found = _candidates(view, node)
        assert found is not None  # it matched
        boxes = edit.xyxy(found.boxes, 2) if _attribute(node, "center_point_box") else found.boxes
        scores = edit.rows(found.scores, found.score_axis, "score_rows")
        if not evidence.details["strip"]:
            seen, chosen = node.input[1], node.output[0]
            values = edit.node("GatherND", (seen, chosen), "chosen_scores")
            none = edit.node("Sub", (seen, seen), "no_scores")
            kept = edit.node("ScatterND", (none, chosen, values), "kept_scores")
            rows = edit.rows(kept, 1, "kept_rows")
            scores = rows
            if found.best_only:
                zero = edit.constant(0.0, "zero")
                mask = edit.float32(edit.node("Greater", (rows, zero), "is_kept"), "bool")
                unmasked = edit.rows(found.scores, found.score_axis, "score_rows")
                scores = edit.node("Mul", (unmasked, mask), "masked_scores")
        return Normalised(boxes, scores, found.count)


class EfficientNms:
    """TensorRT's plugin: number, boxes, scores and classes of what it chose."""

    name = "efficient-nms"
    layout = "num_dets [B,1], boxes [B,K,4], scores [B,K], classes [B,K] of one EfficientNMS_TRT"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        nodes = view.nodes_of("EfficientNMS_TRT")
        if len(nodes) != 1:
            return None
        boxes, scores = (view.shape(name) for name in nodes[0].input[:2])
        if not boxes or not scores or scores[-1] is None or None in boxes[1:] or len(boxes) != 3:
            raise GraphError(
                f"EfficientNMS_TRT over [B,N,4] and [B,N,C] expected, {boxes} and {scores} found",
                hint="simplify the model first: edgeyolo simplify",
            )
        only = "" if wishes.strip_nms else f"; a plugin of TensorRT, no other backend has it: {_STRIP_HINT}"
        return Evidence(
            family=self.name,
            reasons=(
                f"one EfficientNMS_TRT, over {boxes[1]} boxes and {scores[-1]} classes",
                _fate(wishes.strip_nms) + only,
            ),
            classes=scores[-1],
            preprocess=LETTERBOX_114,
            outputs=tuple(output.name for output in view.outputs),
            final=not wishes.strip_nms,
            details={"strip": wishes.strip_nms},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Spread the chosen scores over the classes, or give what goes into the suppression."""
        (node,) = view.nodes_of("EfficientNMS_TRT")
        if evidence.details["strip"]:
            return _efficient_inputs(view, edit, node)
        number, boxes, score, class_id = node.output
        shape = next((item.shape for item in view.outputs if item.name == boxes), view.shape(boxes))
        count = shape[1] if shape else _attribute(node, "max_output_boxes")
        assert count is not None
        places = edit.constant(np.arange(count)[None], "places")
        used = edit.node("Less", (places, edit.float32(number, "int32")), "is_used")
        score = edit.node("Mul", (score, edit.float32(used, "bool")), "used_scores")
        column = edit.constant([0, count, 1], "column", np.int64)
        spread = scores_of_classes(
            edit,
            edit.node("Reshape", (score, column), "score_column"),
            edit.node("Reshape", (edit.float32(class_id, "int32"), column), "class_column"),
            evidence.classes,
        )
        return Normalised(boxes, spread, count)


def _fate(strip: bool) -> str:
    return "it is cut: --strip-nms" if strip else f"what it chooses is used ({_STRIP_HINT})"


def _efficient_inputs(view: GraphView, edit: GraphEdit, node: onnx.NodeProto) -> Normalised:
    boxes, scores = node.input[:2]
    shape = view.shape(boxes)
    assert shape is not None
    assert shape[1] is not None
    # box_coding: 0 is corners, 1 is centre and size (TensorRT's README of the plugin).
    boxes = edit.xyxy(boxes, 2) if _attribute(node, "box_coding") else boxes
    if _attribute(node, "score_activation"):
        scores = edit.node("Sigmoid", (scores,), "probabilities")
    return Normalised(boxes, scores, shape[1])


def _candidates(view: GraphView, node: onnx.NodeProto) -> _Candidates | None:
    boxes, scores = node.input[:2]
    box_shape, score_shape = view.shape(boxes), view.shape(scores)
    if not box_shape or not score_shape or len(box_shape) != 3 or len(score_shape) != 3:
        return None
    count, classes = box_shape[1], score_shape[1]
    if count is None or classes is None:
        return None
    if classes > 1:
        return _Candidates(boxes, scores, 1, count, classes, False, False)
    apart = _before_offset(view, boxes)
    best = view.behind(scores)
    wide = view.shape(best.input[0]) if best is not None and best.op_type == "ReduceMax" else None
    if best is None or not wide or wide[1:2] != (count,) or len(wide) != 3 or wide[2] is None:
        return _Candidates(apart or boxes, scores, 1, count, 1, apart is not None, False)
    return _Candidates(apart or boxes, best.input[0], 2, count, wide[2], apart is not None, True)


def _before_offset(view: GraphView, boxes: str) -> str | None:
    """Give the boxes before one number a box, the class times a large size, was added to all four values."""
    node = view.producer(boxes)
    if node is None or node.op_type != "Add":
        return None
    shapes = {part: view.shape(part) or () for part in node.input}
    columns = [part for part, shape in shapes.items() if shape[-1:] == (1,)]
    whole = [part for part, shape in shapes.items() if shape[-1:] == (4,)]
    return whole[0] if len(columns) == len(whole) == 1 and not view.is_constant(columns[0]) else None


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), 0)
