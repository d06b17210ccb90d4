"""Who is in a zone, since when, and what that makes happen.

Owns the state of one zone of one camera: hysteresis, dwell and counters. Refuses to know cameras and frames
(``edgeyolo.events.analyst``) and how objects are followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgeyolo.events.happening import Happening, Looks, settled_for
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

    def restore(self, counts: Mapping[str, int]) -> None:
        """Go on counting from here."""
        self._entered, self._left = counts.get("entered", 0), counts.get("left", 0)

    def step(self, looks: Looks) -> list[Happening]:
        """Take one sight of each of some objects."""
        inside = self._inside(looks)
        gone = self._gone(looks, inside)
        events: list[Happening] = []
        if not self._stays and not inside.any():
            return events
        for place, track, sight in looks:
            stay = self._stays.get(track.number)
            if sight.score < self.rule.conf or (stay is None and not inside[place]):
                continue  # nothing is kept of an object that never was inside
            if stay is None:
                if self._class_ids is not None and track.class_id not in self._class_ids:
                    continue
                stay = self._stays[track.number] = _Stay()
            turned = place in gone if stay.inside else bool(inside[place])
            events += self._settle(track, sight, stay, turned=turned)
        return events

    def end(self, track: Track) -> list[Happening]:
        """Take that an object was given up: if it was inside, it leaves."""
        stay = self._stays.pop(track.number, None)
        if stay is None or not stay.inside:
            return []
        self._left += 1
        last = track.sights[-1]
        return [self._told("leave", track, last, seconds=last.time_s - stay.since_s, lost=True)]

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
            return [self._told("leave", track, sight, seconds=seconds)]
        stay.inside, stay.since_s, stay.turned_frames = True, stay.turned_s, 0
        self._entered += 1
        return [self._told("enter", track, sight), *self._dwelt(track, sight, stay)]

    def _dwelt(self, track: Track, sight: Sight, stay: _Stay) -> list[Happening]:
        seconds = sight.time_s - stay.since_s
        if not stay.inside or stay.told or self.rule.dwell is None or seconds < self.rule.dwell:
            return []
        stay.told = True
        return [self._told("dwell", track, sight, seconds=seconds)]

    def _told(
        self,
        kind: Literal["enter", "leave", "dwell"],
        track: Track,
        sight: Sight,
        *,
        seconds: float | None = None,
        lost: bool = False,
    ) -> Happening:
        return Happening(kind, self.rule.name, track, sight, self.counts, seconds=seconds, lost=lost)

    def _inside(self, looks: Looks) -> npt.NDArray[np.bool_]:
        """Say whose place is in the zone."""
        corners = self._shares * looks.wh
        if self.rule.overlap is None:
            return contains(corners, looks.places(self.rule.point))
        return np.array([share_inside(corners, s.box) >= self.rule.overlap for s in looks.sights], np.bool_)

    def _gone(self, looks: Looks, inside: npt.NDArray[np.bool_]) -> frozenset[int]:
        """Give the places of those who count as inside and are far enough out."""
        stays = ((place, self._stays.get(track.number)) for place, track, _ in looks if not inside[place])
        out = [place for place, stay in stays if stay is not None and stay.inside]
        if not out:
            return frozenset()
        corners = self._shares * looks.wh
        if self.rule.overlap is not None:
            limit = self.rule.overlap * (1 - min(self.rule.margin, 0.9))
            return frozenset(place for place in out if share_inside(corners, looks.sights[place].box) < limit)
        away = border_distance(corners, looks.places(self.rule.point)[out])
        far = away > self.rule.margin * looks.sizes[out]
        return frozenset(place for place, it in zip(out, far.tolist(), strict=True) if it)
