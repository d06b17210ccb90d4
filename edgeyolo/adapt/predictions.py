"""Detectors that give one row (or one column) a box: YOLOX, YOLOv5 and v7 with their grid, YOLOv8 to 12.

Owns the reading of that one output tensor: where its boxes, objectness and classes are, and whether the
decode is in the graph already. What tells the families apart is how the head put the tensor together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeyolo.adapt.box_format import PIXEL_CENTERS, BoxFormat, box_format, pixel_corners
from edgeyolo.adapt.evidence import LETTERBOX_114, STRETCH, YOLOX, Evidence, Grid, Normalised, Wishes, grid_of
from edgeyolo.adapt.levels import cells_of
from edgeyolo.adapt.value_layout import ValueLayout, value_layout
from edgeyolo.errors import GraphError, UnsupportedOpError

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView
    from edgeyolo.spec import Preprocess

__all__ = ["Columns", "RowsDecoded", "RowsUndecoded"]

_ARITHMETIC = {"Add", "Div", "Exp", "Mul", "Pow", "Softplus", "Sub"}
_ANGLES = {"Cos", "Sin"}


class RowsUndecoded:
    """YOLOX as its exporter leaves it: offsets in cells and logarithms of sizes, a row a cell."""

    name = "yolox"
    layout = "[B,N,5+C] of offsets and log sizes, objectness, classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        layout = value_layout(view, wishes)
        if layout is None or not layout.objectness or _is_decoded(view, layout):
            return None
        if layout.guessed and wishes.family != self.name:
            return None
        grid = grid_of(view.input_wh, layout.count)
        if grid is None or grid.anchors != 1:
            return None
        return _evidence(
            self.name,
            layout,
            grid,
            YOLOX,
            ["no arithmetic between the last convolutions and its box values: the decode is missing"],
            _logits(view, layout),
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Append ``(cell + xy) * stride`` and ``exp(wh) * stride``.

        Source:
            YOLOX, arXiv 2107.08430, section 2.1; the project's ``demo_postprocess`` (Apache-2.0).
        """
        layout, source = _open(edit, evidence)
        grid = Grid(evidence.strides, 1)
        corner, size = cells_of(
            (*cells, stride) for cells, stride in zip(grid.cells(view.input_wh), grid.strides, strict=True)
        )
        values = edit.rows(source, layout.axis, "values")
        moved = edit.node("Add", (edit.cut(values, 2, 0, 2, "xy"), edit.constant(corner, "cell")), "in_cells")
        center = edit.node("Mul", (moved, edit.constant(size, "stride")), "center")
        grown = edit.node("Exp", (edit.cut(values, 2, 2, 4, "log_wh"),), "exp")
        wh = edit.node("Mul", (grown, edit.constant(size, "stride")), "size")
        boxes = edit.corners(center, wh, 2)
        return Normalised(boxes, _scores(view, edit, layout, values, 2), layout.count)


class RowsDecoded:
    """YOLOv5 and YOLOv7 with their grid, YOLOv6, YOLOX with its decode: boxes in pixels, objectness."""

    name = "yolov5"
    layout = "[B,N,5+C] of cx cy w h in pixels, objectness, classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        layout = value_layout(view, wishes)
        if layout is None or not layout.objectness or not _is_decoded(view, layout):
            return None
        _refuse_angles(view, layout)
        grid = grid_of(view.input_wh, layout.count)
        reasons = ["its box values are decoded in the graph"]
        preprocess = LETTERBOX_114
        if grid and grid.anchors == 1 and "Exp" in view.head_ops(layout.output.name):
            reasons.append("sizes are exponentials, one box a cell: the decode is YOLOX's")
            preprocess = YOLOX
        return _decoded_evidence(view, self.name, layout, grid, preprocess, reasons)

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Turn centres into corners and multiply classes by objectness."""
        return _decoded(view, edit, evidence)


class Columns:
    """YOLOv8, v9, v11, v12 and what is exported like them: boxes in pixels and classes, no objectness."""

    name = "yolov8"
    layout = "[B,4+C,N] of cx cy w h in pixels and classes, or [B,N,4+C]"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        layout = value_layout(view, wishes)
        if layout is None or layout.objectness:
            return None
        _refuse_angles(view, layout)
        if not _is_decoded(view, layout):
            return None
        grid = grid_of(view.input_wh, layout.count)
        # Ultralytics' RT-DETR: queries, no cells.
        preprocess = LETTERBOX_114 if grid else STRETCH
        reasons = ["no objectness; its box values are decoded in the graph"]
        return _decoded_evidence(view, self.name, layout, grid, preprocess, reasons)

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Turn centres into corners; classes are scores already."""
        return _decoded(view, edit, evidence)


