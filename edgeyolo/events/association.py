"""How likely a box is whose: the likeness of objects and boxes, and one frame's rounds of pairing.

Owns what likeness is. Which rounds there are, and who takes part, is ``edgeyolo.events.tracker``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.events.assign import best_pairs
from edgeyolo.events.motion import Motion, cxcywh_from_xyxy, xyxy_from_cxcywh
from edgeyolo.vision.boxes import iou_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Rounds"]

Likeness = Callable[[], "npt.NDArray[np.float64]"]

_SAME_PLACE = 0.8  # what stands in a followed object's place under another class is no object of its own
_GROWN_BY_DOUBT = 1.0  # standard deviations; more finds more fast objects and confuses more slow ones
_GROWN_AT_MOST = 1.0  # sides of the box


class Rounds:
    """One frame's association, round after round: whoever was paired is out of the next.

    Args:
        motion: Where objects should be by now.
        class_ids: Their classes, in the order of its rows.
        found: What the detector found.
    """

    def __init__(self, motion: Motion, class_ids: Sequence[int], found: Detections) -> None:
        self.cxcywh = cxcywh_from_xyxy(found.xyxy)
        self.row_of: dict[int, int] = {}
        self._free_rows = set(range(len(class_ids)))
        self._motion = motion
        self._found = found.xyxy
        self._same_class = np.array(class_ids, np.int64)[:, None] == found.class_ids

    def match(self, rows: list[int], columns: list[int], likeness: Likeness, least: float) -> None:
        """Pair the free ones of these rows (objects) and columns (boxes)."""
        rows = [row for row in rows if row in self._free_rows]
        columns = [column for column in columns if column not in self.row_of]
        if not rows or not columns:
            return
        for i, j in best_pairs(likeness()[np.ix_(rows, columns)], least):
            self.row_of[columns[j]] = rows[i]
            self._free_rows.remove(rows[i])

    def plain(self) -> npt.NDArray[np.float64]:
        """Give the intersection over union of objects and boxes, whatever their classes."""
        return iou_matrix(xyxy_from_cxcywh(self._motion.cxcywh), self._found)

    @functools.cached_property
    def _grown(self) -> npt.NDArray[np.float64]:
        centre_x, centre_y, width, height = self._motion.cxcywh.T[..., None]
        doubt_x, doubt_y = self._motion.doubt.T[:2, :, None]
        more_x = np.minimum(2 * _GROWN_BY_DOUBT * doubt_x, 2 * _GROWN_AT_MOST * width)
        more_y = np.minimum(2 * _GROWN_BY_DOUBT * doubt_y, 2 * _GROWN_AT_MOST * height)
        x, y, w, h = self.cxcywh.T
        # What two spans share: their mean less what is between their centres, at most the shorter one.
        shared = np.maximum(np.minimum((width + w) / 2 - abs(centre_x - x), np.minimum(width, w)) + more_x, 0)
        shared *= np.maximum(
            np.minimum((height + h) / 2 - abs(centre_y - y), np.minimum(height, h)) + more_y, 0
        )
        either = (width + more_x) * (height + more_y) + (w + more_x) * (h + more_y) - shared
        likeness: npt.NDArray[np.float64] = shared / either * self._same_class
        return likeness

    def grown_of_class(self) -> npt.NDArray[np.float64]:
        """Give the same of boxes that are both grown by each object's doubt, 0 for two classes."""
        return self._grown

    def fresh(self, columns: list[int]) -> list[int]:
        """Give those of nobody that are not in the place of another box of this frame."""
        chosen: list[int] = []
        for column in columns:
            others = [*self.row_of, *chosen]
            if column in self.row_of:
                continue
            if (
                not others
                or iou_matrix(self._found[column : column + 1], self._found[others]).max() < _SAME_PLACE
            ):
                chosen.append(column)
        return chosen
