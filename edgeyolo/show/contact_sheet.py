"""A contact sheet: some frames of a run on one picture, what was found beside what is really there.

Owns its layout and its marks. Boxes are drawn by ``edgeyolo.vision.draw``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.frames import Result
from edgeyolo.optional import require
from edgeyolo.show.palette_png import write_palette_png
from edgeyolo.vision.boxes import iou_matrix
from edgeyolo.vision.draw import Painter

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ContactSheetSink", "Matches", "match_truth"]

_CELL_WH = (416, 312)
_GAP = 8
_FOOTER = 26
_PAPER = (30, 27, 25)
_TEXT = (225, 225, 225)
_TRUTH = (255, 255, 255)
_MISSED = (60, 60, 255)


class Matches(NamedTuple):
    """How found boxes and truth pair up.

    Args:
        missed: Indexes of truth that nothing found.
        false: Indexes of found boxes that are no truth.
    """

    missed: tuple[int, ...]
    false: tuple[int, ...]


def match_truth(found: Detections, truth: Detections, *, iou: float = 0.5) -> Matches:
    """Pair each found box, best score first, with the free truth of its class that it overlaps most.

    Examples:
        >>> one = Detections(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32), np.array([3]))
        >>> match_truth(one, one), match_truth(Detections.empty(), one)
        (Matches(missed=(), false=()), Matches(missed=(0,), false=()))
    """
    overlap = iou_matrix(found.xyxy, truth.xyxy) * (found.class_ids[:, None] == truth.class_ids[None])
    free = np.ones(len(truth), bool)
    false = []
    for index in np.argsort(-found.scores, kind="stable").tolist():
        row = overlap[index] * free
        if row.size and row.max() >= iou:
            free[row.argmax()] = False
        else:
            false.append(index)
    return Matches(missed=tuple(np.flatnonzero(free).tolist()), false=tuple(sorted(false)))


class ContactSheetSink:
    """A `edgeyolo.frames.Sink` that keeps some frames and writes them as one PNG when it is closed.

    Args:
        path: The file.
        names: Class names; the index is the class id.
        frames: Indexes of the frames to show.
        columns: Frames side by side.
        caption: A line under the frames.
    """

    wants_picture = False  # boxes are drawn at the size of a cell, so that labels can be read

    def __init__(
        self,
        path: Path | str,
        names: Sequence[str],
        *,
        frames: Collection[int],
        columns: int = 3,
        caption: str = "",
    ) -> None:
        self._path = Path(path)
        self._names = tuple(names)
        self._painter = Painter(names)
        self._wanted = frozenset(frames)
        self._columns = columns
        self._caption = caption
        self._cells: list[npt.NDArray[np.uint8]] = []

    def write(self, result: Result) -> None:
        """Keep the frame if it is one of those wanted."""
        if result.frame.index in self._wanted:
            self._cells.append(self._cell(result))

    def close(self) -> None:
        """Write the picture, if there is anything on it; twice is harmless.

        Raises:
            OutputError: It cannot be written.
        """
        cells, self._cells = self._cells, []
        if cells:
            write_palette_png(self._path, self._sheet(cells))

    def _cell(self, result: Result) -> npt.NDArray[np.uint8]:
        cv2 = require("cv2", why="to draw a contact sheet")
        height, width = result.frame.image_bgr.shape[:2]
        gain = min(_CELL_WH[0] / width, _CELL_WH[1] / height)
        small_wh = max(1, round(width * gain)), max(1, round(height * gain))
        picture = cv2.resize(result.frame.image_bgr, small_wh, interpolation=cv2.INTER_AREA)
        found, truth = result.output, result.frame.truth
        assert isinstance(found, Detections), "a contact sheet is for detectors"
        note = f"{len(found)} found"
        if truth is not None:
            matches = match_truth(found, truth)
            for index, box in enumerate(truth.xyxy * gain):
                missed = index in matches.missed
                _draw_corners(picture, box, _MISSED if missed else _TRUTH)
            right = len(truth) - len(matches.missed)
            note = f"{right} of {len(truth)} objects found, {len(matches.false)} false"
        self._painter.draw(picture, replace(found, xyxy=(found.xyxy * gain).astype(np.float32)))
        cell = np.full((_CELL_WH[1] + _FOOTER, _CELL_WH[0], 3), _PAPER, np.uint8)
        x, y = (_CELL_WH[0] - small_wh[0]) // 2, (_CELL_WH[1] - small_wh[1]) // 2
        cell[y : y + small_wh[1], x : x + small_wh[0]] = picture
        _write(cell, note, (4, _CELL_WH[1] + 18))
        return cell

    def _sheet(self, cells: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        columns = min(self._columns, len(cells))
        rows = -(-len(cells) // columns)
        step_x, step_y = _CELL_WH[0] + _GAP, _CELL_WH[1] + _FOOTER + _GAP
        foot = _FOOTER if self._caption else 0
        sheet = np.full((rows * step_y + _GAP + foot, columns * step_x + _GAP, 3), _PAPER, np.uint8)
        for number, cell in enumerate(cells):
            y, x = _GAP + number // columns * step_y, _GAP + number % columns * step_x
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        if self._caption:
            _write(sheet, self._caption, (_GAP + 4, sheet.shape[0] - 12))
        return sheet


def _draw_corners(
    image: npt.NDArray[np.uint8], box: npt.NDArray[np.float32], colour: tuple[int, int, int]
) -> None:
    """Mark a box by its four corners, a little outside of it, so that a frame on it stays visible."""
    cv2 = require("cv2", why="to draw a contact sheet")
    x0, y0, x1, y1 = (box + np.array([-3, -3, 3, 3])).round().astype(int).tolist()
    reach = max(4, min(x1 - x0, y1 - y0) // 5)
    for x, y, right, down in ((x0, y0, 1, 1), (x1, y0, -1, 1), (x0, y1, 1, -1), (x1, y1, -1, -1)):
        cv2.line(image, (x, y), (x + right * reach, y), colour, 1)
        cv2.line(image, (x, y), (x, y + down * reach), colour, 1)


def _write(image: npt.NDArray[np.uint8], text: str, origin: tuple[int, int]) -> None:
    cv2 = require("cv2", why="to draw a contact sheet")
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _TEXT, 1, cv2.LINE_AA)
