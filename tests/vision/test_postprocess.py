"""Outputs to detections against loops over every box and class."""

from __future__ import annotations

import numpy as np
import pytest

from edgeyolo.vision import nms
from edgeyolo.vision.letterbox import Letterbox
from edgeyolo.vision.postprocess import detections_from_outputs
from tests.vision.test_nms import plain_nms

WIDE = Letterbox.fit((1280, 720), (416, 416))
OPTIONS = {"conf": 0.25, "iou": 0.5}
ALL = {**OPTIONS, "max_detections": 9999}


def plain_detections(boxes, scores, *, conf, iou, multi_label) -> list[tuple]:
    """(box, score, class) in order, by the definition, for the `WIDE` letterbox."""
    rows = []
    for box, row in zip(boxes.tolist(), scores.tolist(), strict=True):
        for class_id, score in enumerate(row):
            if score > conf and (multi_label or class_id == row.index(max(row))):
                rows.append((box, score, class_id))
    kept = plain_nms([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], iou)
    found = []
    for i in kept:
        x0, y0, x1, y1 = rows[i][0]
        xs = [min(max(x / 0.325, 0), 1280) for x in (x0, x1)]
        ys = [min(max((y - 91) / 0.325, 0), 720) for y in (y0, y1)]
        found.append(((xs[0], ys[0], xs[1], ys[1]), rows[i][1], rows[i][2]))
    return found


