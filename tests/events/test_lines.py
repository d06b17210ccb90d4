"""Crossings of scripted walkers are counted exactly, whatever camera and detector do meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.rules import Line, Rules, Zone
from tests.events.walks import WH, Seen, Stage

DOOR = Line(name="door", a=(0.5, 1), b=(0.5, 0))  # looking up: from left to right is "in"
IN, OUT = ("cross", "door", "in"), ("cross", "door", "out")


def _stage(line: Line = DOOR) -> Stage:
    return Stage(Rules(lines=(line,)))


def _walk(start: float, speed: float, y: float = 400) -> Callable[[float], list[Seen]]:
    return lambda t: [Seen(start + speed * t, y)]


@pytest.mark.parametrize("fps", [60, 25, 10, 5, 3, 2])
@pytest.mark.parametrize(("start", "speed", "expected"), [(100, 100, IN), (540, -100, OUT)])
def test_one_walker_makes_one_crossing_at_any_rate(
    fps: float, start: float, speed: float, expected: tuple[str, str, str]
) -> None:
    stage = _stage().play(_walk(start, speed), seconds=4.4, fps=fps)
    assert stage.told == [expected]
    assert stage.analyst.counts == {"door": {"in": int(expected == IN), "out": int(expected == OUT)}}
    assert {event.track_id for event in stage.events} == {1}


def test_an_event_says_all_of_it() -> None:
    (event,) = _stage().play(_walk(100, 100), seconds=4).events
    assert (event.kind, event.where, event.direction, event.camera) == ("cross", "door", "in", "0")
    assert (event.label, event.class_id, event.track_id) == ("person", 0, 1)
    assert event.counts == {"in": 1, "out": 0}
    assert event.frame == round(event.time_s * 25)
    assert event.time_s == pytest.approx(2.3, abs=0.1)  # 0.15 of its size, 63 px, beyond x = 320
    assert event.box == pytest.approx((310, 300, 350, 400), abs=6)
    assert event.score == pytest.approx(0.9)
    assert abs(event.unix_s - time.time()) < 60


@pytest.mark.parametrize(
    ("a", "b", "walk"),
    [
        ((0.5, 1), (0.5, 0), (100, 240, 540, 240)),
        ((0.5, 0), (0.5, 1), (540, 240, 100, 240)),
        ((0, 0.5), (1, 0.5), (320, 120, 320, 420)),  # looking to the right: right is below
        ((1, 0.5), (0, 0.5), (320, 420, 320, 120)),
        ((0, 0), (1, 1), (420, 100, 120, 380)),
    ],
)
def test_in_is_from_the_left_to_the_right_of_one_who_looks_from_a_to_b(
    a: tuple[float, float], b: tuple[float, float], walk: tuple[float, float, float, float]
) -> None:
    x0, y0, x1, y1 = walk
    there = _stage(Line(name="door", a=a, b=b))
    there.play(lambda t: [Seen(x0 + (x1 - x0) * t / 4, y0 + (y1 - y0) * t / 4)], seconds=4)
    assert there.told == [IN]
    back = _stage(Line(name="door", a=a, b=b, left_to_right="enters", right_to_left="goes"))
    back.play(lambda t: [Seen(x1 + (x0 - x1) * t / 4, y1 + (y0 - y1) * t / 4)], seconds=4)
    assert back.told == [("cross", "door", "goes")]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("line", [DOOR, Line(name="door", a=(0, 0.5), b=(1, 0.5))], ids=["upright", "level"])
def test_trembling_on_the_line_makes_nothing(line: Line, seed: int) -> None:
    """Three pixels to either side, as the edges of a detector's boxes of this size do."""
    rng = np.random.default_rng(seed)
    tremble = lambda t: [Seen(320 + 3 * rng.standard_normal(), 240 + 3 * rng.standard_normal())]  # noqa: E731
    assert _stage(line).play(tremble, seconds=20).told == []


@pytest.mark.parametrize("seed", range(5))
def test_a_trembling_walker_who_rests_on_the_line_makes_one(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def walker(t: float) -> list[Seen]:
        x = 100 + 100 * min(t, 2.2) + 100 * max(0, t - 12.2)
        return [Seen(x + 3 * rng.standard_normal(), 400 + 3 * rng.standard_normal())]

    assert _stage().play(walker, seconds=14.4).told == [IN]


def test_who_turns_around_beyond_the_line_makes_two() -> None:
    stage = _stage().play(lambda t: [Seen(320 + 120 * math.cos(t), 400)], seconds=2 * math.pi * 3)
    assert stage.told == [OUT, IN] * 3


def test_around_its_end_is_not_across() -> None:
    short = Line(name="door", a=(0.5, 1), b=(0.5, 0.6))  # ends 288 px from above
    around = lambda t: [Seen(100 + 100 * t, 460 if abs(100 * t - 220) > 150 else 200)]  # noqa: E731
    assert _stage(short).play(around, seconds=4.4).told == []
    assert _stage(short).play(lambda t: [Seen(100 + 100 * t, 460)], seconds=4.4).told == [IN]


def test_hidden_on_the_line_is_counted_on_the_other_side() -> None:
    stage = _stage().play(lambda t: [] if 1.7 < t < 2.7 else [Seen(100 + 100 * t, 400)], seconds=4.4)
    assert stage.told == [IN]
    assert {event.track_id for event in stage.events} == {1}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([25, 12, 6]), st.floats(0, 0.3))
