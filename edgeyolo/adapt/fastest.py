"""FastestDet and Yolo-FastestV2: maps of dog-qiuqiu's small detectors, decoded here.

Owns their two layouts, which are recognised by how the maps are joined. Refuses to guess anchors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.evidence import Evidence, Normalised, Wishes
from edgeyolo.adapt.levels import Level, cells_of, level_rows, levels_of
from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.spec import Preprocess

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView

__all__ = ["FastestDet", "YoloFastestV2"]

_STRETCH_BGR = Preprocess(resize="stretch", channels="bgr")
"""As both projects are used by others; neither the graph nor their documents say it, so it is assumed."""

_PICTURES = "pictures are stretched, BGR, 0..1: edgeyolo tune-preprocess tells"
_HINT = (
    "--anchors W,H,... in pixels of the network input, finest head first; the published COCO model has, at "
    "352x352, 12.64,19.39,37.88,51.48,55.71,138.31,126.91,78.23,131.57,214.55,279.92,258.87"
)


class FastestDet:
    """One map of one box a cell: objectness, box, softmax of the classes."""

    name = "fastestdet"
    layout = "one map [B,1+4+C,h,w] of objectness, box, softmax of classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        levels = levels_of(view)
        if len(levels) != 1:
            return None
        (level,) = levels
        leaves = view.leaves(level.output.name, level.axis)
        joined = [leaf.width for leaf in leaves] == [1, 4, level.width - 5]
        if level.width < 6 or not (joined or wishes.family == self.name):
            return None
        return Evidence(
            family=self.name,
            reasons=(
                f"one map {level.columns}x{level.rows} of stride {level.stride}",
                f"its values are joined as 1 + 4 + {level.width - 5}: objectness before the box",
                "the decode is missing: centre and size are added as parts of the input's sides",
            ),
            classes=level.width - 5,
            preprocess=_STRETCH_BGR,
            outputs=(level.output.name,),
            assumed=("objectness is a sigmoid and classes a softmax already", _PICTURES),
            strides=(level.stride,),
            details={"level": level},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Append ``tanh`` of the centre, ``sigmoid`` of the size, ``objectness^0.6 * class^0.4``.

        Source:
            FastDeploy (Apache-2.0), fastdeploy/vision/detection/contrib/fastestdet/postprocessor.cc.
        """
        level = evidence.details["level"]
        assert isinstance(level, Level)
        values = level_rows(edit, level)
        corner, _ = cells_of([(level.columns, level.rows, level.stride)])
        # A cell is a part of the map, and the map is the whole input: not always its stride.
        cell = np.array(view.input_wh) / (level.columns, level.rows)
        moved = edit.node("Tanh", (edit.cut(values, 2, 1, 3, "xy"),), "offset")
        center = edit.multiply(
            edit.node("Add", (moved, edit.constant(corner, "cell")), "in_cells"), cell, "center"
        )
        share = edit.node("Sigmoid", (edit.cut(values, 2, 3, 5, "wh"),), "share")
        boxes = edit.corners(center, edit.multiply(share, view.input_wh, "size"), 2)
        weights = [
            edit.node("Pow", (edit.cut(values, 2, begin, end, what), edit.constant(power, "power")), what)
            for begin, end, what, power in ((0, 1, "objectness", 0.6), (5, level.width, "classes", 0.4))
        ]
        return Normalised(boxes, edit.node("Mul", weights, "weighted"), level.cells)


@dataclass(frozen=True)
class _Heads:
    levels: tuple[Level, ...]
    anchors: int
    classes: int


