"""Zones, lines, counters and paths on the picture.

Owns their look: zones amber, thick while somebody is inside; lines blue, with an arrow for the way from left
to right; each with its name and counters; the last second of a path in the colour of the object's class.
Refuses to draw boxes (`edgeyolo.vision.draw`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.events.tracker import Sight
from edgeyolo.optional import require
from edgeyolo.rules import Line, Rules, Zone
from edgeyolo.vision.draw import class_colour_bgr, draw_plate, line_width

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Trail", "draw_rules"]

_ZONE_BGR = (0, 190, 255)
_LINE_BGR = (255, 180, 40)
_TRAIL_S = 1.0
_TRAIL_POINTS = 32
_ARROW = 0.04  # of the picture's shorter side


class Trail:
    """Where an object stood during the last second.

    Args:
        class_id: Its class.
    """

    def __init__(self, class_id: int) -> None:
        self.class_id = class_id
        self._points: deque[tuple[float, float, float]] = deque(maxlen=_TRAIL_POINTS)

    def note(self, sight: Sight) -> None:
        """Take where it is now."""
        x0, _, x1, y1 = sight.box
        self._points.append((sight.time_s, (x0 + x1) / 2, y1))
        while sight.time_s - self._points[0][0] > _TRAIL_S:
            self._points.popleft()

    @property
    def xy(self) -> list[tuple[float, float]]:
        """The points, oldest first, pixels."""
        return [(x, y) for _, x, y in self._points]


def draw_rules(
    picture_bgr: npt.NDArray[np.uint8],
    rules: Rules,
    counts: Mapping[str, Mapping[str, int]],
    trails: Iterable[Trail],
) -> None:
    """Draw into a picture, in place.

    Args:
        picture_bgr: Shape ``(H, W, 3)``, uint8.
        rules: Those of its camera.
        counts: Counters of each zone and line by its name.
        trails: Of the objects in view.

    Raises:
        MissingDependencyError: OpenCV is absent.
    """
    cv2 = require("cv2", why="to draw zones and lines")
    width = line_width(picture_bgr)
    for trail in trails:
        path = np.array(trail.xy).round().astype(np.int32)
        cv2.polylines(picture_bgr, [path], False, class_colour_bgr(trail.class_id), width, cv2.LINE_AA)
    for zone in rules.zones:
        _draw_zone(picture_bgr, zone, counts[zone.name], width)
    for line in rules.lines:
        _draw_line(picture_bgr, line, counts[line.name], width)


def _draw_zone(picture: npt.NDArray[np.uint8], zone: Zone, counts: Mapping[str, int], width: int) -> None:
    cv2 = require("cv2", why="to draw zones")
    corners = _pixels(picture, zone.points)
    inside = counts["inside"]
    stroke = 2 * width + 1 if inside else width
    cv2.polylines(picture, [corners], True, _ZONE_BGR, stroke, cv2.LINE_AA)
    x, y = corners[corners.sum(axis=1).argmin()].tolist()  # the corner at the upper left
    draw_plate(picture, f"{zone.name}: {inside} inside, {counts['entered']} entered", _ZONE_BGR, (x, y))


def _draw_line(picture: npt.NDArray[np.uint8], line: Line, counts: Mapping[str, int], width: int) -> None:
    cv2 = require("cv2", why="to draw lines")
    a, b = _pixels(picture, (line.a, line.b))
    cv2.line(picture, a.tolist(), b.tolist(), _LINE_BGR, 2 * width, cv2.LINE_AA)
    along = (b - a) / max(1.0, float(np.hypot(*(b - a))))
    middle = (a + b) / 2
    # On the right of one who looks along the line, y down.
    tip = middle + np.array([-along[1], along[0]]) * _ARROW * min(picture.shape[:2])
    start, end = (tuple(np.rint(point).astype(int).tolist()) for point in (middle, tip))
    cv2.arrowedLine(picture, start, end, _LINE_BGR, 2 * width, cv2.LINE_AA, tipLength=0.4)
    told = ", ".join(f"{word} {count}" for word, count in counts.items())
    draw_plate(picture, f"{line.name}: {told}", _LINE_BGR, tuple(a.tolist()))


def _pixels(picture: npt.NDArray[np.uint8], points: Sequence[tuple[float, float]]) -> npt.NDArray[np.int32]:
    height, width = picture.shape[:2]
    pixels: npt.NDArray[np.int32] = (np.array(points) * (width - 1, height - 1)).round().astype(np.int32)
    return pixels
