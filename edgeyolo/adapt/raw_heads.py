"""YOLOv5 and YOLOv7 cut before their decode: one map a stride, anchors to be given.

Owns the layouts ``[B, A, h, w, 5 + C]`` and ``[B, A * (5 + C), h, w]``. Refuses to guess anchors: a wrong one
gives boxes of a wrong size without an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.evidence import LETTERBOX_114, Evidence, Normalised, Wishes
from edgeyolo.errors import ConfigError, GraphError

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Shape, Tensor

__all__ = ["RawHeads"]

_USUAL_ANCHORS = 3
_STRIDES = (4, 8, 16, 32, 64, 128)
# Anchors of the two families' published models, pixels at 640: what most retrained models keep.
_HINT = (
    "--anchors W,H,... in pixels, finest head first; YOLOv5's own are 10,13,16,30,33,23,30,61,62,45,59,119,"
    "116,90,156,198,373,326, YOLOv7's 12,16,19,36,40,28,36,75,76,55,72,146,142,110,192,243,459,401. "
    "A YOLOv8 has none: export it with its decode"
)


@dataclass(frozen=True)
class _Map:
    """One head: its tensor, size in cells, stride, anchors a cell and values an anchor."""

    output: Tensor
    rows: int
    columns: int
    stride: int
    anchors: int
    values: int

    @property
    def boxes(self) -> int:
        return self.anchors * self.rows * self.columns


class RawHeads:
    """Maps of logits, or of their sigmoid, with three anchors a cell as a rule."""

    name = "yolov5-raw"
    layout = "one [B,A,h,w,5+C] or [B,A*(5+C),h,w] a stride, undecoded, with --anchors"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        maps = _maps(view, wishes)
        if not maps:
            return None
        anchors, told = _anchors(view, wishes, maps)
        text = ", ".join(f"{item.output.name!r} {item.columns}x{item.rows}" for item in maps)
        reasons = [
            f"maps {text} are strides {', '.join(str(item.stride) for item in maps)}, undecoded",
            f"{maps[0].anchors} anchors a cell, {maps[0].values} values an anchor",
        ]
        if view.is_activated(maps[0].output.name):
            reasons.append("the sigmoid is in the graph")
        return Evidence(
            family=self.name,
            reasons=tuple(reasons) if told else (*reasons, "anchors as given"),
            classes=maps[0].values - 5,
            preprocess=LETTERBOX_114,
            outputs=tuple(item.output.name for item in maps),
            assumed=(
                *told,
                "sizes are (2 sigmoid)^2 anchors and centres 2 sigmoid - 0.5 cells, as in YOLOv5 and v7",
            ),
            strides=tuple(item.stride for item in maps),
            details={"maps": maps, "anchors": anchors},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Join the maps as ``[B, N, 5 + C]`` and decode them at once.

        Source:
            The same equations as AlexeyAB/darknet, src/yolo_layer.c, ``get_yolo_box`` with ``new_coords`` and
            ``scale_x_y=2``.
        """
        maps, anchors = evidence.details["maps"], evidence.details["anchors"]
        assert isinstance(maps, list)
        assert isinstance(anchors, np.ndarray)
        rows = [_rows(edit, item) for item in maps]
        values = edit.node("Concat", rows, "values", axis=1)
        if not view.is_activated(maps[0].output.name):
            values = edit.node("Sigmoid", (values,), "sigmoid")
        corner, stride, size = _constants(maps, anchors)
        twice = edit.multiply(edit.cut(values, 2, 0, 4, "box"), 2.0, "twice")
        moved = edit.node("Add", (edit.cut(twice, 2, 0, 2, "xy"), edit.constant(corner, "cell")), "in_cells")
        center = edit.multiply(moved, stride, "center")
        wh = edit.cut(twice, 2, 2, 4, "wh")
        boxes = edit.corners(center, edit.multiply(edit.node("Mul", (wh, wh), "square"), size, "size"), 2)
        scores = edit.node(
            "Mul",
            (
                edit.cut(values, 2, 5, 5 + evidence.classes, "classes"),
                edit.cut(values, 2, 4, 5, "objectness"),
            ),
            "weighted",
        )
        return Normalised(boxes, scores, sum(item.boxes for item in maps))


