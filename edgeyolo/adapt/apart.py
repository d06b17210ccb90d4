"""Detectors that give boxes and scores as two outputs: YOLO-NAS, PP-YOLOE, RT-DETR, D-FINE and others.

Owns the pair ``[B, N, 4]`` and ``[B, N, C]``, either of them with its last axes the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.box_format import PIXEL_CORNERS, BoxFormat, box_format, pixel_corners
from edgeyolo.adapt.evidence import LETTERBOX_114, STRETCH, Evidence, Normalised, Wishes, grid_of

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Tensor

__all__ = ["Apart"]


@dataclass(frozen=True)
class _Pair:
    boxes: Tensor
    box_axis: int
    scores: Tensor
    score_axis: int
    count: int
    classes: int


class Apart:
    """Boxes and scores as two outputs."""

    name = "boxes+scores"
    layout = "[B,N,4] and [B,N,C]"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        pair = _pair(view)
        if pair is None:
            return None
        found = _format(view, pair.boxes, pair.box_axis)
        chosen = found or PIXEL_CORNERS
        reasons = [
            f"outputs {pair.boxes.name!r} and {pair.scores.name!r}: {pair.count} boxes of 4 values and "
            f"{pair.classes} scores"
        ]
        assumed: list[str] = []
        if grid := grid_of(view.input_wh, pair.count):
            reasons.append(f"{pair.count} boxes are {grid.anchors} a cell on strides {grid.strides}")
        (reasons if found else assumed).append(f"boxes are {chosen}")
        if view.is_logit(pair.scores.name):
            reasons.append("scores are logits, straight from a layer with weights: a Sigmoid is added")
        elif not view.is_activated(pair.scores.name):
            assumed.append("scores are from 0 to 1 already")
        return Evidence(
            family=self.name,
            reasons=tuple(reasons),
            classes=pair.classes,
            # Queries instead of cells, and boxes as parts of the sides, are of a transformer: it stretches.
            preprocess=LETTERBOX_114 if grid and not chosen.relative else STRETCH,
            outputs=(pair.boxes.name, pair.scores.name),
            assumed=tuple(assumed),
            final=grid is None,  # queries: each object has one
            strides=grid.strides if grid else (),
            details={"format": chosen},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Bring both to rows, boxes to corners in pixels, scores to 0..1."""
        pair = _pair(view)
        assert pair is not None  # it matched
        boxes = edit.float32(pair.boxes.name, pair.boxes.dtype)
        if len(view.shape(pair.boxes.name) or ()) == 4:
            boxes = edit.node("Reshape", (boxes, edit.constant([0, pair.count, 4], "flat", np.int64)), "flat")
        boxes = edit.rows(boxes, pair.box_axis, "box_rows")
        chosen = evidence.details["format"]
        assert isinstance(chosen, BoxFormat)
        boxes = pixel_corners(edit, boxes, 2, chosen, view.input_wh)
        scores = edit.rows(edit.float32(pair.scores.name, pair.scores.dtype), pair.score_axis, "score_rows")
        if view.is_logit(pair.scores.name):
            scores = edit.node("Sigmoid", (scores,), "probabilities")
        return Normalised(boxes, scores, pair.count)


def _format(view: GraphView, boxes: Tensor, axis: int) -> BoxFormat | None:
    return box_format(view, boxes.name, view.rows(boxes.name, axis))


def _pair(view: GraphView) -> _Pair | None:
    """Find two outputs of as many boxes, one with four values each.

    With four classes both fit: the scores are then those that come from an activation, or the second.
    """
    cubes = [_flat(item) for item in view.outputs]
    cubes = [item for item in cubes if len(item.shape) == 3 and None not in item.shape[1:]]
    found = [
        pair for boxes in cubes for scores in cubes if boxes is not scores and (pair := _fit(boxes, scores))
    ]
    # Boxes straight from a layer with weights are offsets of anchors the graph lacks (SSD, RetinaNet).
    found = [pair for pair in found if not view.is_logit(pair.boxes.name)]
    plain = [pair for pair in found if not view.is_activated(pair.boxes.name)]
    known = [pair for pair in found if _format(view, pair.boxes, pair.box_axis) is not None]
    return next(iter((*known, *plain, *found)), None)


def _flat(output: Tensor) -> Tensor:
    """See ``[B, N, 1, 4]`` as ``[B, N, 4]``: YOLOv4 in PyTorch has its boxes once for all classes."""
    batch, *sizes = output.shape or (None,)
    return output._replace(shape=(batch, sizes[0], 4)) if sizes[1:] == [1, 4] else output


def _fit(boxes: Tensor, scores: Tensor) -> _Pair | None:
    for box_axis in (2, 1):
        count = boxes.shape[3 - box_axis]
        if boxes.shape[box_axis] != 4 or count is None or count <= 4:
            continue
        for score_axis in (2, 1):
            classes = scores.shape[score_axis]
            if scores.shape[3 - score_axis] == count and classes is not None:
                return _Pair(boxes, box_axis, scores, score_axis, count, classes)
    return None
