"""Results drawn on pictures.

Owns colours, line widths and labels. Refuses to show or save the picture.
"""

from __future__ import annotations

import colorsys
import functools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.detections import Classification, Detections
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Painter", "class_colour_bgr", "draw_plate", "line_width"]

Colour = tuple[int, int, int]
_GOLDEN_RATIO = 0.618033988749895
# Saturation and value, in turn: of such triples one that keeps the first ten colours 45 apart in CIELAB and
# the first twenty 27 (a just noticeable difference is about 2).
_SHADES = ((0.9, 1.0), (0.9, 0.7), (0.45, 1.0))

# Where (1.05 / (L + 0.05)), the contrast of white, equals ((L + 0.05) / 0.05), that of black (WCAG 2.1).
_LUMINANCE_OF_EQUAL_CONTRAST = 0.179


class Painter:
    """Draws what a model found into pictures.

    Lines and letters grow with the picture. The text of a label is drawn once and then copied: scores are
    written with two digits, so that a stream soon repeats itself.

    Args:
        names: Class names; the index is the class id. A class beyond them is drawn as ``#17``. OpenCV before
            5.0 has ASCII letters only: accents are dropped there (``café`` becomes ``cafe``) and what remains
            becomes ``?``.

    Objects that are followed have their number behind the score: ``person 0.91 #12``.

    Raises:
        MissingDependencyError: OpenCV is absent.

    Examples:
        >>> image = np.zeros((120, 160, 3), np.uint8)
        >>> box = np.array([[20, 40, 100, 100]], np.float32)
        >>> found = Detections(box, np.array([0.9], np.float32), np.array([0]))
        >>> Painter(("car",)).draw(image, found)
        >>> tuple(image[99, 60].tolist()) == class_colour_bgr(0)
        True
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(_printable(name, unicode=_knows_unicode()) for name in names)

    def draw(self, image_bgr: npt.NDArray[np.uint8], output: Detections | Classification) -> None:
        """Draw a result into its picture.

        Args:
            image_bgr: Shape ``(H, W, 3)``, uint8, writeable; changed in place.
            output: Boxes with labels, or the ranked classes as a list in the upper left corner.

        Raises:
            ValueError: The picture is none of that shape, or read-only.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8:
            raise ValueError(
                f"a uint8 picture of (H, W, 3) expected, {image_bgr.dtype} {image_bgr.shape} found"
            )
        style = _style(*image_bgr.shape[:2])
        if isinstance(output, Classification):
            self._draw_classes(image_bgr, output, style)
        else:
            self._draw_boxes(image_bgr, output, style)

    def _draw_boxes(self, image: npt.NDArray[np.uint8], found: Detections, style: _Style) -> None:
        height, width = image.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        corners = np.minimum(np.maximum(found.xyxy, 0), limit).round().astype(np.int64).tolist()
        labels = list(self._labels(found, style))
        # The best box is drawn last, on top of the others, and no line crosses a label.
        for box, (colour, _) in zip(corners[::-1], labels[::-1], strict=True):
            _draw_frame(image, box, colour, style.line)
        for (x0, y0, _, _), (_, plate) in zip(corners[::-1], labels[::-1], strict=True):
            above = y0 - plate.shape[0]
            _paste(image, plate, x0, above if above >= 0 else y0)

    def _draw_classes(self, image: npt.NDArray[np.uint8], found: Classification, style: _Style) -> None:
        y = 0
        for _, plate in self._labels(found, style):
            if y + plate.shape[0] > image.shape[0] and y > 0:
                break  # the list is ranked: what does not fit is the least likely
            _paste(image, plate, 0, y)
            y += plate.shape[0]

    def _labels(
        self, found: Detections | Classification, style: _Style
    ) -> Iterator[tuple[Colour, npt.NDArray[np.uint8]]]:
        track_ids = found.track_ids if isinstance(found, Detections) else None
        numbers = [0] * len(found) if track_ids is None else track_ids.tolist()
        rows = zip(found.class_ids.tolist(), found.scores.tolist(), numbers, strict=True)
        for class_id, score, number in rows:
            name = self._names[class_id] if 0 <= class_id < len(self._names) else f"#{class_id}"
            colour = class_colour_bgr(class_id)
            text = f"{name} {score:.2f} #{number}" if number else f"{name} {score:.2f}"
            yield colour, _plate(text, colour, style)


def line_width(image: npt.NDArray[np.uint8]) -> int:
    """Give the width of lines that suits a picture, pixels."""
    return _style(*image.shape[:2]).line


