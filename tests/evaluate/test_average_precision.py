"""faster-coco-eval, as we call it, against hand-checked examples and the definition written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeyolo.evaluate.annotations import TrueBox
from edgeyolo.evaluate.average_precision import AveragePrecision, FoundBox, average_precision
from tests.evaluate import plain_ap

pytestmark = pytest.mark.needs("eval")


def true(image_id: int, xywh: tuple, category_id: int = 1, crowd: bool = False) -> TrueBox:
    return TrueBox(image_id=image_id, category_id=category_id, xywh=xywh, crowd=crowd)


def found(image_id: int, xywh: tuple, score: float, category_id: int = 1) -> FoundBox:
    return FoundBox(image_id=image_id, category_id=category_id, xywh=xywh, score=score)


A, B = (10.0, 10.0, 20.0, 20.0), (100.0, 10.0, 20.0, 20.0)
FAR = (300.0, 300.0, 20.0, 20.0)
HALF = (10.0, 10.0, 20.0, 10.0)  # IoU with A is 0.5


@pytest.mark.parametrize(
    ("truth", "results", "ap50", "ap"),
    [
        # all found
        ([true(1, A)], [found(1, A, 0.9)], 1, 1),
        # nothing found; something else found; found in another picture
        ([true(1, A)], [], 0, 0),
        ([true(1, A)], [found(1, FAR, 0.9)], 0, 0),
        ([true(1, A)], [found(2, A, 0.9)], 0, 0),
        # a false one above the right one halves precision everywhere; below it does no harm
        ([true(1, A)], [found(1, FAR, 0.9), found(1, A, 0.8)], 0.5, 0.5),
        ([true(1, A)], [found(1, A, 0.9), found(1, FAR, 0.8)], 1, 1),
        # one of two found: precision 1 up to recall 0.5, which is 51 of 101 points
        ([true(1, A), true(1, B)], [found(1, A, 0.9)], 51 / 101, 51 / 101),
        # IoU of exactly 0.5 counts at the first of ten limits
        ([true(1, A)], [found(1, HALF, 0.9)], 1, 0.1),
        # the same object twice: the second is wrong
        ([true(1, A), true(1, B)], [found(1, A, 0.9), found(1, A, 0.8), found(1, B, 0.7)],
         (51 + 50 * 2 / 3) / 101, (51 + 50 * 2 / 3) / 101),
        # what lies in a crowd is neither right nor wrong
        ([true(1, A), true(1, (200.0, 0.0, 200.0, 400.0), crowd=True)],
         [found(1, FAR, 0.9), found(1, FAR, 0.85), found(1, A, 0.8)], 1, 1),
    ],
)  # fmt: skip
def test_by_hand(truth, results, ap50, ap) -> None:
    got = average_precision([1, 2], [1], truth, results)[1]
    assert got.ap50 == pytest.approx(ap50)
    assert got.ap == pytest.approx(ap)


def random_set(seed: int):
    rng = np.random.default_rng(seed)
    truth, results = [], []
    for image_id in range(1, 13):
        for _ in range(rng.integers(0, 9)):
            # Not whole numbers: no overlap is exactly at a limit, where rounding would decide.
            xywh = tuple(rng.uniform([0, 0, 8, 8], 60).tolist())
            category_id = int(rng.integers(1, 4)) * 7
            truth.append(true(image_id, xywh, category_id, crowd=rng.random() < 0.15))
            for _ in range(rng.integers(0, 4)):
                near = tuple((np.array(xywh) + rng.uniform(-4, 4, 4)).tolist())
                results.append(found(image_id, near, float(rng.random()), category_id))
        results.append(found(image_id, FAR, float(rng.random()), 7))
    return truth, results


@pytest.mark.parametrize("seed", range(8))
def test_random_sets_agree_with_the_definition(seed) -> None:
    truth, results = random_set(seed)
    categories = [21, 7, 14, 99]
    got = average_precision(range(1, 13), categories, truth, results)
    assert list(got) == categories
    for category_id in categories:
        pictures = [
            (
                [(b.xywh, b.score) for b in results if (b.image_id, b.category_id) == (i, category_id)],
                [(b.xywh, b.crowd) for b in truth if (b.image_id, b.category_id) == (i, category_id)],
            )
            for i in range(1, 13)
        ]
        each = [plain_ap.average_precision(pictures, limit) for limit in plain_ap.LIMITS]
        if each[0] is None:
            assert math.isnan(got[category_id].ap50)
            continue
        assert got[category_id].ap50 == pytest.approx(each[0])
        assert got[category_id].ap75 == pytest.approx(each[5])
        assert got[category_id].ap == pytest.approx(sum(each) / 10)


def test_a_hundred_boxes_of_a_picture_count_and_no_more() -> None:
    wrong = [found(1, FAR, 0.9)] * 100
    assert average_precision([1], [1], [true(1, A)], [*wrong[:99], found(1, A, 0.5)])[1].ap50 > 0
    assert average_precision([1], [1], [true(1, A)], [*wrong, found(1, A, 0.5)])[1].ap50 == 0


def test_pictures_and_categories_that_were_not_asked_for_do_not_count() -> None:
    truth = [true(1, A), true(2, A), true(1, A, 5)]
    assert average_precision([1], [1], truth, [found(1, A, 0.9)])[1].ap == 1


def test_nothing_is_printed(capfd) -> None:
    average_precision([1], [1], [true(1, A)], [found(1, A, 0.9)])
    assert capfd.readouterr() == ("", "")


def test_the_mean_leaves_out_what_is_not_defined() -> None:
    nan = float("nan")
    parts = [
        AveragePrecision(ap=0.2, ap50=0.4, ap75=0.1),
        AveragePrecision(ap=nan, ap50=nan, ap75=nan),
        AveragePrecision(ap=0.4, ap50=0.8, ap75=0.3),
    ]
    mean = AveragePrecision.mean(parts)
    assert (mean.ap, mean.ap50, mean.ap75) == pytest.approx((0.3, 0.6, 0.2))
    assert math.isnan(AveragePrecision.mean(parts[1:2]).ap)
