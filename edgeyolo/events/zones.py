"""Who is in a zone, since when, and what that makes happen.

Owns the state of one zone of one camera: hysteresis, dwell and counters. Refuses to know cameras and frames
(``edgeyolo.events.analyst``) and how objects are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.events.happening import Happening, places, settled_for, sizes
from edgeyolo.events.tracker import Sight, Track
from edgeyolo.rules import Zone
from edgeyolo.vision.polygons import border_distance, contains, share_inside

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ZoneState"]


@dataclass(slots=True)
class _Stay:
    """One object as a zone sees it.

    Args:
        inside: Whether it counts as inside.
        since_s: When it came in; None outside.
        turned_s: When it was first seen on the other side, while that is not settled.
        turned_frames: In how many frames since.
        told: Whether its dwelling was told.
    """

    inside: bool = False
    since_s: float = 0.0
    turned_s: float = 0.0
    turned_frames: int = 0
    told: bool = False


class ZoneState:
    """A zone and the objects that it knows.

    Args:
        rule: The zone.
        class_ids: Classes that it is for; None for all.
    """

    def __init__(self, rule: Zone, class_ids: frozenset[int] | None) -> None:
        self.rule = rule
        self._class_ids = class_ids
        self._shares = np.array(rule.points, np.float64)
        self._stays: dict[int, _Stay] = {}
        self._entered = self._left = 0

    @property
    def counts(self) -> dict[str, int]:
        """``inside`` now; ``entered`` and ``left`` since counting began."""
        inside = sum(stay.inside for stay in self._stays.values())
        return {"inside": inside, "entered": self._entered, "left": self._left}

    def restore(self, counts: dict[str, int]) -> None:
        """Go on counting from here."""
        self._entered, self._left = counts.get("entered", 0), counts.get("left", 0)

    def step(self, tracks: Sequence[Track], sights: Sequence[Sight], wh: tuple[int, int]) -> list[Happening]:
        """Take one sight of each of some objects.

        Args:
            tracks: The objects.
            sights: One each.
            wh: Width and height of the picture, pixels.
        """
        inside, outside = self._sides(sights, wh)
        events: list[Happening] = []
        for place, (track, sight) in enumerate(zip(tracks, sights, strict=True)):
            stay = self._stays.get(track.number)
            if stay is None:
                foreign = self._class_ids is not None and track.class_id not in self._class_ids
                if not inside[place] or foreign or sight.score < self.rule.conf:
                    continue  # nothing is kept of an object that never was inside
                stay = self._stays[track.number] = _Stay()
            elif sight.score < self.rule.conf:
                continue
            turned = bool(outside[place] if stay.inside else inside[place])
            events += self._settle(track, sight, stay, turned=turned)
        return events

    def end(self, track: Track) -> list[Happening]:
        """Take that an object was given up: if it was inside, it leaves."""
        stay = self._stays.pop(track.number, None)
        if stay is None or not stay.inside:
            return []
        self._left += 1
        last = track.sights[-1]
        return [
            Happening("leave", self.rule.name, track, last, seconds=last.time_s - stay.since_s, lost=True)
        ]

    def _settle(self, track: Track, sight: Sight, stay: _Stay, *, turned: bool) -> list[Happening]:
        if not turned:
            stay.turned_frames = 0
            if not stay.inside:
                del self._stays[track.number]
            return self._dwelt(track, sight, stay)
        stay.turned_frames += 1
        if stay.turned_frames == 1:
            stay.turned_s = sight.time_s
        if not settled_for(self.rule, stay.turned_frames, sight.time_s - stay.turned_s):
            return self._dwelt(track, sight, stay)
        if stay.inside:
            del self._stays[track.number]
            self._left += 1
            seconds = stay.turned_s - stay.since_s
            return [Happening("leave", self.rule.name, track, sight, seconds=seconds)]
        stay.inside, stay.since_s, stay.turned_frames = True, stay.turned_s, 0
        self._entered += 1
        return [Happening("enter", self.rule.name, track, sight), *self._dwelt(track, sight, stay)]

    def _dwelt(self, track: Track, sight: Sight, stay: _Stay) -> list[Happening]:
        seconds = sight.time_s - stay.since_s
        if not stay.inside or stay.told or self.rule.dwell is None or seconds < self.rule.dwell:
            return []
        stay.told = True
        return [Happening("dwell", self.rule.name, track, sight, seconds=seconds)]

    def _sides(
        self, sights: Sequence[Sight], wh: tuple[int, int]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Say who would come in if outside, and who would go out if inside."""
        corners = self._shares * wh
        if self.rule.overlap is not None:
            shares = np.array([share_inside(corners, sight.box) for sight in sights])
            return shares >= self.rule.overlap, shares < self.rule.overlap * (1 - min(self.rule.margin, 0.9))
        points = places(sights, self.rule.point)
        inside = contains(corners, points)
        return inside, ~inside & (border_distance(corners, points) > self.rule.margin * sizes(sights))
