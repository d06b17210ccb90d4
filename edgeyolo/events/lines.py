"""Who crosses a line, which way.

Owns the state of one line of one camera: hysteresis and counters. Refuses to know cameras and frames
(``edgeyolo.events.analyst``) and how objects are followed.

An object has a side of the line. It gets the other one when it was seen far enough beyond, often and long
enough (`edgeyolo.rules.Line`), and that counts if its path since then, the straight steps between its
sights, went through the line and not around its end. However it trembled on the way, there is one crossing;
what turns around on the line has made none; what was hidden while it crossed is counted where it appears
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeyolo.events.happening import Happening, Looks, settled_for
from edgeyolo.events.tracker import Sight, Track
from edgeyolo.rules import Line
from edgeyolo.vision.polygons import crossings, side_of_line

__all__ = ["LineState"]


@dataclass(slots=True)
class _Walk:
    """One object as a line sees it.

    Args:
        side: -1 on the left of the line, 1 on its right.
        at: Where it was last, pixels.
        through: Times that it went through the line to the right since it got its side, less those back.
        turned_s: When it was first seen beyond, while that is not settled.
        turned_frames: In how many frames since.
    """

    side: int
    at: Sequence[float] = ()
    through: int = 0
    turned_s: float = 0.0
    turned_frames: int = 0


class LineState:
    """A line and the objects that it knows.

    Args:
        rule: The line.
        class_ids: Classes that it is for; None for all.
    """

    def __init__(self, rule: Line, class_ids: frozenset[int] | None) -> None:
        self.rule = rule
        self._class_ids = class_ids
        self._walks: dict[int, _Walk] = {}
        self._crossed = {1: 0, -1: 0}
        self._words = {1: rule.left_to_right, -1: rule.right_to_left}

    @property
    def counts(self) -> dict[str, int]:
        """Crossings since counting began, by the line's words for the two ways."""
        return {word: self._crossed[side] for side, word in self._words.items()}

    def restore(self, counts: Mapping[str, int]) -> None:
        """Go on counting from here."""
        self._crossed = {side: counts.get(word, 0) for side, word in self._words.items()}

    def step(self, looks: Looks) -> list[Happening]:
        """Take one sight of each of some objects."""
        (ax, ay), (bx, by), (width, height) = self.rule.a, self.rule.b, looks.wh
        a, b = (ax * width, ay * height), (bx * width, by * height)
        now = looks.places(self.rule.point)
        walks = [self._walks.get(track.number) for track in looks.tracks]
        before = np.array([at if walk is None else walk.at for walk, at in zip(walks, now, strict=True)])
        beyond = side_of_line(a, b, now)
        far = (np.abs(beyond) >= self.rule.margin * looks.sizes).tolist()
        through = crossings(a, b, before, now).tolist()
        sides = np.where(beyond >= 0, 1, -1).tolist()
        places = now.tolist()
        events: list[Happening] = []
        for place, track, sight in looks:
            if sight.score < self.rule.conf:
                continue
            walk = walks[place]
            if walk is None:
                walk = self._walks[track.number] = _Walk(sides[place])
            walk.at = places[place]
            walk.through += through[place]
            if self._settled(walk, sight, sides[place], far=far[place]):
                events += self._turned(track, sight, walk)
        return events

    def end(self, track: Track) -> list[Happening]:
        """Take that an object was given up: nothing happens."""
        self._walks.pop(track.number, None)
        return []

    def _settled(self, walk: _Walk, sight: Sight, side: int, *, far: bool) -> bool:
        """Say whether it has got the other side for good."""
        if not far or side == walk.side:
            walk.turned_frames = 0
            if far:
                walk.through = 0  # it is back where it was
            return False
        walk.turned_frames += 1
        if walk.turned_frames == 1:
            walk.turned_s = sight.time_s
        return settled_for(self.rule, walk.turned_frames, sight.time_s - walk.turned_s)

    def _turned(self, track: Track, sight: Sight, walk: _Walk) -> list[Happening]:
        walk.side = -walk.side
        crossed = walk.through * walk.side > 0
        walk.through = walk.turned_frames = 0
        if not crossed or (self._class_ids is not None and track.class_id not in self._class_ids):
            return []
        self._crossed[walk.side] += 1
        way = self._words[walk.side]
        return [Happening("cross", self.rule.name, track, sight, self.counts, direction=way)]
