"""Backgrounds of a synthetic scene: texture, clutter, and lines and blobs that are none of its objects.

Owns what lies behind. Refuses to draw anything that a detector should find.
"""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

    _Pixels = npt.NDArray[np.uint8]

__all__ = ["colour", "paint"]

_WHY = "to draw a synthetic scene"


def colour(
    rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Draw a colour.

    Args:
        rng: Where it comes from.
        saturation: Range, 0..1.
        value: Range of brightness, 0..1.

    Returns:
        Shape ``(3,)``, BGR, 0..255.
    """
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array([blue, green, red]) * 255


def paint(rng: np.random.Generator, wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw a background: a gradient, clouds, one pattern, blobs and lines.

    Args:
        rng: Where all choices come from.
        wh: Width and height, pixels.

    Returns:
        Shape ``(H, W, 3)``, uint8, BGR.
    """
    cv2 = require("cv2", why=_WHY)
    tones = _tones(rng)
    image: npt.NDArray[np.uint8] = cv2.resize(tones, wh, interpolation=cv2.INTER_CUBIC)
    _add_clouds(rng, image)
    pattern = _PATTERNS[int(rng.uniform(0, len(_PATTERNS)))]
    pattern(rng, image, tones)
    _add_blobs(rng, image, tones)
    _add_lines(rng, image, tones)
    return image


def _muted(rng: np.random.Generator) -> tuple[int, int, int]:
    blue, green, red = colour(rng, saturation=(0.0, 0.55), value=(0.15, 0.95)).astype(int).tolist()
    return blue, green, red


def _near(rng: np.random.Generator, tones: _Pixels, spread: float) -> tuple[int, int, int]:
    """Draw a colour near one of the background's: from its tones, as pixels may differ by machine."""
    rows, columns = tones.shape[:2]
    here = tones[int(rng.uniform(0, rows)), int(rng.uniform(0, columns))]
    shift = rng.uniform(-spread, spread) + rng.uniform(-0.3 * spread, 0.3 * spread, 3)
    blue, green, red = (here + shift).clip(0, 255).astype(int).tolist()
    return blue, green, red


def _tones(rng: np.random.Generator) -> _Pixels:
    """Draw the few colours that a background goes through, shape ``(3, 4, 3)``."""
    first, second = np.array(_muted(rng), float), np.array(_muted(rng), float)
    weights = rng.random((3, 4, 1)) * rng.uniform(0.2, 1.0)
    return (first * (1 - weights) + second * weights).astype(np.uint8)


def _add_clouds(rng: np.random.Generator, image: _Pixels) -> None:
    """Add smooth noise of several sizes."""
    cv2 = require("cv2", why=_WHY)
    height, width = image.shape[:2]
    total = np.zeros((height, width), np.float32)
    for cells in (6, 18, 54, 160):
        small = rng.random((cells * 3 // 4, cells), np.float32) - np.float32(0.5)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) * rng.uniform(0, 1)
    total *= rng.uniform(8, 60)
    grain = np.rint(total).astype(np.int16)
    cv2.add(image, cv2.merge([grain, grain, grain]), dst=image, dtype=cv2.CV_8U)


def _plain(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Leave the clouds alone."""


def _stripes(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Draw parallel bands, as of boards or blinds."""
    _grid(rng, image, tones, angles=[rng.uniform(0, math.pi)])


def _tiles(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Draw joints of tiles."""
    angle = rng.uniform(-0.3, 0.3)
    _grid(rng, image, tones, angles=[angle, angle + math.pi / 2])


def _grid(rng: np.random.Generator, image: _Pixels, tones: _Pixels, angles: list[float]) -> None:
    """Blend bands of one colour over the picture; by arithmetic, as OpenCVs clip long lines differently."""
    height, width = image.shape[:2]
    pitch = rng.uniform(0.06, 0.22) * height
    ink = np.array(_near(rng, tones, 60), np.float32)
    half = max(1.0, pitch * rng.uniform(0.04, 0.3)) / 2
    x, y = np.arange(width, dtype=np.float32) - width / 2, np.arange(height, dtype=np.float32) - height / 2
    cover = np.zeros((height, width), np.float32)
    for angle in angles:
        across = y[:, None] * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))
        from_band = np.abs(across - np.rint(across / pitch) * pitch)
        np.maximum(cover, (half + 0.5 - from_band).clip(0, 1), out=cover)
    image[:] = np.rint(image + cover[:, :, None] * (ink - image)).astype(np.uint8)


def _speckles(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Draw gravel: specks too small to be objects."""
    cv2 = require("cv2", why=_WHY)
    height, width = image.shape[:2]
    inks = [_near(rng, tones, 70) for _ in range(4)]
    for number in range(int(rng.uniform(80, 350))):
        x, y, radius = rng.random(3) * [width, height, 2.4 * height / 480]
        centre = round(float(x)), round(float(y))
        cv2.circle(image, centre, max(1, round(radius)), inks[number % 4], -1, cv2.LINE_AA)


_PATTERNS = (_plain, _stripes, _tiles, _speckles)


def _add_blobs(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Draw stains: irregular smooth outlines, of the background's own colours."""
    cv2 = require("cv2", why=_WHY)
    height, width = image.shape[:2]
    angles = 2 * np.pi * np.arange(40) / 40
    for _ in range(int(rng.uniform(0, 9))):
        radius = np.full(40, 1.0)
        for wave in (2, 3, 5):
            radius += rng.uniform(0.05, 0.3) * np.sin(wave * angles + rng.uniform(0, 2 * math.pi))
        radius *= math.exp(rng.uniform(math.log(0.015), math.log(0.2))) * height
        points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
        points += rng.random(2) * [width, height]
        cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], _near(rng, tones, 45), cv2.LINE_AA, 4)


def _add_lines(rng: np.random.Generator, image: _Pixels, tones: _Pixels) -> None:
    """Draw cables and cracks: thin straight and bent lines of any colour."""
    cv2 = require("cv2", why=_WHY)
    height, width = image.shape[:2]
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(int(rng.uniform(0, 12))):
        start, bend, end = (rng.uniform(-0.1, 1.1, (3, 2))) * [width, height]
        points = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        if rng.random() < 0.5:
            points = points[[0, -1]]
        ink = _muted(rng) if rng.random() < 0.6 else _near(rng, tones, 70)
        thickness = max(1, round(rng.uniform(0.5, 4) * height / 480))
        cv2.polylines(image, [np.rint(points * 16).astype(np.int32)], False, ink, thickness, cv2.LINE_AA, 4)
