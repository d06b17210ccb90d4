"""Zones and lines on arbitrary walks against the plainest description of hysteresis there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.events.happening import Looks
from edgeyolo.events.lines import LineState
from edgeyolo.events.tracker import Sight, Track
from edgeyolo.events.zones import ZoneState
from edgeyolo.rules import Line, Zone

WH = (640, 480)
SIZE = 100
MARGIN_PX = 15.0  # 0.15 of a box of 100x100
# Steps of half a pixel, so that walks end exactly on the line and exactly at the margin, too.
_walks = st.lists(st.integers(560, 720).map(lambda k: k / 2), min_size=1, max_size=60)


def _told(state: LineState | ZoneState, walk: list[float]) -> list[str]:
    track = Track(number=1, class_id=0)
    told = []
    for index, x in enumerate(walk):
        box = (x - SIZE / 2, 240 - SIZE / 2, x + SIZE / 2, 240 + SIZE / 2)
        happenings = state.step(Looks([track], [Sight(index, 0.9, box)], WH))
        told += [it.direction or it.kind for it in happenings]
    return told


def _trigger(walk: list[float], *, up: float, down: float, start: bool) -> Iterator[bool]:
    """Schmitt's: on at `up` or above, off at `down` or below."""
    on = start
    for x in walk:
        if (not on and x >= up) or (on and x <= down):
            on = not on
            yield on


@given(_walks)
def test_a_line_is_a_trigger_with_the_margin_on_either_side(walk: list[float]) -> None:
    line = LineState(Line(name="a", a=(0.5, 1), b=(0.5, 0), point="centre"), None)
    turns = _trigger(walk, up=320 + MARGIN_PX, down=320 - MARGIN_PX, start=walk[0] >= 320)
    told = _told(line, walk)
    assert told == ["in" if right else "out" for right in turns]
    assert line.counts == {"in": told.count("in"), "out": told.count("out")}


@given(_walks)
def test_a_zone_is_a_trigger_with_the_margin_outside(walk: list[float]) -> None:
    """Its left border is x = 320: in from there on, out farther away than the margin."""
    half = ((0.5, 0), (1, 0), (1, 1), (0.5, 1))
    zone = ZoneState(Zone(name="a", points=half, point="centre", frames=1), None)
    told = _told(zone, walk)
    turns = _trigger(walk, up=320, down=320 - MARGIN_PX - 0.25, start=False)
    assert told == ["enter" if inside else "leave" for inside in turns]
    entered, left = told.count("enter"), told.count("leave")
    assert zone.counts == {"inside": entered - left, "entered": entered, "left": left}


@given(_walks, st.integers(1, 5))
def test_more_frames_only_take_crossings_away(walk: list[float], frames: int) -> None:
    line = LineState(Line(name="a", a=(0.5, 1), b=(0.5, 0), point="centre", frames=frames), None)
    told = _told(line, walk)
    assert all(one != other for one, other in itertools.pairwise(told))  # there and back in turns
    assert len(told) <= len(list(_trigger(walk, up=335, down=305, start=walk[0] >= 320)))
