"""Detectors that give distances from each cell to the four sides of a box, not yet decoded.

NanoDet, PP-PicoDet without its postprocessing, and YOLOv8 to 12 cut before their decode (as for chips that
decode outside). Owns their three layouts and the decode: a distance is the mean of a distribution over bins.
Refuses plain distances: whether they are exponents, cells or pixels is not visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.evidence import LETTERBOX_114, Evidence, Normalised, Wishes, grid_of
from edgeyolo.adapt.levels import Level, cells_of, level_rows, levels_of
from edgeyolo.spec import Preprocess

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Tensor

__all__ = ["ClassesFirst", "DistancePairs", "DistancesFirst"]

_BINS = (8, 16, 17)
"""NanoDet and PicoDet (reg_max 7), YOLOv8 and its kin (16), PP-YOLOE and GFL (16 and the zero)."""

_IMAGENET_BGR = Preprocess(
    resize="stretch",
    channels="bgr",
    scale=1.0,
    mean=(103.53, 116.28, 123.675),
    std=(57.375, 57.12, 58.395),
    pad_value=0.0,
)
"""NanoDet: its configs' ``normalize`` and ``keep_ratio: False`` (RangiLyu/nanodet, config/)."""

_IMAGENET_RGB = Preprocess(
    resize="stretch", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), pad_value=0.0
)
"""PP-PicoDet: ``NormalizeImage`` and ``keep_ratio: False`` (PaddleDetection, configs/picodet/_base_)."""


@dataclass(frozen=True)
class _Layout:
    """Where class scores and distributions are.

    Args:
        pieces: Levels, or one output of all strides as a level of its own; of pairs, the scores only.
        distances: Of pairs, the distributions, as many as `pieces`; else empty.
        grids: Columns, rows and stride of each map.
        classes: Number of classes.
        bins: Bins a side.
        classes_first: In one output, the scores come before the distributions.
        logits: The scores lack their sigmoid.
        offset: What is added to column and row for the point that distances start from, cells.
    """

    pieces: tuple[Level, ...]
    distances: tuple[Level, ...]
    grids: tuple[tuple[int, int, int], ...]
    classes: int
    bins: int
    classes_first: bool
    logits: bool
    offset: float


