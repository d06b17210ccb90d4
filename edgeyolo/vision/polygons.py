"""Arithmetic on polygons and segments: inside or outside, how far from the border, how much of a box.

Owns geometry of one polygon with many points or boxes. Coordinates are in any unit with x to the right and y
down; a polygon is closed without repeating its first corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["border_distance", "contains", "crossings", "self_touching", "share_inside", "side_of_line"]

Corners = Sequence[tuple[float, float]]
_N = TypeVar("_N", float, Fraction)
_Point = tuple[Fraction, Fraction]


def contains(polygon: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which points are inside a polygon, by the even-odd rule.

    A point on the border is inside or outside, but of two polygons that share an edge it is in exactly one.

    Args:
        polygon: Shape ``(M, 2)``.
        points: Shape ``(N, 2)``.

    Returns:
        Shape ``(N,)``.

    Examples:
        >>> square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float64)
        >>> contains(square, np.array([[1.0, 1.0], [3.0, 1.0]])).tolist()
        [True, False]
    """
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    x, y = points[:, :1], points[:, 1:]
    straddles = (y0 <= y) != (y1 <= y)
    with np.errstate(divide="ignore", invalid="ignore"):  # level edges straddle nothing
        meets = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
        hit = straddles & (x < meets)
    inside: npt.NDArray[np.bool_] = np.count_nonzero(hit, axis=1) % 2 == 1
    return inside


def border_distance(
    polygon: npt.NDArray[np.float64], points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the distance of points to the nearest place of a polygon's border, inside or outside.

    Args:
        polygon: Shape ``(M, 2)``.
        points: Shape ``(N, 2)``.

    Returns:
        Shape ``(N,)``, 0 or more.

    Examples:
        >>> square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float64)
        >>> border_distance(square, np.array([[1.0, 2.0], [7.0, 8.0]])).tolist()
        [1.0, 5.0]
    """
    along = np.roll(polygon, -1, axis=0) - polygon
    away = points[:, None] - polygon
    length = np.maximum((along * along).sum(axis=1), np.finfo(np.float64).tiny)
    foot = np.clip((away * along).sum(axis=2) / length, 0.0, 1.0)
    gap = away - foot[..., None] * along
    nearest: npt.NDArray[np.float64] = np.sqrt((gap * gap).sum(axis=2).min(axis=1))
    return nearest


def share_inside(polygon: npt.NDArray[np.float64], box: Sequence[float]) -> float:
    """Give the part of a box's area that lies inside a polygon that does not touch itself.

    Args:
        polygon: Shape ``(M, 2)``.
        box: ``x0 y0 x1 y1``.

    Returns:
        0..1; 0 where the box has no area.

    Source:
        Sutherland and Hodgman, "Reentrant polygon clipping", 1974: the polygon is cut by the four sides of
        the box. What a dent leaves behind are edges there and back, which have no area.

    Examples:
        >>> share_inside(np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float64), (1, 0, 3, 2))
        0.5
    """
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    if not area > 0:
        return 0.0
    corners: list[tuple[float, float]] = [
        (x - x0, y - y0) for x, y in polygon.tolist()
    ]  # near 0, where the areas are most exact
    for axis, limit, sign in ((0, 0.0, 1), (0, x1 - x0, -1), (1, 0.0, 1), (1, y1 - y0, -1)):
        corners = _cut(corners, axis, limit, sign)
    doubled = sum(a[0] * b[1] - a[1] * b[0] for a, b in _edges(corners))
    return min(1.0, abs(doubled) / 2 / area)


def side_of_line(
    a: tuple[float, float], b: tuple[float, float], points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the signed distance of points to the endless line through `a` and `b`.

    Args:
        a: A point of it.
        b: Another one.
        points: Shape ``(N, 2)``.

    Returns:
        Shape ``(N,)``: negative on the left of one who looks from `a` to `b`, positive on the right.

    Examples:
        >>> side_of_line((0, 9), (0, 0), np.array([[-2.0, 5.0], [3.0, 5.0]])).tolist()  # looking up
        [-2.0, 3.0]
    """
    (ax, ay), (bx, by) = a, b
    signed = (bx - ax) * (points[:, 1] - ay) - (by - ay) * (points[:, 0] - ax)
    distance: npt.NDArray[np.float64] = signed / np.hypot(bx - ax, by - ay)
    return distance