def draw_plate(image_bgr: npt.NDArray[np.uint8], text: str, colour: Colour, xy: tuple[int, int]) -> None:
    """Draw a text on a plate of a colour, in black or white, moved so that it lies inside.

    Args:
        image_bgr: Shape ``(H, W, 3)``, uint8, writeable; changed in place.
        text: As for `Painter`'s names.
        colour: Of the plate.
        xy: Its upper left corner, pixels.

    Raises:
        MissingDependencyError: OpenCV is absent.
    """
    style = _style(*image_bgr.shape[:2])
    _paste(image_bgr, _plate(_printable(text, unicode=_knows_unicode()), colour, style), *xy)


@functools.lru_cache(maxsize=4096)
def class_colour_bgr(class_id: int) -> Colour:
    """Give the colour of a class: the same in every run, far from those of its neighbours.

    Hues a golden ratio of the circle apart never come close to each other among the first few, however
    many there are.

    Examples:
        >>> class_colour_bgr(0)
        (25, 25, 255)
    """
    saturation, value = _SHADES[class_id % len(_SHADES)]
    rgb = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1, saturation, value)
    red, green, blue = (round(255 * part) for part in rgb)
    return blue, green, red


class _Style(NamedTuple):
    """Sizes for one size of picture: line and letter strokes in pixels, letters as OpenCV's font scale."""

    line: int
    stroke: int
    font_scale: float


def _style(height: int, width: int) -> _Style:
    # By the short side: a line of 3 and letters of 15 pixels in 1080 rows, and never too small to read.
    short = min(height, width)
    return _Style(max(1, round(short / 360)), max(1, round(short / 600)), max(0.4, round(short / 1500, 2)))


def _draw_frame(image: npt.NDArray[np.uint8], box: list[int], colour: Colour, line: int) -> None:
    """Draw a box's outline inside it: four copies of a line of its colour beat cv2.rectangle."""
    height, width = image.shape[:2]
    x0, y0 = min(box[0], width - 1), min(box[1], height - 1)
    x1, y1 = max(box[2], x0 + 1), max(box[3], y0 + 1)
    across, down = min(line, x1 - x0), min(line, y1 - y0)
    rows, columns = _strips(colour, line, max(height, width))
    image[y0 : y0 + down, x0:x1] = image[y1 - down : y1, x0:x1] = rows[:down, : x1 - x0]
    image[y0:y1, x0 : x0 + across] = image[y0:y1, x1 - across : x1] = columns[: y1 - y0, :across]


def _paste(image: npt.NDArray[np.uint8], plate: npt.NDArray[np.uint8], x: int, y: int) -> None:
    """Copy a plate to a place, moved so that it lies inside; cut where the picture is smaller."""
    height, width = image.shape[:2]
    x = max(0, min(x, width - plate.shape[1]))
    y = max(0, min(y, height - plate.shape[0]))
    part = plate[: height - y, : width - x]
    image[y : y + part.shape[0], x : x + part.shape[1]] = part


@functools.lru_cache(maxsize=256)
def _strips(colour: Colour, line: int, length: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Give a line of a colour across, ``(line, length, 3)``, and one down, ``(length, line, 3)``."""
    rows = np.empty((line, length, 3), np.uint8)
    rows[:] = colour
    columns = rows.reshape(length, line, 3)
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


@functools.lru_cache(maxsize=512)
def _plate(text: str, colour: Colour, style: _Style) -> npt.NDArray[np.uint8]:
    """Draw a text on a plate of a colour, in black or white, whichever stands out more."""
    cv2 = require("cv2", why="to draw on pictures")
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), below = cv2.getTextSize(text, font, style.font_scale, style.stroke)
    margin = style.stroke + 1
    plate = np.empty((height + below + 2 * margin, width + 2 * margin, 3), np.uint8)
    plate[:] = colour
    ink = (0, 0, 0) if _luminance(colour) > _LUMINANCE_OF_EQUAL_CONTRAST else (255, 255, 255)
    origin = (margin, margin + height)
    cv2.putText(plate, text, origin, font, style.font_scale, ink, style.stroke, cv2.LINE_AA)
    plate.flags.writeable = False
    return plate


def _luminance(colour: Colour) -> float:
    """Give the relative luminance, 0..1. Source: WCAG 2.1, "relative luminance" (sRGB)."""
    blue, green, red = (
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _knows_unicode() -> bool:
    # OpenCV 5 came with outline fonts that know UTF-8, and with this class for them.
    return hasattr(require("cv2", why="to draw on pictures"), "FontFace")


def _printable(name: str, *, unicode: bool) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    if unicode or name.isascii():
        return name
    # Accents are letters of their own after decomposition; dropping them leaves the plain letter.
    plain = (part for part in unicodedata.normalize("NFKD", name) if not unicodedata.combining(part))
    return "".join(part if part.isascii() else "?" for part in plain)
