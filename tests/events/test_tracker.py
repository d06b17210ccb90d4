"""Numbers of objects: kept through crowds, misses and slow cameras, on scenes with ground truth."""

from __future__ import annotations

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.events import WEAK
from edgeyolo.events.tracker import Tracker
from edgeyolo.rules import TrackRules
from tests.events.scenes import Errors, Scores, crossing_walkers, mot_scores, scene_truth, seen_by_detector
from tests.events.walks import Seen, Stage, detections

CONF = 0.25
ERRORS = Errors(missed=0.05, weak=0.1, jitter=0.03, false=0.1, other_class=0.03)


def _scores(truth: list[tuple[float, Detections]], errors: Errors, *, every: int = 1) -> Scores:
    tracker = Tracker(TrackRules())
    followed = [
        tracker.follow(time_s, None if index % every else found, conf=CONF).boxes
        for index, (time_s, found) in enumerate(seen_by_detector(truth, errors))
    ]
    return mot_scores([real for _, real in truth], followed)


def test_the_measures_on_a_case_done_by_hand() -> None:
    def boxes(*rows: tuple[float, int]) -> Detections:
        return Detections(
            np.array([(x, 0, x + 10, 10) for x, _ in rows], np.float32).reshape(-1, 4),
            np.ones(len(rows), np.float32), np.zeros(len(rows), np.int64),
            np.array([number for _, number in rows], np.int64),
        )  # fmt: skip

    truth = [boxes((0, 1), (50, 2))] * 4
    # 2 is missed once, 1 gets another number for the last two frames, and once there is one too many.
    said = [boxes((0, 7), (50, 8)), boxes((0, 7)), boxes((0, 9), (50, 8), (200, 6)), boxes((0, 9), (50, 8))]
    scores = mot_scores(truth, said)
    assert scores.switches == 1
    assert scores.mota == pytest.approx(1 - (1 + 1 + 1) / 8)
    assert scores.idf1 == pytest.approx(2 * (2 + 3) / (8 + 8))
    assert (scores.objects, scores.numbers) == (2, 3)


@pytest.mark.parametrize(
    ("fps", "every", "mota", "idf1", "switches"),
    [(30, 1, 0.91, 0.8, 8), (10, 1, 0.88, 0.75, 6), (5, 1, 0.85, 0.75, 6), (30, 3, 0.85, 0.7, 8)],
)
def test_walkers_who_cross_keep_their_numbers(
    fps: float, every: int, mota: float, idf1: float, switches: int
) -> None:
    """Six people, 20 s, a detector that misses, wavers and sees things; floors, not what is reached."""
    scores = _scores(list(crossing_walkers(2, fps=fps, seconds=20, people=6)), ERRORS, every=every)
    assert scores.mota >= mota
    assert scores.idf1 >= idf1
    assert scores.switches <= switches


def test_the_synthetic_scene_has_true_numbers_and_they_are_found_again() -> None:
    truth = list(scene_truth(3, fps=15, seconds=4, objects=8))
    numbers = {
        number for _, real in truth for number in (real.track_ids if real.track_ids is not None else ())
    }
    assert numbers <= set(range(1, 9))
    scores = _scores(truth, Errors())
    assert scores.mota >= 0.97
    assert scores.idf1 >= 0.93


def test_the_same_frames_give_the_same_numbers() -> None:
    truth = list(crossing_walkers(0, fps=10, seconds=5, people=8))
    once, again = (
        [tracker.follow(t, found, conf=CONF).boxes.track_ids for t, found in seen_by_detector(truth, ERRORS)]
        for tracker in (Tracker(TrackRules()), Tracker(TrackRules()))
    )
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_reported() -> None:
    stage = Stage(conf=0.5)
    assert stage.show(0, [Seen(100, 200), Seen(400, 200, score=0.3)]).track_ids.tolist() == [
        0
    ]  # not sure yet
    boxes = stage.show(0.04, [Seen(101, 200), Seen(400, 200, score=0.3), Seen(500, 200, score=0.6)])
    assert boxes.track_ids.tolist() == [1, 0]  # the weak one may not begin an object
    boxes = stage.show(0.08, [Seen(102, 200, score=0.5 * WEAK + 0.01), Seen(500, 200, score=0.6)])
    assert boxes.track_ids.tolist() == [2, 1]  # it may continue one; best score first
    assert boxes.scores.tolist() == sorted(boxes.scores.tolist(), reverse=True)