def crossings(
    a: tuple[float, float],
    b: tuple[float, float],
    starts: npt.NDArray[np.float64],
    ends: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Tell which steps cross the segment from `a` to `b`, and in which direction.

    A point on the segment's line belongs to its right side, so that of a path in steps each crossing is found
    once, however the steps fall.

    Args:
        a: One end.
        b: The other end.
        starts: Shape ``(N, 2)``, where each step begins.
        ends: Shape ``(N, 2)``, where it ends.

    Returns:
        Shape ``(N,)``: 1 from the left to the right of one who looks from `a` to `b`, -1 back, 0 no crossing.

    Examples:
        >>> steps = np.array([[-1.0, 5.0], [1.0, 5.0], [-1.0, 50.0]]), np.array([[2.0, 5], [-1, 5], [2, 50]])
        >>> crossings((0, 9), (0, 0), *steps).tolist()
        [1, -1, 0]
    """
    before, after = side_of_line(a, b, starts), side_of_line(a, b, ends)
    turned = (after >= 0).astype(np.int64) - (before >= 0)
    changed = np.flatnonzero(turned)
    if len(changed):  # rare: most steps cross nothing
        before, after, start = before[changed], after[changed], starts[changed]
        meets = start + (before / (before - after))[:, None] * (ends[changed] - start)
        along = np.subtract(b, a, dtype=np.float64)
        place = (meets - np.asarray(a, np.float64)) @ along
        turned[changed[(place < 0) | (place > along @ along)]] = 0
    return turned


def self_touching(polygon: Corners) -> tuple[int, int] | None:
    """Find two edges of a polygon that meet where they should not, exactly.

    Args:
        polygon: Three corners or more.

    Returns:
        Places of the two edges, each that of the corner where it begins; None where there are none.

    Examples:
        >>> self_touching([(0, 0), (1, 1), (1, 0), (0, 1)])
        (0, 2)
    """
    corners = [(Fraction(x), Fraction(y)) for x, y in polygon]
    edges = _edges(corners)
    for i, (a, b) in enumerate(edges):
        if a == b:
            return i, i
    for i, (a, b) in enumerate(edges):
        for j in range(i + 1, len(edges)):
            c, d = edges[j]
            if j == i + 1 and b == c:
                wrong = _turn(a, b, d) == 0 and _dot(a, b, d) > 0
            elif i == 0 and j == len(edges) - 1 and d == a:
                wrong = _turn(c, d, b) == 0 and _dot(c, d, b) > 0
            else:
                wrong = _meet(a, b, c, d)
            if wrong:
                return i, j
    return None


def _turn(a: _Point, b: _Point, c: _Point) -> int:
    """Give the sign of the turn at `b` on the way from `a` to `c`."""
    cross = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (cross > 0) - (cross < 0)


def _dot(a: _Point, b: _Point, c: _Point) -> Fraction:
    """Give a positive number where the edge from `b` to `c` goes back along that from `b` to `a`."""
    return (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1])


def _meet(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    """Tell whether two segments share a point."""
    if _turn(a, b, c) != _turn(a, b, d) and _turn(c, d, a) != _turn(c, d, b):
        return True
    return any(_on(p, q, r) for p, q, r in ((a, b, c), (a, b, d), (c, d, a), (c, d, b)))


def _on(a: _Point, b: _Point, c: _Point) -> bool:
    """Tell whether `c` is on the segment from `a` to `b`."""
    return _turn(a, b, c) == 0 and all(min(a[k], b[k]) <= c[k] <= max(a[k], b[k]) for k in (0, 1))


def _edges(corners: list[tuple[_N, _N]]) -> list[tuple[tuple[_N, _N], tuple[_N, _N]]]:
    return list(zip(corners, corners[1:] + corners[:1], strict=True))


def _cut(corners: list[tuple[float, float]], axis: int, limit: float, sign: int) -> list[tuple[float, float]]:
    """Keep the part of a polygon where ``sign * (coordinate - limit)`` is not negative."""
    kept: list[tuple[float, float]] = []
    for a, b in _edges(corners):
        from_a, from_b = sign * (a[axis] - limit), sign * (b[axis] - limit)
        if from_a >= 0:
            kept.append(a)
        if (from_a >= 0) != (from_b >= 0):
            t = from_a / (from_a - from_b)
            kept.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
    return kept
