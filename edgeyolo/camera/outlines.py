"""The eight shapes that a synthetic scene is made of.

Owns class names and outlines: polygons in a unit frame, without colour, place or pixels. Refuses to draw.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["NAMES", "placed_outline", "unit_outline"]

NAMES = ("disc", "ring", "square", "triangle", "star", "cross", "heart", "moon")
"""Class names of a synthetic scene; the index is the class id."""

_ARC_POINTS = 72  # a chord of a 200 px disc then leaves its arc by less than 0.1 px


@cache
def unit_outline(name: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Give the contours of a shape whose box is centred on the origin and has a longer side of 1.

    Args:
        name: One of `NAMES`.

    Returns:
        One contour, or an outer and an inner one, each of shape ``(K, 2)``; y points down. A point is inside
        where an odd number of contours surround it.

    Raises:
        KeyError: There is no such shape.

    Examples:
        >>> [contour.shape for contour in unit_outline("square")]
        [(4, 2)]
        >>> len(unit_outline("ring"))
        2
    """
    contours = _OUTLINES[name]()
    points = np.concatenate(contours)
    low, high = points.min(axis=0), points.max(axis=0)
    return tuple((contour - (low + high) / 2) / (high - low).max() for contour in contours)


def placed_outline(
    name: str, *, centre_xy: tuple[float, float], size: float, aspect: float = 1.0, angle: float = 0.0
) -> list[npt.NDArray[np.float64]]:
    """Scale, stretch, turn and move a unit outline.

    Args:
        name: One of `NAMES`.
        centre_xy: Where its centre comes to lie, pixels; pixel ``i`` covers ``i`` to ``i + 1``.
        size: Longer side of its box before it is stretched and turned, pixels.
        aspect: Factor on its width; its height takes the inverse.
        angle: Clockwise turn as seen on the picture, radians.

    Returns:
        Contours of shape ``(K, 2)``, pixels.

    Examples:
        >>> (outer,) = placed_outline("square", centre_xy=(10, 20), size=4)
        >>> outer.min(axis=0).tolist(), outer.max(axis=0).tolist()
        ([8.0, 18.0], [12.0, 22.0])
    """
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    stretch = np.array([size * aspect, size / aspect])
    return [(contour * stretch) @ turn + centre_xy for contour in unit_outline(name)]


def _polar(
    radii: npt.NDArray[np.float64] | float, angles: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _regular(corners: int, radius: float = 1.0, start: float = -np.pi / 2) -> npt.NDArray[np.float64]:
    return _polar(radius, start + 2 * np.pi * np.arange(corners) / corners)


def _disc() -> list[npt.NDArray[np.float64]]:
    return [_regular(_ARC_POINTS)]


def _ring() -> list[npt.NDArray[np.float64]]:
    return [_regular(_ARC_POINTS), _regular(_ARC_POINTS, radius=0.55)]


def _square() -> list[npt.NDArray[np.float64]]:
    return [np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])]


def _triangle() -> list[npt.NDArray[np.float64]]:
    return [_regular(3)]


def _star() -> list[npt.NDArray[np.float64]]:
    radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return [_polar(radii, -np.pi / 2 + np.pi * np.arange(10) / 5)]


def _cross() -> list[npt.NDArray[np.float64]]:
    a, b = 0.3, 1.0  # half the width of an arm, and its length from the centre
    quarter = np.array([[a, -a], [b, -a], [b, a]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])]


def _heart() -> list[npt.NDArray[np.float64]]:
    t = 2 * np.pi * np.arange(_ARC_POINTS) / _ARC_POINTS
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([x, -y], axis=1)]


def _moon() -> list[npt.NDArray[np.float64]]:
    # A disc of radius 1 less a disc of radius 0.85 whose centre lies 0.55 to the right.
    shift, bite = 0.55, 0.85
    x = (1 + shift**2 - bite**2) / (2 * shift)
    outer = np.arctan2(np.sqrt(1 - x**2), x)
    inner = np.arctan2(np.sqrt(1 - x**2), x - shift)
    back = _polar(1.0, np.linspace(outer, 2 * np.pi - outer, _ARC_POINTS))
    front = _polar(bite, np.linspace(2 * np.pi - inner, inner, _ARC_POINTS))
    front[:, 0] += shift
    return [np.concatenate([back, front[1:-1]])]


_OUTLINES = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "moon": _moon,
}
