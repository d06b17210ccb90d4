"""Pixels of a synthetic scene: backgrounds, the look of an object, light, blur and sensor noise.

Owns colours and textures. Refuses to decide what is where (``edgeyolo.camera.scene``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.camera import backdrop
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Canvas", "Look", "Patch", "draw_look", "draw_object"]

_SUBPIXEL_BITS = 4  # cv2 takes polygon corners in sixteenths of a pixel
_WHY = "to draw a synthetic scene"
_NOISE_MARGIN = 64  # the field of noise is larger than a picture: frames take different parts of it

Contours = list["npt.NDArray[np.float64]"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """How an object is painted.

    Args:
        corners_bgr: Colours at the corners of its box, shape ``(2, 2, 3)``, uint8: the light on it.
        edge_bgr: Colour of its edge line.
        edge: Width of the edge line as a part of the object's box.
        stripes: Number of stripes across it; 0 for none.
        shadow: Darkness of the shadow it throws, 0..1.
    """

    corners_bgr: npt.NDArray[np.uint8]
    edge_bgr: tuple[int, int, int]
    edge: float
    stripes: int
    shadow: float


@dataclass(frozen=True, kw_only=True)
class Patch:
    """The part of a picture that an object's outline touches.

    Args:
        contours: The outline, pixels of the picture.
        x0: Left column of the patch, inside the picture.
        y0: Top row of the patch, inside the picture.
        alpha: How much of each pixel is covered, uint8, 0..255.
        area: Pixels that the whole object covers by half or more, inside and outside of the picture.
    """

    contours: Contours
    x0: int
    y0: int
    alpha: npt.NDArray[np.uint8]
    area: int

    @classmethod
    def cut(cls, contours: Contours, wh: tuple[int, int]) -> Patch | None:
        """Rasterise an outline; None where it is wholly outside of the picture."""
        low = np.floor(contours[0].min(axis=0)).astype(int) - 1
        high = np.ceil(contours[0].max(axis=0)).astype(int) + 1
        alpha = _mask(contours, low, high - low)
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), wh[0]), min(int(high[1]), wh[1])
        if x0 >= x1 or y0 >= y1:
            return None
        inner = alpha[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]
        return cls(contours=contours, x0=x0, y0=y0, alpha=inner, area=int(np.count_nonzero(alpha > 127)))

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Pixels of the patch that the object covers by half or more."""
        inside: npt.NDArray[np.bool_] = self.alpha > 127
        return inside

    def window(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give the patch's view of a picture."""
        height, width = self.alpha.shape
        return image[self.y0 : self.y0 + height, self.x0 : self.x0 + width]


class Canvas:
    """The background of a scene and what light, lens and sensor make of a picture.

    Args:
        rng: Where all choices come from.
        wh: Width and height, pixels.
    """

    def __init__(self, rng: np.random.Generator, wh: tuple[int, int]) -> None:
        cv2 = require("cv2", why=_WHY)
        self.wh = wh
        self._background = backdrop.paint(rng, wh)
        self._colours = cv2.resize(self._background, (16, 12), interpolation=cv2.INTER_AREA)
        self._light = _light(rng, wh)
        self._blur_px = max(0.0, rng.uniform(-0.5, 1.1)) * wh[1] / 480
        self._noise = _noise(rng, wh, sigma=rng.uniform(1.0, 7.0) ** 2 / 5)
        self._shift_seed = int(rng.uniform(0, 2**31))

    def colour_at(self, x: float, y: float) -> npt.NDArray[np.float64]:
        """Give the mean colour of the background around a point, BGR, 0..255."""
        row = min(max(int(y / self.wh[1] * 12), 0), 11)
        column = min(max(int(x / self.wh[0] * 16), 0), 15)
        colour: npt.NDArray[np.float64] = self._colours[row, column].astype(np.float64)
        return colour

    def blank(self) -> npt.NDArray[np.uint8]:
        """Give a copy of the background to draw objects on."""
        copy: npt.NDArray[np.uint8] = self._background.copy()
        return copy

    def finish(self, image: npt.NDArray[np.uint8], time_s: float) -> npt.NDArray[np.uint8]:
        """Apply light, blur and the sensor noise of that moment; `image` is used up."""
        cv2 = require("cv2", why=_WHY)
        cv2.multiply(image, self._light, dst=image, scale=1 / 128)
        if self._blur_px > 0.2:
            side = 2 * max(2, math.ceil(1.8 * self._blur_px)) + 1
            cv2.GaussianBlur(image, (side, side), self._blur_px, dst=image)
        rng = np.random.Generator(np.random.PCG64([self._shift_seed, round(time_s * 1e6)]))
        x, y = (int(rng.uniform(0, _NOISE_MARGIN)) for _ in range(2))
        width, height = self.wh
        noise = self._noise[y : y + height, x : x + width]
        finished: npt.NDArray[np.uint8] = cv2.add(image, noise, dtype=cv2.CV_8U)
        return finished


def draw_look(rng: np.random.Generator, around_bgr: npt.NDArray[np.float64]) -> Look:
    """Choose colours that stand out from those around, and a finish.

    As many numbers are drawn whatever `around_bgr` is: pixels may differ by machine, what comes next may not.
    """
    choice = [backdrop.colour(rng, saturation=(0.1, 1.0), value=(0.2, 1.0)) for _ in range(8)]
    base = next((colour for colour in choice if np.abs(colour - around_bgr).max() > 80), choice[-1])
    glow = 1 + rng.uniform(0.0, 0.4) * np.array([[1, 0.2], [-0.2, -1]])
    corners = (base * glow[:, :, None] + 20 * (glow[:, :, None] - 1)).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        corners = np.ascontiguousarray(corners[:, ::-1])
    edge = base * (0.45 if rng.random() < 0.3 or base.mean() > 110 else 1.7)
    blue, green, red = edge.clip(0, 255).astype(int).tolist()
    return Look(
        corners_bgr=corners,
        edge_bgr=(blue, green, red),
        edge=max(0.0, rng.uniform(-0.04, 0.07)),
        stripes=int(rng.uniform(2, 7)) if rng.random() < 0.2 else 0,
        shadow=max(0.0, rng.uniform(-0.2, 0.5)),
    )


def draw_object(image: npt.NDArray[np.uint8], patch: Patch, look: Look) -> None:
    """Paint an object, and its shadow, onto a picture in place."""
    if look.shadow > 0:
        _draw_shadow(image, patch, look.shadow)
    cv2 = require("cv2", why=_WHY)
    height, width = patch.alpha.shape
    paint = cv2.resize(look.corners_bgr, (width, height), interpolation=cv2.INTER_LINEAR)
    longer = float(np.ptp(patch.contours[0], axis=0).max())
    if look.stripes:
        _draw_stripes(paint, look)
    if look.edge * longer >= 1:
        corners = [_fixed_point(contour, (patch.x0, patch.y0)) for contour in patch.contours]
        # Half of the line falls outside of the outline, where the object is transparent.
        line = round(2 * look.edge * longer)
        cv2.polylines(paint, corners, True, look.edge_bgr, line, cv2.LINE_AA, _SUBPIXEL_BITS)
    _blend(patch.window(image), paint, patch.alpha)


def _draw_stripes(paint: npt.NDArray[np.uint8], look: Look) -> None:
    cv2 = require("cv2", why=_WHY)
    height, width = paint.shape[:2]
    pitch = max(height, width) / look.stripes
    for number in range(look.stripes):
        start = round(number * pitch)
        stop = (start + width, start + width)
        for point, end in (((start, 0), (stop[0], width)), ((0, start), (width, stop[1]))):
            cv2.line(paint, point, end, look.edge_bgr, max(1, round(pitch / 5)), cv2.LINE_AA)


def _draw_shadow(image: npt.NDArray[np.uint8], patch: Patch, darkness: float) -> None:
    """Darken what lies down and to the right of an object by a tenth of its size."""
    cv2 = require("cv2", why=_WHY)
    height, width = patch.alpha.shape
    reach = max(2, max(height, width) // 10)
    grown = cv2.copyMakeBorder(patch.alpha, reach, 2 * reach, reach, 2 * reach, cv2.BORDER_CONSTANT)
    soft = cv2.blur(grown, (reach | 1, reach | 1))
    left, top = patch.x0, patch.y0
    # The window of the picture that the shadow, moved by `reach`, falls on.
    target = image[top : top + height + 2 * reach, left : left + width + 2 * reach]
    soft = soft[: target.shape[0], : target.shape[1]]
    keep = cv2.convertScaleAbs(soft, alpha=-darkness, beta=255)
    cv2.multiply(target, cv2.merge([keep, keep, keep]), dst=target, scale=1 / 255)


def _blend(target: npt.NDArray[np.uint8], paint: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> None:
    cv2 = require("cv2", why=_WHY)
    over = cv2.merge([alpha, alpha, alpha])
    kept = cv2.multiply(target, cv2.bitwise_not(over), scale=1 / 255)
    target[:] = cv2.add(kept, cv2.multiply(paint, over, scale=1 / 255))


def _fixed_point(
    contour: npt.NDArray[np.float64], origin: tuple[int, int] | npt.NDArray[np.int_]
) -> npt.NDArray[np.int32]:
    # Half a pixel less: cv2's whole coordinates are pixel centres, ours are pixel edges.
    fixed: npt.NDArray[np.int32] = np.rint((contour - origin - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    return fixed


def _mask(contours: Contours, low: npt.NDArray[np.int_], wh: npt.NDArray[np.int_]) -> npt.NDArray[np.uint8]:
    cv2 = require("cv2", why=_WHY)
    mask = np.zeros((int(wh[1]), int(wh[0])), np.uint8)
    cv2.fillPoly(mask, [_fixed_point(c, low) for c in contours], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask


def _light(rng: np.random.Generator, wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw a smooth field of light, 128 where it leaves a pixel as it is."""
    cv2 = require("cv2", why=_WHY)
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.uniform(0.0, 0.45)
    y, x = np.mgrid[-1:1:6j, -1:1:8j]
    field = rng.uniform(0.7, 1.15) * (1 + slope * (x * math.cos(angle) + y * math.sin(angle)) / 1.4)
    field = field + rng.uniform(-0.05, 0.05, field.shape)
    tint = 1 + rng.uniform(-0.08, 0.08, 3)
    small = (field[:, :, None] * tint * 128).clip(0, 255).astype(np.uint8)
    light: npt.NDArray[np.uint8] = cv2.resize(small, wh, interpolation=cv2.INTER_CUBIC)
    return light


def _noise(rng: np.random.Generator, wh: tuple[int, int], sigma: float) -> npt.NDArray[np.int16]:
    """Draw a field of sensor noise larger than the picture."""
    shape = (wh[1] + _NOISE_MARGIN, wh[0] + _NOISE_MARGIN, 3)
    # The sum of two uniform values: near enough to a bell, and the same on every machine.
    uniform = rng.random(shape, np.float32) + rng.random(shape, np.float32) - 1
    noise: npt.NDArray[np.int16] = np.rint(uniform * (sigma * math.sqrt(6))).astype(np.int16)
    return noise