def random_outputs(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform([0, 100], [300, 250], (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 90, (count, 2))], axis=1).astype(np.float32)
    return boxes, (rng.integers(0, 64, (count, classes)) / 64 * rng.random((count, 1)) ** 2).astype(
        np.float32
    )


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("count", "classes"), [(60, 1), (200, 6), (400, 20)])
def test_random_outputs_agree_with_the_definition(count, classes, multi_label) -> None:
    boxes, scores = random_outputs(count, classes, count)
    found = detections_from_outputs(
        boxes, scores, WIDE, conf=0.2, iou=0.5, multi_label=multi_label, max_detections=9999
    )
    expected = plain_detections(boxes, scores, conf=0.2, iou=0.5, multi_label=multi_label)
    assert len(expected) > 0
    assert found.class_ids.tolist() == [row[2] for row in expected]
    np.testing.assert_allclose(found.scores, [row[1] for row in expected], rtol=1e-6)
    np.testing.assert_allclose(found.xyxy, [row[0] for row in expected], atol=1e-3)
    assert (found.xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize("multi_label", [False, True])
def test_wanted_classes_are_all_classes_without_the_others(multi_label) -> None:
    boxes, scores = random_outputs(300, 8, 1)
    everything = detections_from_outputs(boxes, scores, WIDE, **ALL, multi_label=multi_label)
    for wanted in ({3}, {0, 7}, [5, 5], (), {99}):
        some = detections_from_outputs(boxes, scores, WIDE, **ALL, multi_label=multi_label, class_ids=wanted)
        keep = np.isin(everything.class_ids, list(wanted))
        np.testing.assert_array_equal(some.xyxy, everything.xyxy[keep])
        np.testing.assert_array_equal(some.scores, everything.scores[keep])


def test_a_box_of_two_classes_is_one_detection_or_two() -> None:
    boxes = np.array([[50, 100, 90, 150]], np.float32)
    scores = np.array([[0.5, 0.9, 0.1]], np.float32)
    assert detections_from_outputs(boxes, scores, WIDE, **OPTIONS).class_ids.tolist() == [1]
    both = detections_from_outputs(boxes, scores, WIDE, **OPTIONS, multi_label=True)
    assert both.class_ids.tolist() == [1, 0]


def test_a_score_must_be_greater_than_conf() -> None:
    boxes = np.array([[50, 100, 90, 150], [150, 100, 190, 150]], np.float32)
    scores = np.array([[0.25], [np.nextafter(np.float32(0.25), np.float32(1))]], np.float32)
    found = detections_from_outputs(boxes, scores, WIDE, **OPTIONS)
    assert found.scores.tolist() == scores[1].tolist()
    assert len(detections_from_outputs(boxes, scores * 0, WIDE, conf=0.0, iou=0.5)) == 0


def test_a_flood_is_cut_to_the_best() -> None:
    rng = np.random.default_rng(3)
    corner = np.stack(np.meshgrid(np.arange(40) * 10, 95 + np.arange(20) * 10), axis=-1).reshape(-1, 2)
    boxes = np.concatenate([corner, corner + 9], axis=1).astype(np.float32)  # none overlaps another
    scores = rng.permutation(len(boxes) * 4).reshape(-1, 4).astype(np.float32) / (len(boxes) * 4)
    found = detections_from_outputs(
        boxes, scores, WIDE, conf=0.0, iou=0.5, multi_label=True, max_detections=7
    )
    assert found.scores.tolist() == sorted(scores.ravel().tolist(), reverse=True)[:7]
    few = detections_from_outputs(boxes, scores, WIDE, conf=0.0, iou=0.5, multi_label=True, max_candidates=5)
    assert few.scores.tolist() == sorted(scores.ravel().tolist(), reverse=True)[:5]


@pytest.mark.parametrize("kind", ["class", "agnostic", "none", "soft"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_flood_of_noise_compares_few_boxes(kind, multi_label, monkeypatch) -> None:
    """25,200 boxes of 80 classes, all of them above the limit: what is compared has a bound of its own."""
    rng = np.random.default_rng(4)
    corner = rng.uniform([0, 91], [300, 250], (25_200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 90, (25_200, 2))], axis=1).astype(np.float32)
    scores = rng.random((25_200, 80), np.float32)
    pairs = 0

    def counting(function):
        def counted(a, b, *rest):
            nonlocal pairs
            pairs += len(a) * len(b)
            return function(a, b, *rest)

        return counted

    monkeypatch.setattr(nms, "overlaps", counting(nms.overlaps))
    monkeypatch.setattr(nms, "iou_matrix", counting(nms.iou_matrix))
    found = detections_from_outputs(
        boxes, scores, WIDE, conf=0.001, iou=0.45, nms=kind, multi_label=multi_label
    )
    assert 100 < len(found) <= 300
    assert (np.diff(found.scores) <= 0).all()
    assert pairs <= 4096 * (300 + 128)


def test_another_class_suppresses_where_classes_do_not_count() -> None:
    boxes = np.array([[50, 100, 90, 150], [51, 100, 91, 150], [200, 100, 240, 150]], np.float32)
    scores = np.array([[0.9, 0], [0, 0.8], [0, 0.7]], np.float32)
    found = {
        kind: detections_from_outputs(boxes, scores, WIDE, **OPTIONS, nms=kind).class_ids.tolist()
        for kind in ("class", "agnostic", "none", "soft")
    }
    assert found == {"class": [0, 1, 1], "agnostic": [0, 1], "none": [0, 1, 1], "soft": [0, 1, 1]}
    # A box of a class that nobody wants suppresses none of the others.
    wanted = detections_from_outputs(boxes, scores, WIDE, **OPTIONS, nms="agnostic", class_ids=[1])
    assert wanted.class_ids.tolist() == [1, 1]


def test_equal_scores_keep_the_order_of_the_outputs() -> None:
    boxes = np.array([[x, 100, x + 9, 120] for x in range(0, 400, 10)], np.float32)
    found = detections_from_outputs(
        boxes, np.full((40, 2), 0.5, np.float32), WIDE, **OPTIONS, max_detections=9
    )
    np.testing.assert_allclose(found.xyxy[:, 0], boxes[:9, 0] / 0.325, rtol=1e-6)


def test_boxes_outside_the_picture_and_broken_ones_are_dropped() -> None:
    nan, inf = float("nan"), float("inf")
    boxes = np.array(
        [
            [50, 0, 90, 90],  # in the padding above
            [-50, 100, -1, 150],  # left of the input
            [50, nan, 90, 150],
            [-inf, 100, inf, 150],
            [90, 100, 50, 150],  # inside out
            [50, 80, 90, 150],  # reaches into the padding: clipped
        ],
        np.float32,
    )
    found = detections_from_outputs(boxes, np.full((6, 1), 0.9, np.float32), WIDE, **OPTIONS)
    np.testing.assert_allclose(found.xyxy, [[50 / 0.325, 0, 90 / 0.325, (150 - 91) / 0.325]], rtol=1e-6)


def test_scores_that_are_not_numbers_never_count() -> None:
    boxes = np.array([[50, 100, 90, 150], [150, 100, 190, 150]], np.float32)
    scores = np.array([[np.nan, 0.6], [np.nan, np.nan]], np.float32)
    for multi_label in (False, True):
        found = detections_from_outputs(boxes, scores, WIDE, **OPTIONS, multi_label=multi_label)
        assert (found.class_ids.tolist(), found.scores.tolist()) == ([1], [np.float32(0.6)])


@pytest.mark.parametrize(("count", "classes"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(count, classes) -> None:
    found = detections_from_outputs(
        np.zeros((count, 4), np.float32), np.zeros((count, classes), np.float32), WIDE, **OPTIONS
    )
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)


def test_the_outputs_are_not_changed_and_need_not_be_contiguous() -> None:
    boxes, scores = random_outputs(100, 5, 2)
    wide = np.zeros((100, 9), np.float32)
    wide[:, :4], wide[:, 4:] = boxes, scores
    before = wide.copy()
    found = detections_from_outputs(wide[:, :4], wide[:, 4:], WIDE, **OPTIONS)
    np.testing.assert_array_equal(wide, before)
    np.testing.assert_array_equal(found.xyxy, detections_from_outputs(boxes, scores, WIDE, **OPTIONS).xyxy)


@pytest.mark.parametrize(
    ("boxes", "scores"), [((5, 4), (4, 2)), ((5, 5), (5, 2)), ((1, 5, 4), (1, 5, 2)), ((5, 4), (5,))]
)
def test_shapes_that_do_not_belong_together_are_refused(boxes, scores) -> None:
    with pytest.raises(ValueError, match=r"boxes \(N, 4\) and scores \(N, C\) expected"):
        detections_from_outputs(np.zeros(boxes, np.float32), np.zeros(scores, np.float32), WIDE, **OPTIONS)
