"""Entering, dwelling and leaving of scripted objects, told once and at the right time."""

from __future__ import annotations

import numpy as np
import pytest

from edgeyolo.errors import ConfigError
from edgeyolo.rules import Rules, TrackRules, Zone
from tests.events.walks import Seen, Stage

# x 200..440 of 640, from y 240 down.
TILL = {"name": "till", "points": ((0.3125, 0.5), (0.6875, 0.5), (0.6875, 1), (0.3125, 1))}


def _stage(track: TrackRules | None = None, **keys: object) -> Stage:
    return Stage(Rules(zones=(Zone(**{**TILL, **keys}),), track=track or TrackRules()))  # type: ignore[arg-type]


def _through(t: float) -> list[Seen]:
    return [Seen(100 + 100 * t, 400)]


def test_in_and_out_again() -> None:
    stage = _stage().play(_through, seconds=4.4)
    assert [event.kind for event in stage.events] == ["enter", "leave"]
    enter, leave = stage.events
    assert enter.time_s == pytest.approx(1.04, abs=0.05)
    assert enter.counts == {"inside": 1, "entered": 1, "left": 0}
    assert enter.seconds is None
    assert leave.counts == {"inside": 0, "entered": 1, "left": 1}
    assert leave.seconds == pytest.approx(2.4, abs=0.15)  # out is 0.15 of its size, 63 px, beyond the border
    assert not leave.lost
    assert enter.track_id == leave.track_id == 1


@pytest.mark.parametrize("fps", [30, 5, 2])
def test_dwelling_is_told_once_a_stay(fps: float) -> None:
    stage = _stage(dwell=3).play(lambda t: [Seen(320 if 1 < t < 9 else 100, 400)], seconds=12, fps=fps)
    assert [event.kind for event in stage.events] == ["enter", "dwell", "leave"]
    dwell = stage.events[1]
    assert dwell.seconds == pytest.approx(3, abs=1 / fps + 0.01)
    assert dwell.seconds is not None
    assert dwell.time_s == pytest.approx(1 + 3, abs=2 / fps + 0.01)


def test_who_is_there_from_the_beginning_enters() -> None:
    stage = _stage(dwell=1).play(lambda t: [Seen(320, 400)], seconds=2)
    assert [event.kind for event in stage.events] == ["enter", "dwell"]
    assert stage.events[1].time_s == pytest.approx(
        1
    )  # from the first frame on, not from when it had a number


@pytest.mark.parametrize("seed", range(3))
def test_trembling_on_the_border_enters_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stage = _stage().play(lambda t: [Seen(200 + 3 * rng.standard_normal(), 400)], seconds=20)
    assert [event.kind for event in stage.events] == ["enter"]


def test_a_zone_that_is_smaller_than_the_margin_works() -> None:
    slot = ((0.45, 0.8), (0.47, 0.8), (0.47, 0.9), (0.45, 0.9))
    stage = _stage(points=slot).play(lambda t: [Seen(100 + 100 * t, 400)], seconds=4.4)
    assert [event.kind for event in stage.events] == ["enter", "leave"]


def test_seconds_and_frames_keep_passers_by_out() -> None:
    assert _stage(seconds=3).play(_through, seconds=4.4).events == []
    assert _stage(frames=70).play(_through, seconds=4.4).events == []
    assert [e.kind for e in _stage(seconds=1).play(_through, seconds=5).events] == ["enter", "leave"]


@pytest.mark.parametrize(
    ("keys", "y", "inside"),
    [({}, 260, True), ({"point": "centre"}, 260, False), ({"point": "centre"}, 320, True),
     ({"overlap": 0.5}, 280, False), ({"overlap": 0.5}, 300, True), ({"overlap": 0.1}, 260, True)],
)  # fmt: skip
def test_which_part_of_the_box_counts(keys: dict[str, object], y: float, inside: bool) -> None:
    stage = _stage(**keys).play(lambda t: [Seen(320, y)], seconds=1)
    assert [event.kind for event in stage.events] == ["enter"] * inside


def test_overlap_leaves_with_hysteresis() -> None:
    stage = _stage(overlap=0.5).play(lambda t: [Seen(320, 300 - (12 if t % 0.4 < 0.2 else 0))], seconds=3)
    assert [event.kind for event in stage.events] == ["enter"]  # 0.48 of it is still in
    stage.play(lambda t: [Seen(320, 270)], seconds=1, start=3)
    assert [event.kind for event in stage.events] == ["enter", "leave"]


def test_who_is_not_seen_any_more_leaves_as_lost() -> None:
    stage = _stage(TrackRules(lost=2)).play(lambda t: [Seen(320, 400)] if t < 4 else [], seconds=8)
    enter, leave = stage.events
    assert (leave.kind, leave.lost) == ("leave", True)
    assert leave.seconds == pytest.approx(3.96)
    assert 5.9 < leave.time_s < 6.1
    assert leave.box == enter.box == pytest.approx((300, 300, 340, 400), abs=1)


