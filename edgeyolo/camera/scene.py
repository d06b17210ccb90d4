"""A synthetic scene with ground truth: coloured shapes that move over a cluttered background.

Owns what is where at which time and what of it is visible. Refuses to know files, URIs and models; colours
and textures are in ``edgeyolo.camera.paint``.

Everything is drawn from a NumPy ``Generator(PCG64(seed))`` through its uniform doubles only, so that a seed
means the same objects at the same places on every machine. A pixel may differ by a level or two where another
build of OpenCV rounds an interpolation or an anti-aliased edge otherwise; the box of a covered object then by
a pixel, and truth by an object whose visible part is that near to the limit.
Between NumPy 1.23 with OpenCV 4.8 and NumPy 2.4 with OpenCV 5.0, on x86-64, 60 scenes had the same truth to
the last bit, and one pixel in two million differed by 2 levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.camera import paint
from edgeyolo.camera.outlines import NAMES, placed_outline
from edgeyolo.detections import Detections

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MIN_VISIBLE", "SyntheticScene", "render_scene"]

MIN_VISIBLE = 0.5
"""An object is truth while at least this fraction of its area is inside the picture and not covered."""

SIZE_RANGE = (12.0, 200.0)  # longer side of a box in a picture of REFERENCE_HEIGHT, pixels
REFERENCE_HEIGHT = 480
OBJECT_COUNT = (4, 13)
PLACEMENT_TRIES = 12
CROWDED = 0.3  # a new object may share this fraction of the smaller of two boxes without another try


@dataclass(frozen=True, kw_only=True)
class _Swing:
    """A value that swings about its mean: smooth, bounded and known at any time."""

    mean: float
    amplitude: float
    period_s: float
    phase: float

    def at(self, time_s: float) -> float:
        return self.mean + self.amplitude * math.sin(2 * math.pi * time_s / self.period_s + self.phase)


@dataclass(frozen=True, kw_only=True)
class _Object:
    class_id: int
    x: _Swing
    y: _Swing
    size: _Swing
    aspect: float
    angle: float
    turn_per_s: float
    look: paint.Look

    def outline(self, time_s: float) -> list[npt.NDArray[np.float64]]:
        return placed_outline(
            NAMES[self.class_id],
            centre_xy=(self.x.at(time_s), self.y.at(time_s)),
            size=self.size.at(time_s),
            aspect=self.aspect,
            angle=self.angle + self.turn_per_s * time_s,
        )


class SyntheticScene:
    """One background and the objects that move over it.

    Any time can be rendered in any order; the same time gives the same picture.

    Args:
        seed: What everything follows from, 0 or more.
        wh: Width and height of the pictures, pixels, 64 or more. Sizes are those of a picture 480 px high
            (12 to 200 px, equally many an octave) scaled to this one's height.
        objects: Number of objects; None draws 4 to 12.

    Examples:
        >>> scene = SyntheticScene(7, (320, 240), objects=3)
        >>> image, truth = scene.render(0.5)
        >>> image.shape, len(truth) <= 3
        ((240, 320, 3), True)
    """

    def __init__(self, seed: int, wh: tuple[int, int], *, objects: int | None = None) -> None:
        self.seed = seed
        self.wh = wh
        rng = np.random.Generator(np.random.PCG64(seed))
        self._canvas = paint.Canvas(rng, wh)
        count = objects if objects is not None else int(rng.uniform(*OBJECT_COUNT))
        self._objects = _place_objects(rng, self._canvas, count)

    def outlines(self, time_s: float) -> list[tuple[int, list[npt.NDArray[np.float64]]]]:
        """Give class id and contours of every object (see `placed_outline`), far ones first."""
        return [(item.class_id, item.outline(time_s)) for item in self._objects]

    def render(self, time_s: float) -> tuple[npt.NDArray[np.uint8], Detections]:
        """Draw the scene at a time.

        Truth follows one rule. An object counts while at least `MIN_VISIBLE` of its area is inside the
        picture and not covered by another object. Its box is that of its outline; where something covers it
        or the picture's border cuts it, the box shrinks to the pixels that are left to see.

        Args:
            time_s: Seconds since the scene began, 0 or more.

        Returns:
            The picture, shape ``(H, W, 3)``, uint8, BGR, and the truth, far objects first, each score 1 and
            with its number in the scene.
        """
        image = self._canvas.blank()
        owner = np.zeros((self.wh[1], self.wh[0]), np.uint16)
        patches = []
        for number, item in enumerate(self._objects, start=1):
            patch = paint.Patch.cut(item.outline(time_s), self.wh)
            patches.append(patch)
            if patch is not None:
                paint.draw_object(image, patch, item.look)
                patch.window(owner)[patch.inside] = number
        truth = [
            (*box, item.class_id, number)
            for number, (item, patch) in enumerate(zip(self._objects, patches, strict=True), start=1)
            if patch is not None and (box := _visible_box(patch, patch.window(owner) == number, self.wh))
        ]
        return self._canvas.finish(image, time_s), _detections(truth)


def render_scene(
    seed: int, wh: tuple[int, int] = (640, 480), *, objects: int | None = None
) -> tuple[npt.NDArray[np.uint8], Detections]:
    """Draw a still picture: the first moment of the scene of that seed.

    Args:
        seed: What everything follows from, 0 or more.
        wh: Width and height, pixels.
        objects: Number of objects; None draws 4 to 12.

    Returns:
        The picture, shape ``(H, W, 3)``, uint8, BGR, and the truth (see `SyntheticScene.render`).

    Examples:
        >>> image, truth = render_scene(3, (320, 240))
        >>> image.dtype.name, truth.xyxy.shape[1]
        ('uint8', 4)
    """
    return SyntheticScene(seed, wh, objects=objects).render(0.0)


def _place_objects(rng: np.random.Generator, canvas: paint.Canvas, count: int) -> list[_Object]:
    """Draw the objects, far (large) ones first, without piling them up at time 0."""
    unit = canvas.wh[1] / REFERENCE_HEIGHT
    low, high = SIZE_RANGE
    # Stretching, turning and breathing change a box by up to a third: stay inside the range meanwhile.
    sizes = np.exp(rng.uniform(math.log(low * 1.2), math.log(high / 1.4), count))
    placed: list[_Object] = []
    boxes: list[npt.NDArray[np.float64]] = []
    for size in sorted(sizes * unit, reverse=True):
        for _ in range(PLACEMENT_TRIES):
            item = _draw_object(rng, canvas, float(size))
            box = _bounds(item.outline(0.0))
            if all(_shared(box, other) < CROWDED for other in boxes):
                break
        placed.append(item)
        boxes.append(box)
    return placed


def _draw_object(rng: np.random.Generator, canvas: paint.Canvas, size: float) -> _Object:
    width, height = canvas.wh
    x, y = rng.uniform(0.04, 0.96) * width, rng.uniform(0.04, 0.96) * height
    swings = [
        _Swing(
            mean=mean,
            amplitude=rng.uniform(0.03, 0.2) * height,
            period_s=rng.uniform(4.0, 9.0),
            phase=rng.uniform(0.0, 2 * math.pi),
        )
        for mean in (x, y)
    ]
    breath = _Swing(mean=size, amplitude=0.08 * size, period_s=rng.uniform(2.0, 5.0), phase=0.0)
    return _Object(
        class_id=int(rng.uniform(0, len(NAMES))),
        x=swings[0],
        y=swings[1],
        size=breath,
        aspect=math.exp(rng.uniform(-0.12, 0.12)),
        angle=rng.uniform(0.0, 2 * math.pi),
        turn_per_s=rng.uniform(-1.2, 1.2),
        look=paint.draw_look(rng, canvas.colour_at(swings[0].at(0.0), swings[1].at(0.0))),
    )


def _bounds(contours: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    outer = contours[0]
    return np.concatenate([outer.min(axis=0), outer.max(axis=0)])


def _shared(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Give the part of the smaller box that the other one covers."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a, b)]
    return float(np.prod(sides.clip(min=0.0))) / min(areas)


def _visible_box(
    patch: paint.Patch, visible: npt.NDArray[np.bool_], wh: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """Apply the rule of truth to one object; None where it is mostly hidden."""
    count = int(np.count_nonzero(visible))
    if count == 0 or count < MIN_VISIBLE * patch.area:  # of a speck, no pixel may be covered by half
        return None
    x0, y0, x1, y1 = np.clip(_bounds(patch.contours), 0.0, [*wh, *wh]).tolist()
    if count < patch.area:
        columns = np.flatnonzero(visible.any(axis=0)) + patch.x0
        rows = np.flatnonzero(visible.any(axis=1)) + patch.y0
        x0, x1 = max(x0, float(columns[0])), min(x1, float(columns[-1] + 1))
        y0, y1 = max(y0, float(rows[0])), min(y1, float(rows[-1] + 1))
    return x0, y0, x1, y1


def _detections(truth: list[tuple[float, float, float, float, int, int]]) -> Detections:
    if not truth:
        return Detections.empty()
    rows = np.array(truth, np.float64)
    return Detections(
        xyxy=rows[:, :4].astype(np.float32),
        scores=np.ones(len(rows), np.float32),
        class_ids=rows[:, 4].astype(np.int64),
        track_ids=rows[:, 5].astype(np.int64),
    )