def test_between_detections_boxes_go_on_in_real_time() -> None:
    stage = Stage()
    for index in range(12):
        stage.show(index / 10, [Seen(100 + 20 * index, 200)])
    boxes = stage.show(1.15, None)
    assert boxes.track_ids.tolist() == [1]
    assert boxes.xyxy[0] == pytest.approx((310, 100, 350, 200), abs=2)
    assert stage.show(1.35, None).xyxy[0] == pytest.approx((350, 100, 390, 200), abs=4)
    assert stage.show(1.4, [Seen(380, 200)]).track_ids.tolist() == [1]
    assert stage.show(1.5, []).track_ids.tolist() == []
    assert stage.show(1.6, None).track_ids.tolist() == []  # the detector did not see it: nothing is made up


def test_a_clock_that_steps_back_a_little_ends_nothing() -> None:
    stage = Stage()
    for index in range(20):
        back = 0.3 if index >= 10 else 0.0
        boxes = stage.show(index / 10 - back, [Seen(100 + 5 * index, 200)])
    assert boxes.track_ids.tolist() == [1]


def test_followed_boxes_stay_in_the_picture() -> None:
    stage = Stage()
    for index in range(10):
        stage.show(index / 10, [Seen(480 + 15 * index, 200)])
    boxes = [stage.show(1 + step / 10, None) for step in range(8)]
    assert all((b.xyxy >= 0).all() and (b.xyxy[:, 2] <= 640).all() for b in boxes)
    assert len(boxes[0]) == 1
    assert len(boxes[-1]) == 0  # it has gone out


def test_another_class_in_the_same_place_is_no_object_of_its_own() -> None:
    stage = Stage()
    for index in range(10):
        car = Seen(100 + 10 * index, 200, 120, 80, class_id=1)
        boxes = stage.show(index / 25, [car, Seen(car.x + 1, car.y, 118, 80, score=0.5, class_id=2)])
    assert boxes.track_ids.tolist() == [1, 0]
    assert boxes.class_ids.tolist() == [1, 2]


def test_state_does_not_grow_with_the_length_of_a_run() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(TrackRules(lost=0.5))
    most = 0
    for index in range(3000):
        noise = [
            Seen(rng.uniform(0, 640), rng.uniform(100, 480), score=rng.uniform(0.3, 0.9)) for _ in range(4)
        ]
        boxes = tracker.follow(index / 10, detections(noise), conf=CONF).boxes
        most = max(most, len(tracker))
    assert most < 60
    assert boxes.track_ids is not None
    assert tracker.follow(1e4, detections([]), conf=CONF).boxes.track_ids.tolist() == []  # type: ignore[union-attr]
    assert len(tracker) == 0


def test_drawing_shows_rules_counters_and_paths() -> None:
    cv2 = pytest.importorskip("cv2")
    from edgeyolo.rules import Line, Rules, Zone

    rules = Rules(
        zones=(Zone(name="till", points=((0.6, 0.6), (0.9, 0.6), (0.9, 0.9))),),
        lines=(Line(name="door", a=(0.5, 1), b=(0.5, 0)),),
    )
    stage = Stage(rules).play(lambda t: [Seen(50 + 40 * t, 100, 20, 40)], seconds=2)
    picture = np.zeros((480, 640, 3), np.uint8)
    stage.analyst.draw(picture)
    assert picture[300, 320].any()  # the line
    assert picture[240, 330].any()  # its arrow, to the right of one who looks up
    assert not picture[240, 312].any()
    assert picture[288, 500].any()  # the zone's upper edge
    assert picture[100, 115].any()  # the path of the last second
    assert not picture[100, 60].any()
    small = cv2.resize(picture, (64, 48))
    stage.analyst.draw(small)  # any size