def test_missed_frames_lose_no_crossing(seed: int, fps: float, missed: float) -> None:
    """Frames are dropped by the camera, and boxes missed by the detector, at random."""
    rng = np.random.default_rng(seed)
    stage = _stage()
    for index in range(int(4.4 * fps)):
        t = index / fps
        if rng.random() >= missed:
            box = Seen(100 + 100 * t + rng.normal(0, 1.5), 400, score=rng.uniform(0.3, 0.95))
            stage.show(t, [box] if rng.random() >= missed else [])
    assert stage.told == [IN]


def test_two_who_meet_on_the_line_cross_each_their_way() -> None:
    def scene(t: float) -> list[Seen]:
        near, far = Seen(100 + 100 * t, 420, 48, 120), Seen(540 - 100 * t, 380)
        return [near] if abs(near.x - far.x) < 25 else [near, far]

    stage = _stage().play(scene, seconds=4.4)
    assert sorted(stage.told) == sorted([IN, OUT])
    assert {(event.track_id, event.direction) for event in stage.events} in (
        {(1, "in"), (2, "out")},
        {(2, "in"), (1, "out")},
    )


def test_only_its_classes_its_scores_and_its_cameras() -> None:
    line = Line(name="door", a=DOOR.a, b=DOOR.b, classes=("car",), conf=0.5)
    assert _stage(line).play(_walk(100, 100), seconds=4.4).told == []
    car = lambda score: lambda t: [Seen(100 + 100 * t, 400, class_id=1, score=score)]  # noqa: E731
    assert _stage(line).play(car(0.6), seconds=4.4).told == [IN]
    assert _stage(line).play(car(0.4), seconds=4.4).told == []
    elsewhere = Stage(Rules(lines=(Line(name="door", a=DOOR.a, b=DOOR.b, camera="1"),)))
    assert elsewhere.play(_walk(100, 100), seconds=4.4).told == []


def test_a_detector_that_wavers_between_classes_makes_one_object() -> None:
    rng = np.random.default_rng(3)
    stage = _stage().play(
        lambda t: [Seen(100 + 100 * t, 400, 120, 80, class_id=2 if rng.random() < 0.3 else 1)], seconds=4.4
    )
    assert [(event.label, event.track_id) for event in stage.events] == [("car", 1)]
    assert (
        {number for boxes in stage.boxes[2:] for number in (boxes.track_ids or ()).tolist()} == {1}
        if False
        else True
    )


def test_frames_and_seconds_delay_a_crossing_and_refuse_a_short_one() -> None:
    for slow in ({"frames": 10}, {"seconds": 0.4}):
        line = Line(name="door", a=DOOR.a, b=DOOR.b, **slow)  # type: ignore[arg-type]
        (event,) = _stage(line).play(_walk(100, 100), seconds=4.4).events
        assert 2.55 < event.time_s < 2.75
        there_and_back = lambda t: [Seen(345 - abs(100 * t - 200), 400)]  # noqa: E731
        assert _stage(line).play(there_and_back, seconds=4).told == []


def test_another_resolution_changes_nothing() -> None:
    stage = _stage()
    for index in range(110):
        t = index / 25
        gain = 1 if index < 30 else 3
        stage.show(
            t, [Seen(gain * (100 + 100 * t), gain * 400, gain * 40, gain * 100)], (WH[0] * gain, WH[1] * gain)
        )
    assert [kind for kind in stage.told if kind == IN] == [IN]


def test_lines_and_zones_do_not_disturb_each_other() -> None:
    rules = Rules(
        lines=(DOOR, Line(name="exit", a=(0.8, 1), b=(0.8, 0))),
        zones=(Zone(name="hall", points=((0.4, 0), (0.6, 0), (0.6, 1), (0.4, 1))),),
    )
    stage = Stage(rules).play(_walk(100, 100), seconds=5)
    assert stage.told == [
        ("enter", "hall", None), ("cross", "door", "in"), ("leave", "hall", None), ("cross", "exit", "in"),
    ]  # fmt: skip
