"""What zones and lines have in common: what they tell, and how they look at a box.

Owns the event before it has a frame and counters, the point of a box that counts, and the rule of hysteresis.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgeyolo.events.tracker import Sight, Track
from edgeyolo.rules import Line, Zone

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Happening", "Looks", "settled_for"]


@dataclass(frozen=True)
class Happening:
    """An `edgeyolo.frames.Event` without its frame; arguments are as there."""

    kind: Literal["enter", "leave", "dwell", "cross"]
    where: str
    track: Track
    sight: Sight
    counts: Mapping[str, int]
    direction: str | None = None
    seconds: float | None = None
    lost: bool = False


class Looks:
    """One sight of each of some objects, and the numbers that rules look at, computed once for all rules.

    Args:
        tracks: The objects.
        sights: One each.
        wh: Width and height of the picture, pixels.
    """

    def __init__(self, tracks: Sequence[Track], sights: Sequence[Sight], wh: tuple[int, int]) -> None:
        self.tracks = tracks
        self.sights = sights
        self.wh = wh
        self._boxes = np.array([sight.box for sight in sights], np.float64)

    def __iter__(self) -> Iterator[tuple[int, Track, Sight]]:
        """Give place, object and sight."""
        return zip(range(len(self.tracks)), self.tracks, self.sights, strict=True)

    def places(self, point: str) -> npt.NDArray[np.float64]:
        """Give the point of each box that counts, shape ``(N, 2)``, pixels."""
        return self._bottom if point == "bottom" else self._centre

    @functools.cached_property
    def _bottom(self) -> npt.NDArray[np.float64]:
        return np.stack([(self._boxes[:, 0] + self._boxes[:, 2]) / 2, self._boxes[:, 3]], axis=1)

    @functools.cached_property
    def _centre(self) -> npt.NDArray[np.float64]:
        centre: npt.NDArray[np.float64] = (self._boxes[:, :2] + self._boxes[:, 2:]) / 2
        return centre

    @functools.cached_property
    def sizes(self) -> npt.NDArray[np.float64]:
        """Size of each box, the square root of its area, shape ``(N,)``, pixels."""
        size: npt.NDArray[np.float64] = np.sqrt((self._boxes[:, 2:] - self._boxes[:, :2]).prod(axis=1))
        return size


def settled_for(rule: Zone | Line, frames: int, seconds: float) -> bool:
    """Say whether being on the new side for so many frames and seconds is enough for a rule."""
    return frames >= rule.frames and seconds >= rule.seconds
