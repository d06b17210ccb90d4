"""Arithmetic on boxes: intersection over union, of all pairs.

Owns nothing else. Boxes are ``x0 y0 x1 y1`` in any unit, edges not pixel indexes: width is ``x1 - x0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["iou_matrix", "overlaps"]


def iou_matrix(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give the intersection over union of every box of `a` with every box of `b`.

    Args:
        a: Shape ``(N, 4)``.
        b: Shape ``(M, 4)``.

    Returns:
        Shape ``(N, M)``, float64, 0..1; 0 where a box has no area.

    Examples:
        >>> iou_matrix([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]]).round(3).tolist()
        [[1.0, 0.333, 0.0]]
    """
    intersection, union = _intersection_and_union(a, b)
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def overlaps(a: npt.ArrayLike, b: npt.ArrayLike, iou: float) -> npt.NDArray[np.bool_]:
    """Tell for every pair whether its intersection over union is greater than `iou`.

    Args:
        a: Shape ``(N, 4)``.
        b: Shape ``(M, 4)``.
        iou: Limit, 0..1.

    Returns:
        Shape ``(N, M)``; False where a box has no area.
    """
    intersection, union = _intersection_and_union(a, b)
    # Without the division: no 0 / 0, and one pass over the matrix less.
    return intersection > np.multiply(union, iou, out=union)


def _intersection_and_union(
    a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # float64: the area of a box of a 4K picture is not exact in float32. Rows x0 y0 x1 y1, each in one piece:
    # the arithmetic then runs along memory.
    first, second = (np.array(np.asarray(boxes).T, np.float64, order="C") for boxes in (a, b))
    sides = np.minimum(first[2:, :, None], second[2:, None, :])
    sides -= np.maximum(first[:2, :, None], second[:2, None, :])
    np.maximum(sides, 0, out=sides)
    intersection = np.multiply(sides[0], sides[1], out=sides[0])
    union = np.add.outer(_areas(first), _areas(second))
    union -= intersection
    return intersection, union


def _areas(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    area: npt.NDArray[np.float64] = (rows[2] - rows[0]) * (rows[3] - rows[1])
    return area