def _maps(view: GraphView, wishes: Wishes) -> list[_Map]:
    """Give the heads from the finest on; none where the outputs are something else."""
    found = [item for item in view.outputs if len(item.shape) in (4, 5) and None not in item.shape[1:]]
    if not found or len({len(item.shape) for item in found}) > 1:
        return []
    maps = [head for item in found if (head := _map(item, view.input_wh, len(found), wishes)) is not None]
    kinds = {(item.anchors, item.values) for item in maps}
    strides = {item.stride for item in maps}
    if len(found) == 1 and not wishes.anchors and wishes.family is None:
        return []  # one map may be anything, of segmentation for one
    if len(maps) < len(found) or len(kinds) != 1 or len(strides) < len(maps):
        return []
    return sorted(maps, key=lambda item: item.stride)


def _map(output: Tensor, input_wh: tuple[int, int], heads: int, wishes: Wishes) -> _Map | None:
    sizes = _sizes(output.shape, len(wishes.anchors) // heads if wishes.anchors else _USUAL_ANCHORS)
    if sizes is None:
        return None
    anchors, values, rows, columns = sizes
    stride = next((s for s in _STRIDES if math.ceil(input_wh[0] / s) == columns), 0)
    if not stride or math.ceil(input_wh[1] / stride) != rows or values < 6:
        return None
    return _Map(output, rows, columns, stride, anchors, values)


def _sizes(shape: Shape, anchors: int) -> tuple[int, int, int, int] | None:
    """Give anchors, values, rows and columns of a head's output."""
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) == 4:
        return sizes[0], sizes[3], sizes[1], sizes[2]
    if not anchors or sizes[0] % anchors:
        return None
    return anchors, sizes[0] // anchors, sizes[1], sizes[2]


def _anchors(view: GraphView, wishes: Wishes, maps: list[_Map]) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Give anchors in pixels, ``(heads, A, 2)``, and what was assumed of them."""
    shape = (len(maps), maps[0].anchors, 2)
    if wishes.anchors:
        given = np.array(wishes.anchors, np.float64)
        if given.size != math.prod(shape):
            raise ConfigError(
                f"--anchors: {shape[0]} heads of {shape[1]} anchors, {shape[0] * shape[1]} sizes, expected, "
                f"{len(given)} found"
            )
        return given.reshape(shape), []
    for name, values in view.initializers():
        if values.ndim > 1 and values.size == math.prod(shape) and values.shape[-1] == 2 and values.min() > 0:
            pixels = values.astype(np.float64).reshape(shape)
            unit = "pixels"
            if pixels.max() <= max(view.input_wh) / maps[-1].stride:
                unit = "cells"
                pixels = pixels * np.array([item.stride for item in maps])[:, None, None]
            return pixels, [f"anchors are the graph's own {name!r}, in {unit}"]
    raise GraphError(
        f"undecoded heads of strides {', '.join(str(item.stride) for item in maps)}: "
        f"{shape[0] * shape[1]} anchors expected, none in the graph",
        hint=_HINT,
    )


def _rows(edit: GraphEdit, item: _Map) -> str:
    tensor = edit.float32(item.output.name, item.output.dtype)
    if len(item.output.shape) == 4:
        split = edit.constant([0, item.anchors, item.values, item.rows * item.columns], "split", np.int64)
        by_anchor = edit.node("Reshape", (tensor, split), "by_anchor")
        tensor = edit.node("Transpose", (by_anchor,), "values_last", perm=[0, 1, 3, 2])
    shape = edit.constant([0, item.boxes, item.values], "rows", np.int64)
    return edit.node("Reshape", (tensor, shape), "head_rows")


def _constants(
    maps: list[_Map], anchors: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give each box's cell minus a half, ``(1, N, 2)``, stride, ``(1, N, 1)``, and anchor, ``(1, N, 2)``."""
    corners, strides, sizes = [], [], []
    for item, own in zip(maps, anchors, strict=True):
        cells = item.rows * item.columns
        y, x = np.divmod(np.arange(cells), item.columns)
        corners.append(np.tile(np.stack([x, y], axis=1) - 0.5, (item.anchors, 1)))
        strides.append(np.full((item.boxes, 1), float(item.stride)))
        sizes.append(np.repeat(own, cells, axis=0))
    return np.concatenate(corners)[None], np.concatenate(strides)[None], np.concatenate(sizes)[None]
