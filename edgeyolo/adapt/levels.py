"""Outputs that hold one stride of a detector each: maps, or the rows of a map's cells.

Owns which stride an output is of, the way from it to rows, and the cells of all strides as constants. Refuses
to know what the values mean (the family modules).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView, Tensor

__all__ = ["STRIDES", "Level", "cells_of", "level_rows", "levels_of"]

STRIDES = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Level:
    """One output and the map that it is.

    Args:
        output: The tensor.
        axis: Axis of the values: 1 in ``[B, X, h, w]`` and ``[B, X, n]``, the last in ``[B, h, w, X]`` and
            ``[B, n, X]``.
        width: Values a cell.
        columns: Cells in a row.
        rows: Rows of cells.
        stride: Input pixels a cell.
    """

    output: Tensor
    axis: int
    width: int
    columns: int
    rows: int
    stride: int

    @property
    def cells(self) -> int:
        """Cells of the map."""
        return self.columns * self.rows


def levels_of(view: GraphView) -> list[Level]:
    """Give the outputs that are of one stride, the finest first; empty where one is of none."""
    found = [_level(output, view.input_wh) for output in view.outputs]
    levels = [level for level in found if level is not None]
    return sorted(levels, key=lambda level: level.stride) if len(levels) == len(found) else []


def level_rows(edit: GraphEdit, level: Level) -> str:
    """Append what brings an output to ``[B, cells, X]`` in float32, row by row of the map."""
    tensor = edit.float32(level.output.name, level.output.dtype)
    if len(level.output.shape) == 4:
        shape = [0, level.width, level.cells] if level.axis == 1 else [0, level.cells, level.width]
        tensor = edit.node("Reshape", (tensor, edit.constant(shape, "cells", np.int64)), "cells")
    return edit.rows(tensor, 1 if level.axis == 1 else 2, "level_rows")


def cells_of(
    grids: Iterable[tuple[int, int, int]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Give column and row of each cell and its stride, for grids of ``(columns, rows, stride)``.

    Returns:
        Shapes ``(1, N, 2)`` and ``(1, N, 1)``, a grid after the other, each row by row.
    """
    corners, strides = [], []
    for columns, rows, stride in grids:
        y, x = np.divmod(np.arange(rows * columns), columns)
        corners.append(np.stack([x, y], axis=1))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners)[None].astype(np.float32), np.concatenate(strides)[None].astype(np.float32)


def _level(output: Tensor, input_wh: tuple[int, int]) -> Level | None:
    sizes = output.shape[1:]
    if len(sizes) not in (2, 3) or None in sizes:
        return None
    known = [size for size in sizes if size is not None]
    grids = {stride: (math.ceil(input_wh[0] / stride), math.ceil(input_wh[1] / stride)) for stride in STRIDES}
    first, last = (1, known[0], known[1:]), (len(known), known[-1], known[:-1])
    # Where both fit, maps have their channels first and rows their values last.
    for axis, width, place in (first, last) if len(known) == 3 else (last, first):
        for stride, (columns, rows) in grids.items():
            if place in ([rows, columns], [rows * columns]):
                return Level(output, axis, width, columns, rows, stride)
    return None