class _Distances:
    """What the three layouts share: the decode."""

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Append the mean of each distribution, times the stride, to both sides of each cell's point.

        Source:
            Li et al., Generalized Focal Loss, arXiv 2006.04388, equation 4.
        """
        layout = evidence.details["layout"]
        assert isinstance(layout, _Layout)
        count = sum(columns * rows for columns, rows, _ in layout.grids)
        scores, sides = _parts(edit, layout)
        if layout.logits:
            scores = edit.node("Sigmoid", (scores,), "probabilities")
        shape = edit.constant([0, count, 4, layout.bins], "bins", np.int64)
        shares = edit.node("Softmax", (edit.node("Reshape", (sides, shape), "by_bin"),), "shares", axis=3)
        # No MatMul: a layer with weights would be taken into INT8, and the decode stays in float.
        distances = edit.sum_last(edit.multiply(shares, np.arange(layout.bins), "weighted"), "in_cells")
        corner, stride = cells_of(layout.grids)
        point = edit.constant(corner + layout.offset, "point")
        low = edit.node("Sub", (point, edit.cut(distances, 2, 0, 2, "before")), "x0y0")
        high = edit.node("Add", (point, edit.cut(distances, 2, 2, 4, "behind")), "x1y1")
        boxes = edit.multiply(edit.node("Concat", (low, high), "xyxy", axis=2), stride, "in_pixels")
        return Normalised(boxes, scores, count)


class ClassesFirst(_Distances):
    """NanoDet and NanoDet-Plus: all strides in one output, scores before distributions."""

    name = "nanodet"
    layout = "[B,N,C+4R] of classes, then R bins for each of four sides"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        found = _whole(view, wishes, forced=wishes.family == self.name, classes_first=True)
        if found is None:
            return None
        layout, told = found
        plus = layout.grids[-1][2] == 64
        which = "NanoDet-Plus: distances start at a cell's corner" if plus else "NanoDet: at a cell's middle"
        return _evidence(
            self.name, layout, _IMAGENET_BGR, [*told, f"strides to {layout.grids[-1][2]}: {which}"]
        )


class DistancesFirst(_Distances):
    """YOLOv8 to 12 cut before their decode: distributions before scores, one map a stride or all in one."""

    name = "yolov8-raw"
    layout = "one [B,4R+C,h,w] a stride, or [B,4R+C,N], of R bins for each of four sides, then classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        forced = wishes.family == self.name
        found = _maps(view, wishes, forced) or _whole(view, wishes, forced=forced, classes_first=False)
        if found is None:
            return None
        layout, told = found
        return _evidence(self.name, layout, LETTERBOX_114, told)


class DistancePairs(_Distances):
    """PP-PicoDet and older NanoDet, and heads cut in two: scores and distributions apart, both a stride."""

    name = "distance-pairs"
    layout = "[B,C,h,w] or [B,n,C] of classes and [B,4R,h,w] or [B,n,4R] of R bins a side, for each stride"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        pairs = list(_pairs(view))
        if not pairs:
            return None
        scores, sides = zip(*pairs, strict=True)
        widths = {(score.width, side.width) for score, side in pairs}
        if len(widths) != 1 or sides[0].width // 4 not in _BINS:
            return None
        bins = sides[0].width // 4
        layout = _Layout(
            pieces=tuple(scores),
            distances=tuple(sides),
            grids=tuple((level.columns, level.rows, level.stride) for level in scores),
            classes=scores[0].width,
            bins=bins,
            classes_first=True,
            logits=not view.is_activated(scores[0].output.name),
            offset=0.5,
        )
        told = [f"two outputs a stride: {layout.classes} scores, and 4 sides of {bins} bins"]
        return _evidence(self.name, layout, LETTERBOX_114 if bins == 16 else _IMAGENET_RGB, told)


def _pairs(view: GraphView) -> Iterator[tuple[Level, Level]]:
    """Give scores and distributions of each stride; nothing where a stride has not exactly these.

    Some exporters add a map of the classes' sum, of one channel, to skip cells early; it is not needed.
    """
    levels = [level for level in levels_of(view) if level.width > 1 or len(view.outputs) % 3]
    by_stride = {level.stride: [item for item in levels if item.stride == level.stride] for level in levels}
    if not levels or any(len(items) != 2 for items in by_stride.values()):
        return
    for items in by_stride.values():
        fitting = [item for item in items if item.width % 4 == 0 and item.width // 4 in _BINS]
        # Where both fit by their width, scores are probabilities, and the mean needs logits.
        if len(fitting) == 2:
            fitting = [item for item in items if not view.is_activated(item.output.name)]
        side = fitting[0] if fitting else items[1]
        yield next(item for item in items if item is not side), side


def _maps(view: GraphView, wishes: Wishes, forced: bool) -> tuple[_Layout, list[str]] | None:
    """Recognise one map a stride by how it was joined: 4R and then C channels."""
    levels = levels_of(view)
    if not levels or len({level.stride for level in levels}) != len(levels):
        return None
    split = _split(view, levels[0].output, levels[0].axis, levels[0].width, wishes, forced)
    if split is None or len({level.width for level in levels}) != 1:
        return None
    bins, classes, why = split
    grids = tuple((level.columns, level.rows, level.stride) for level in levels)
    return _Layout(tuple(levels), (), grids, classes, bins, False, _are_logits(view, levels), 0.5), why


def _whole(
    view: GraphView, wishes: Wishes, *, forced: bool, classes_first: bool
) -> tuple[_Layout, list[str]] | None:
    """Recognise one output of all strides, in rows or in columns."""
    if len(view.outputs) != 1 or len(view.outputs[0].shape) != 3 or None in view.outputs[0].shape[1:]:
        return None
    (output,) = view.outputs
    for axis in (2, 1):
        width, grid = output.shape[axis], grid_of(view.input_wh, output.shape[3 - axis])
        if grid is None or grid.anchors != 1 or width is None:
            continue
        split = _split(view, output, axis, width, wishes, forced, classes_first=classes_first)
        if split is None:
            continue
        bins, classes, why = split
        grids = tuple(
            (columns, rows, stride)
            for (columns, rows), stride in zip(grid.cells(view.input_wh), grid.strides, strict=True)
        )
        piece = Level(output, axis, width, sum(columns * rows for columns, rows, _ in grids), 1, 0)
        offset = 0.0 if classes_first and grid.strides[-1] == 64 else 0.5
        logits = _are_logits(view, [piece], classes_first=classes_first)
        return _Layout((piece,), (), grids, classes, bins, classes_first, logits, offset), why
    return None


def _split(  # noqa: PLR0913  each says something else of the one tensor
    view: GraphView,
    output: Tensor,
    axis: int,
    width: int,
    wishes: Wishes,
    forced: bool,
    *,
    classes_first: bool = False,
) -> tuple[int, int, list[str]] | None:
    """Tell bins and classes of one output: by its Concat; with ``--family``, by the usual number of bins."""
    widths = [leaf.width for leaf in view.leaves(output.name, axis)]
    if len(widths) == 2:
        classes, sides = widths if classes_first else widths[::-1]
        if sides % 4 == 0 and sides // 4 in _BINS:
            return (
                sides // 4,
                classes,
                [f"its values are joined as {widths[0]} + {widths[1]}: bins and classes"],
            )
    if not forced:
        return None
    bins = 8 if classes_first else 16
    if wishes.classes is not None and (width - wishes.classes) // 4 in _BINS:
        bins = (width - wishes.classes) // 4
    classes = width - 4 * bins
    return (bins, classes, [f"{bins} bins a side, as usual"]) if classes > 0 else None


def _are_logits(view: GraphView, levels: list[Level], *, classes_first: bool = False) -> bool:
    """Say whether the class scores lack their sigmoid."""
    leaves = view.leaves(levels[0].output.name, levels[0].axis)
    scores = leaves[0 if classes_first else -1].tensor if len(leaves) == 2 else levels[0].output.name
    return not view.is_activated(scores)


def _evidence(family: str, layout: _Layout, preprocess: Preprocess, told: list[str]) -> Evidence:
    strides = tuple(stride for _, _, stride in layout.grids)
    return Evidence(
        family=family,
        reasons=(
            f"{sum(c * r for c, r, _ in layout.grids)} cells on strides {', '.join(map(str, strides))}",
            *told,
            *(["scores are logits: a Sigmoid is added"] if layout.logits else []),
            "the decode is missing: the mean of each distribution is added",
        ),
        classes=layout.classes,
        preprocess=preprocess,
        outputs=tuple(level.output.name for level in (*layout.pieces, *layout.distances)),
        strides=strides,
        details={"layout": layout},
    )


def _parts(edit: GraphEdit, layout: _Layout) -> tuple[str, str]:
    """Give scores ``[B, N, C]`` and distributions ``[B, N, 4R]``."""
    first = edit.join([level_rows(edit, level) for level in layout.pieces], 1, "values")
    if layout.distances:
        return first, edit.join([level_rows(edit, level) for level in layout.distances], 1, "bins")
    sides = 4 * layout.bins
    if layout.classes_first:
        end = layout.classes
        return edit.cut(first, 2, 0, end, "scores"), edit.cut(first, 2, end, end + sides, "sides")
    return edit.cut(first, 2, sides, sides + layout.classes, "scores"), edit.cut(first, 2, 0, sides, "sides")
