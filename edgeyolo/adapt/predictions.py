"""Detectors that give one decoded row (or column) a box: YOLOv5 and v7 with their grid, YOLOv8 to 12.

Owns these two families and what they share with YOLOX before its decode (`edgeyolo.adapt.yolox`): evidence
and scores of one tensor that holds everything. What tells them apart is how the head put it together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeyolo.adapt.box_format import PIXEL_CENTERS, BoxFormat, box_format, pixel_corners
from edgeyolo.adapt.evidence import LETTERBOX_114, STRETCH, YOLOX, Evidence, Grid, Normalised, Wishes, grid_of
from edgeyolo.adapt.value_layout import ValueLayout, value_layout
from edgeyolo.errors import GraphError, UnsupportedOpError

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView
    from edgeyolo.spec import Preprocess

__all__ = ["Columns", "RowsDecoded", "is_decoded", "logit_notes", "row_evidence", "row_scores"]

_ARITHMETIC = {"Add", "Div", "Exp", "Mul", "Pow", "Softplus", "Sub"}
_ANGLES = {"Cos", "Sin"}


class RowsDecoded:
    """YOLOv5 and YOLOv7 with their grid, YOLOv6, YOLOX with its decode: boxes in pixels, objectness."""

    name = "yolov5"
    layout = "[B,N,5+C] of cx cy w h in pixels, objectness, classes"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        layout = value_layout(view, wishes)
        if layout is None or not layout.objectness or not is_decoded(view, layout):
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
        if not is_decoded(view, layout):
            return None
        grid = grid_of(view.input_wh, layout.count)
        # Ultralytics' RT-DETR: queries, no cells.
        preprocess = LETTERBOX_114 if grid else STRETCH
        reasons = ["no objectness; its box values are decoded in the graph"]
        return _decoded_evidence(view, self.name, layout, grid, preprocess, reasons)

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Turn centres into corners; classes are scores already."""
        return _decoded(view, edit, evidence)


def is_decoded(view: GraphView, layout: ValueLayout) -> bool:
    """Say whether the graph itself brings box values to their place."""
    ops = view.head_ops(layout.box_leaf)
    # Boxes of queries are a sigmoid of the whole picture; those of cells still have to be moved to theirs.
    queries = grid_of(view.input_wh, layout.count) is None
    return bool(ops & _ARITHMETIC) or (queries and "Sigmoid" in ops)


def _refuse_angles(view: GraphView, layout: ValueLayout) -> None:
    if view.metadata.get("task") == "obb" or view.head_ops(layout.output.name) & _ANGLES:
        raise UnsupportedOpError(
            f"output {layout.output.name!r}: rotated boxes (obb), upright boxes expected",
            hint="train or export the detection variant of the model",
        )


def logit_notes(view: GraphView, layout: ValueLayout) -> list[str]:
    """Tell that scores lack their sigmoid, where they do."""
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
    told, assumed = [*reasons], [*logit_notes(view, layout)]
    (told if found else assumed).append(f"boxes are {chosen}")
    evidence = row_evidence(family, layout, grid, preprocess, told, assumed)
    return dataclasses.replace(
        evidence, final=grid is None and chosen.relative, details={**evidence.details, "format": chosen}
    )


def _is_split_box(view: GraphView, layout: ValueLayout) -> bool:
    return [leaf.width for leaf in view.leaves(layout.output.name, layout.axis)][:2] == [2, 2]


def row_evidence(
    family: str,
    layout: ValueLayout,
    grid: Grid | None,
    preprocess: Preprocess,
    reasons: Sequence[str],
    assumed: Sequence[str],
) -> Evidence:
    """Put the evidence of one tensor together.

    Args:
        family: Its name.
        layout: Where things are in the tensor.
        grid: How its boxes lie on the picture; None for queries.
        preprocess: How the family sees pictures.
        reasons: What else speaks for the family.
        assumed: What was taken for granted.

    Raises:
        GraphError: No value is left for a class.
    """
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
    scores = row_scores(view, edit, layout, source, axis)
    return Normalised(edit.rows(boxes, axis, "box_rows"), edit.rows(scores, axis, "score_rows"), layout.count)


def row_scores(view: GraphView, edit: GraphEdit, layout: ValueLayout, source: str, axis: int) -> str:
    """Give the classes, times objectness where there is one."""

    def part(begin: int, end: int, what: str) -> str:
        tensor = edit.cut(source, axis, begin, end, what)
        return edit.node("Sigmoid", (tensor,), f"{what}_sigmoid") if logits else tensor

    logits = _need_sigmoid(view, layout)
    classes = part(layout.first_class, layout.first_class + layout.classes, "classes")
    if not layout.objectness:
        return classes
    return edit.node("Mul", (classes, part(4, 5, "objectness")), "weighted")