def _is_decoded(view: GraphView, layout: ValueLayout) -> bool:
    return bool(view.head_ops(layout.box_leaf) & _ARITHMETIC)


def _refuse_angles(view: GraphView, layout: ValueLayout) -> None:
    if view.metadata.get("task") == "obb" or view.head_ops(layout.output.name) & _ANGLES:
        raise UnsupportedOpError(
            f"output {layout.output.name!r}: rotated boxes (obb), upright boxes expected",
            hint="train or export the detection variant of the model",
        )


def _logits(view: GraphView, layout: ValueLayout) -> list[str]:
    return ["scores are logits in the graph: a Sigmoid is added"] if _need_sigmoid(view, layout) else []


def _need_sigmoid(view: GraphView, layout: ValueLayout) -> bool:
    leaves = view.leaves(layout.output.name, layout.axis)
    return len(leaves) > 1 and view.is_logit(leaves[-1 if not layout.ignored else 1].tensor)


def _format(view: GraphView, layout: ValueLayout) -> BoxFormat | None:
    if _is_split_box(view, layout):
        return BoxFormat("cxcywh", why="as centre and size were joined")
    rows = view.rows(layout.output.name, layout.axis)
    return box_format(view, layout.box_leaf, None if rows is None else rows[..., :4])


def _decoded_evidence(
    view: GraphView,
    family: str,
    layout: ValueLayout,
    grid: Grid | None,
    preprocess: Preprocess,
    reasons: Sequence[str],
) -> Evidence:
    found = _format(view, layout)
    chosen = found or PIXEL_CENTERS
    told, assumed = [*reasons], [*_logits(view, layout)]
    (told if found else assumed).append(f"boxes are {chosen}")
    evidence = _evidence(family, layout, grid, preprocess, told, assumed)
    return dataclasses.replace(
        evidence, final=grid is None and chosen.relative, details={**evidence.details, "format": chosen}
    )


def _is_split_box(view: GraphView, layout: ValueLayout) -> bool:
    return [leaf.width for leaf in view.leaves(layout.output.name, layout.axis)][:2] == [2, 2]


def _evidence(
    family: str,
    layout: ValueLayout,
    grid: Grid | None,
    preprocess: Preprocess,
    reasons: Sequence[str],
    assumed: Sequence[str],
) -> Evidence:
    if layout.classes < 1:
        raise GraphError(
            f"output {layout.output.name!r} [B,{','.join(map(str, layout.output.shape[1:]))}]: "
            f"{layout.first_class} values and at least one class a box expected",
            hint="--family says which layout it is, --names how many classes there are",
        )
    shape = ",".join(map(str, layout.output.shape[1:]))
    told = [f"output {layout.output.name!r} is [B,{shape}]: {layout.count} boxes of {layout.width} values"]
    if grid is not None:
        strides = ", ".join(map(str, grid.strides))
        told.append(f"{layout.count} boxes are {grid.anchors} a cell on strides {strides}")
    doubts = list(assumed) if not layout.guessed else [layout.why, *assumed]
    if layout.ignored > 0:
        told.append(f"the last {layout.ignored} values a box (mask coefficients or keypoints) are ignored")
    return Evidence(
        family=family,
        reasons=(*told, *([] if layout.guessed else [layout.why]), *reasons),
        classes=layout.classes,
        preprocess=preprocess,
        outputs=(layout.output.name,),
        assumed=tuple(doubts),
        strides=grid.strides if grid else (),
        details={"layout": layout},
    )


def _open(edit: GraphEdit, evidence: Evidence) -> tuple[ValueLayout, str]:
    layout = evidence.details["layout"]
    assert isinstance(layout, ValueLayout)
    return layout, edit.float32(layout.output.name, layout.output.dtype)


def _decoded(view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
    layout, source = _open(edit, evidence)
    axis = layout.axis
    chosen = evidence.details["format"]
    assert isinstance(chosen, BoxFormat)
    boxes = pixel_corners(edit, edit.cut(source, axis, 0, 4, "box"), axis, chosen, view.input_wh)
    scores = _scores(view, edit, layout, source, axis)
    return Normalised(edit.rows(boxes, axis, "box_rows"), edit.rows(scores, axis, "score_rows"), layout.count)


def _scores(view: GraphView, edit: GraphEdit, layout: ValueLayout, source: str, axis: int) -> str:
    """Give the classes, times objectness where there is one."""

    def part(begin: int, end: int, what: str) -> str:
        tensor = edit.cut(source, axis, begin, end, what)
        return edit.node("Sigmoid", (tensor,), f"{what}_sigmoid") if logits else tensor

    logits = _need_sigmoid(view, layout)
    classes = part(layout.first_class, layout.first_class + layout.classes, "classes")
    if not layout.objectness:
        return classes
    return edit.node("Mul", (classes, part(4, 5, "objectness")), "weighted")
