"""YOLOX before its decode, as its own exporter leaves it: a row a cell, or a map a stride.

Owns the decode by strides. YOLOX with its decode in the graph is rows like those of YOLOv5 (`predictions`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.adapt.evidence import YOLOX, Evidence, Grid, Normalised, Wishes, grid_of
from edgeyolo.adapt.levels import Level, cells_of, level_rows, levels_of
from edgeyolo.adapt.predictions import is_decoded, logit_notes, row_evidence, row_scores
from edgeyolo.adapt.value_layout import ValueLayout, value_layout

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView

__all__ = ["RowsUndecoded"]


@dataclass(frozen=True)
class _Maps:
    """YOLOX's values, one map a stride."""

    levels: tuple[Level, ...]
    values: ValueLayout


class RowsUndecoded:
    """Offsets in cells and logarithms of sizes."""

    name = "yolox"
    layout = "[B,N,5+C] of offsets and log sizes, objectness, classes, or one such map a stride"

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """See `Family.matches`."""
        maps = _maps(view)
        layout = value_layout(view, wishes) if maps is None else maps.values
        if layout is None or not layout.objectness or is_decoded(view, layout):
            return None
        if layout.guessed and wishes.family != self.name:
            return None
        grid = grid_of(view.input_wh, layout.count)
        if grid is None or grid.anchors != 1:
            return None
        evidence = row_evidence(
            self.name,
            layout,
            grid,
            YOLOX,
            ["no arithmetic between the last convolutions and its box values: the decode is missing"],
            logit_notes(view, layout),
        )
        if maps is None:
            return evidence
        outputs = tuple(level.output.name for level in maps.levels)
        return dataclasses.replace(
            evidence,
            outputs=outputs,
            reasons=(f"one map a stride: {', '.join(outputs)}", *evidence.reasons[1:]),
            details={**evidence.details, "maps": maps},
        )

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Append ``(cell + xy) * stride`` and ``exp(wh) * stride``.

        Source:
            YOLOX, arXiv 2107.08430, section 2.1; the project's ``demo_postprocess`` (Apache-2.0).
        """
        layout, maps = evidence.details["layout"], evidence.details.get("maps")
        assert isinstance(layout, ValueLayout)
        if isinstance(maps, _Maps):
            values = edit.join([level_rows(edit, level) for level in maps.levels], 1, "values")
        else:
            source = edit.float32(layout.output.name, layout.output.dtype)
            values = edit.rows(source, layout.axis, "values")
        grid = Grid(evidence.strides, 1)
        corner, size = cells_of(
            (*cells, stride) for cells, stride in zip(grid.cells(view.input_wh), grid.strides, strict=True)
        )
        moved = edit.node("Add", (edit.cut(values, 2, 0, 2, "xy"), edit.constant(corner, "cell")), "in_cells")
        center = edit.node("Mul", (moved, edit.constant(size, "stride")), "center")
        grown = edit.node("Exp", (edit.cut(values, 2, 2, 4, "log_wh"),), "exp")
        wh = edit.node("Mul", (grown, edit.constant(size, "stride")), "size")
        boxes = edit.corners(center, wh, 2)
        return Normalised(boxes, row_scores(view, edit, layout, values, 2), layout.count)


def _maps(view: GraphView) -> _Maps | None:
    """Find maps that are joined as 4 + 1 + C, and read the finest for all."""
    levels = levels_of(view)
    joins = {tuple(leaf.width for leaf in view.leaves(level.output.name, level.axis)) for level in levels}
    if len(levels) < 2 or len({level.stride for level in levels}) < len(levels) or len(joins) != 1:
        return None
    (widths,) = joins
    if len(widths) != 3 or widths[:2] != (4, 1):
        return None
    count, first = sum(level.cells for level in levels), levels[0]
    leaf = view.leaves(first.output.name, first.axis)[0].tensor
    text = " + ".join(map(str, widths))
    values = ValueLayout(
        output=first.output,
        axis=first.axis,
        count=count,
        width=first.width,
        objectness=True,
        classes=widths[2],
        why=f"its values are joined as {text}",
        guessed=False,
        box_leaf=leaf,
    )
    return _Maps(tuple(levels), values)