class YoloFastestV2:
    """Two maps of several boxes a cell that share the softmax of their classes."""

    name = "yolo-fastestv2"
    layout = "one map [B,h,w,4A+A+C] a stride, of boxes, objectness, softmax of classes, with --anchors"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        heads = _heads(view)
        if heads is None:
            return None
        shape = (len(heads.levels), heads.anchors, 2)
        found = " and ".join(f"{level.columns}x{level.rows}" for level in heads.levels)
        joined = f"{4 * heads.anchors} + {heads.anchors} + {heads.classes}"
        if not wishes.anchors:
            raise GraphError(
                f"Yolo-FastestV2, maps {found} joined as {joined}: {shape[0] * shape[1]} anchors expected, "
                "none in the graph",
                hint=_HINT,
            )
        if len(wishes.anchors) != shape[0] * shape[1]:
            raise ConfigError(
                f"--anchors: {shape[0]} heads of {shape[1]} sizes expected, {len(wishes.anchors)} sizes found"
            )
        return Evidence(
            family=self.name,
            reasons=(
                f"maps {found} of strides {', '.join(str(level.stride) for level in heads.levels)}",
                f"their values are joined as {joined}: {heads.anchors} boxes a cell share the classes",
                "anchors as given",
            ),
            classes=heads.classes,
            preprocess=_STRETCH_BGR,
            outputs=tuple(level.output.name for level in heads.levels),
            assumed=("sizes are (2 sigmoid)^2 anchors and centres 2 sigmoid - 0.5 cells", _PICTURES),
            strides=tuple(level.stride for level in heads.levels),
            details={"heads": heads, "anchors": np.array(wishes.anchors).reshape(shape)},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Bring each map's boxes to rows, an anchor after the other within a cell, and decode.

        Source:
            The equations of AlexeyAB/darknet, src/yolo_layer.c, ``get_yolo_box`` with ``new_coords`` and
            ``scale_x_y=2``.
        """
        heads, anchors = evidence.details["heads"], evidence.details["anchors"]
        assert isinstance(heads, _Heads)
        assert isinstance(anchors, np.ndarray)
        parts = [_decoded(edit, level, heads, own) for level, own in zip(heads.levels, anchors, strict=True)]
        boxes, scores = (edit.join(list(items), 1, "all") for items in zip(*parts, strict=True))
        return Normalised(boxes, scores, heads.anchors * sum(level.cells for level in heads.levels))


def _heads(view: GraphView) -> _Heads | None:
    levels = levels_of(view)
    joins = {tuple(leaf.width for leaf in view.leaves(level.output.name, level.axis)) for level in levels}
    if len(levels) < 2 or len(joins) != 1:
        return None
    (widths,) = joins
    if len(widths) != 3 or widths[0] != 4 * widths[1] or widths[1] < 2:
        return None
    return _Heads(tuple(levels), widths[1], widths[2])


def _decoded(
    edit: GraphEdit, level: Level, heads: _Heads, anchors: npt.NDArray[np.float64]
) -> tuple[str, str]:
    """Give boxes ``[B, cells * A, 4]`` in pixels and scores ``[B, cells * A, C]``."""
    count, boxes = heads.anchors, level.cells * heads.anchors
    values = level_rows(edit, level)
    split = edit.constant([0, boxes, 4], "split", np.int64)
    twice = edit.multiply(
        edit.node("Reshape", (edit.cut(values, 2, 0, 4 * count, "box"), split), "by_anchor"), 2.0, "twice"
    )
    corner, _ = cells_of([(level.columns, level.rows, level.stride)])
    cell = edit.constant(np.repeat(corner, count, axis=1) - 0.5, "cell")
    center = edit.multiply(
        edit.node("Add", (edit.cut(twice, 2, 0, 2, "xy"), cell), "in_cells"), float(level.stride), "center"
    )
    wh = edit.cut(twice, 2, 2, 4, "wh")
    size = np.tile(anchors, (level.cells, 1))[None]
    xyxy = edit.corners(center, edit.multiply(edit.node("Mul", (wh, wh), "square"), size, "size"), 2)
    column = edit.constant([0, level.cells, count, 1], "column", np.int64)
    objectness = edit.node(
        "Reshape", (edit.cut(values, 2, 4 * count, 5 * count, "objectness"), column), "each"
    )
    row = edit.constant([0, level.cells, 1, heads.classes], "row", np.int64)
    shared = edit.cut(values, 2, 5 * count, 5 * count + heads.classes, "classes")
    scores = edit.node("Mul", (edit.node("Reshape", (shared, row), "shared"), objectness), "weighted")
    flat = edit.constant([0, boxes, heads.classes], "flat", np.int64)
    return xyxy, edit.node("Reshape", (scores, flat), "score_rows")
