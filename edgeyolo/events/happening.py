"""What zones and lines have in common: what they tell, and how they look at a box.

Owns the event before it has a frame and counters, the point of a box that counts, and the rule of hysteresis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgeyolo.events.tracker import Sight, Track
from edgeyolo.rules import Line, Zone

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Happening", "places", "settled_for", "sizes"]


@dataclass(frozen=True)
class Happening:
    """An `edgeyolo.frames.Event` without its frame; arguments are as there."""

    kind: Literal["enter", "leave", "dwell", "cross"]
    where: str
    track: Track
    sight: Sight
    direction: str | None = None
    seconds: float | None = None
    lost: bool = False


def places(sights: Sequence[Sight], point: str) -> npt.NDArray[np.float64]:
    """Give the point of each box that counts, shape ``(N, 2)``, pixels."""
    boxes = np.array([sight.box for sight in sights], np.float64).reshape(-1, 4)
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = boxes[:, 3] if point == "bottom" else (boxes[:, 1] + boxes[:, 3]) / 2
    return np.stack([x, y], axis=1)


def sizes(sights: Sequence[Sight]) -> npt.NDArray[np.float64]:
    """Give the size of each box, the square root of its area, shape ``(N,)``, pixels."""
    boxes = np.array([sight.box for sight in sights], np.float64).reshape(-1, 4)
    size: npt.NDArray[np.float64] = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return size


def settled_for(rule: Zone | Line, frames: int, seconds: float) -> bool:
    """Say whether being on the new side for so many frames and seconds is enough for a rule."""
    return frames >= rule.frames and seconds >= rule.seconds