def test_who_is_hidden_for_a_while_stays_inside() -> None:
    stage = _stage(dwell=6).play(lambda t: [] if 2 < t < 3.2 else [Seen(320, 400)], seconds=8)
    assert [event.kind for event in stage.events] == ["enter", "dwell"]


def test_a_camera_that_was_away_begins_anew_and_counts_on() -> None:
    stage = _stage().play(lambda t: [Seen(320, 400)], seconds=2)
    stage.play(lambda t: [Seen(320, 400)], seconds=2, start=32)
    assert [(event.kind, event.lost, event.track_id) for event in stage.events] == [
        ("enter", False, 1), ("leave", True, 1), ("enter", False, 2),
    ]  # fmt: skip
    assert stage.events[-1].counts == {"inside": 1, "entered": 2, "left": 1}
    stage.play(lambda t: [Seen(320, 400)], seconds=2, start=0)  # connected again: its time began again
    assert [event.kind for event in stage.events[3:]] == ["leave", "enter"]
    assert stage.events[-1].track_id == 3


@pytest.mark.parametrize(("away_s", "number"), [(0.4, 1), (30, 2)])
def test_a_camera_that_was_connected_again_is_told_by_the_clock(away_s: float, number: int) -> None:
    """Its own time begins at 0 again, or later than where it was, however long it was away."""
    stage = Stage(Rules(zones=(Zone(**TILL),)), live=True)  # type: ignore[arg-type]
    for index in range(20):
        stage.show(index / 10, [Seen(320, 400)], clock_s=1000 + index / 10)
    for index in range(20):
        stage.show(2.2 + index / 10, [Seen(320, 400)], clock_s=1002 + away_s + index / 10)
    for index in range(20):
        stage.show(index / 10, [Seen(320, 400)], clock_s=1004 + away_s + index / 10)
    assert stage.events[-1].track_id == number
    assert [event.kind for event in stage.events] == ["enter", *["leave", "enter"] * (number - 1)]


def test_a_slow_camera_is_not_away() -> None:
    stage = _stage().play(lambda t: [Seen(320, 400)], seconds=60, fps=0.25)
    assert [(event.kind, event.track_id) for event in stage.events] == [("enter", 1)]


def test_counting_goes_on_where_another_run_ended() -> None:
    stage = _stage()
    stage.analyst.restore({"till": {"inside": 3, "entered": 10, "left": 7}, "gone": {"in": 4}})
    stage.play(_through, seconds=2)
    assert stage.analyst.counts == {"till": {"inside": 1, "entered": 11, "left": 7}}


def test_several_at_once_are_counted_each() -> None:
    stage = _stage().play(lambda t: [Seen(x + 100 * t, 400) for x in (0, 60, 120, 180)], seconds=6)
    assert stage.analyst.counts == {"till": {"inside": 0, "entered": 4, "left": 4}}
    assert max(event.counts["inside"] for event in stage.events) == 4
    at_once = _stage().play(lambda t: [Seen(x, 400) for x in (240, 300, 360)], seconds=1)
    assert [event.counts["entered"] for event in at_once.events] == [1, 2, 3]  # each after its own


def test_a_class_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="till: classes: 'persn' is not one of the engine's 3"):
        _stage(classes=("persn",))


def test_each_camera_counts_for_itself() -> None:
    rules = Rules(zones=(Zone(**TILL),))  # type: ignore[arg-type]
    one, other = Stage(rules, camera="0").play(_through, seconds=2), Stage(rules, camera="yard")
    other.play(_through, seconds=4)
    assert one.analyst.counts["till"]["left"] == 0
    assert [(event.camera, event.track_id) for event in other.events] == [("yard", 1), ("yard", 1)]


def test_rules_are_replaced_while_it_runs() -> None:
    moved = ((0.3125, 0.5), (0.6875, 0.5), (0.6875, 0.9), (0.3125, 0.9))
    still, other = Zone(**TILL), Zone(name="hall", points=((0, 0), (1, 0), (1, 1), (0, 1)))  # type: ignore[arg-type]
    stage = Stage(Rules(zones=(still,))).play(lambda t: [Seen(320, 400)], seconds=1)
    stage.analyst.replace_rules(Rules(zones=(still, other)))
    stage.play(lambda t: [Seen(320, 400)], seconds=1, start=1)
    assert [(event.kind, event.where) for event in stage.events] == [("enter", "till"), ("enter", "hall")]
    stage.analyst.replace_rules(Rules(zones=(Zone(**{**TILL, "points": moved}),)))  # type: ignore[arg-type]
    stage.play(lambda t: [Seen(320, 400)], seconds=1, start=2)
    assert stage.analyst.counts == {"till": {"inside": 1, "entered": 2, "left": 0}}  # counters stay
    with pytest.raises(ConfigError, match="unicorn"):
        stage.analyst.replace_rules(Rules(zones=(Zone(**{**TILL, "classes": ("unicorn",)}),)))  # type: ignore[arg-type]
    stage.play(lambda t: [Seen(320, 400)], seconds=1, start=3)
    assert stage.analyst.counts["till"]["entered"] == 2  # what was wrong is not in force
    assert {event.track_id for event in stage.events} == {1}
