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
    # float64 and columns: a float32 area of a 4K picture is not exact, and a column broadcasts in one step.
    ax0, ay0, ax1, ay1 = np.asarray(a, np.float64).T[:, :, None]
    bx0, by0, bx1, by1 = np.asarray(b, np.float64).T[:, None, :]
    width = np.minimum(ax1, bx1)
    width -= np.maximum(ax0, bx0)
    np.maximum(width, 0, out=width)
    height = np.minimum(ay1, by1)
    height -= np.maximum(ay0, by0)
    np.maximum(height, 0, out=height)
    intersection = np.multiply(width, height, out=width)
    union = np.add((ax1 - ax0) * (ay1 - ay0), (bx1 - bx0) * (by1 - by0), out=height)
    union -= intersection
    return intersection, union
