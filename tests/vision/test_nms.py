"""Suppression against the rule read aloud: a box stays unless a better one of its class covers it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.vision.boxes import iou_matrix, overlaps
from edgeyolo.vision.nms import best_first, nms, soft_nms, suppress


def plain_iou(a: list, b: list) -> Fraction:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return Fraction(0)
    both = Fraction(width) * Fraction(height)
    areas = [Fraction(box[2] - box[0]) * Fraction(box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)


def plain_nms(xyxy: list, scores: list, class_ids: list, iou: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(class_ids[j] != class_ids[i] or plain_iou(xyxy[j], xyxy[i]) <= Fraction(iou) for j in kept):
            kept.append(i)
    return kept


@st.composite
def heaps(draw):
    """Boxes on a coarse grid, so that equal boxes, equal scores and touching edges are common."""
    corner, side = st.integers(0, 12), st.integers(0, 8)
    box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
    count = draw(st.integers(0, 40))
    exactly = {"min_size": count, "max_size": count}
    return (
        draw(st.lists(box, **exactly)),
        draw(st.lists(st.integers(1, 8).map(lambda n: n / 8), **exactly)),
        draw(st.lists(st.integers(0, 2), **exactly)),
    )


# A quarter and its like are exact in binary: "greater than" means the same for floats and fractions.
@settings(deadline=None)
@given(heaps(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_small_heaps_agree_with_the_rule(heap, iou) -> None:
    xyxy, scores, class_ids = heap
    kept = nms(
        np.array(xyxy, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, int),
        iou=iou,
    )
    assert kept.tolist() == plain_nms(xyxy, scores, class_ids, iou)


@pytest.mark.parametrize("count", [127, 128, 129, 700])
@pytest.mark.parametrize("spread", [100, 3000])
def test_heaps_of_several_blocks_agree_with_the_rule(count, spread) -> None:
    rng = np.random.default_rng(count)
    corner = rng.integers(0, spread, (count, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(1, 80, (count, 2))], axis=1)
    scores = rng.integers(1, 50, count) / 64  # many ties
    class_ids = rng.integers(0, 3, count)
    expected = plain_nms(xyxy.tolist(), scores.tolist(), class_ids.tolist(), 0.25)
    assert nms(xyxy.astype(np.float32), scores, class_ids, iou=0.25).tolist() == expected
    # stopping early keeps the beginning of the same list
    for limit in (0, 1, 5, 10_000):
        kept = nms(xyxy.astype(np.float32), scores, class_ids, iou=0.25, max_kept=limit)
        assert kept.tolist() == expected[:limit]


def plain_soft_nms(xyxy: list, scores: list, class_ids: list, least: float) -> list[tuple[int, float]]:
    left = dict(enumerate(scores))
    taken = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        if left[best] <= least:
            break
        taken.append((best, left.pop(best)))
        for i in left:
            if class_ids[i] == class_ids[best]:
                left[i] *= math.exp(-(float(plain_iou(xyxy[i], xyxy[best])) ** 2) / 0.5)
    return taken


@settings(deadline=None)
@given(heaps(), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 50))
def test_soft_suppression_agrees_with_the_paper(heap, least, limit) -> None:
    xyxy, scores, class_ids = heap
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    arrays = (boxes, np.array(scores, np.float32), np.array(class_ids, int))
    kept, left = soft_nms(*arrays, least=least, max_kept=limit)
    expected = plain_soft_nms(xyxy, scores, class_ids, least)[:limit]
    assert kept.tolist() == [place for place, _ in expected]
    assert left.tolist() == pytest.approx([value for _, value in expected], rel=1e-12)


@settings(deadline=None)
@given(heaps(), st.sampled_from([0.25, 0.5]), st.integers(0, 50))
def test_each_way_of_suppressing(heap, iou, limit) -> None:
    xyxy, scores, class_ids = heap
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    values = np.array(scores, np.float32)
    expected = {
        "class": plain_nms(xyxy, scores, class_ids, iou),
        "agnostic": plain_nms(xyxy, scores, [0] * len(scores), iou),
        "none": sorted(range(len(scores)), key=lambda i: (-scores[i], i)),
    }
    for kind, places in expected.items():
        kept, left = suppress(
            kind, boxes, values, np.array(class_ids, int), iou=iou, least=0.0, max_kept=limit
        )
        assert kept.tolist() == places[:limit]
        assert left.tolist() == values[kept].tolist()


def test_classes_stay_apart_where_coordinates_are_large() -> None:
    # An offset a class, added to coordinates of 16 million, would lose every pixel in float32.
    far = np.array([[16_000_000, 0, 16_000_010, 10], [16_000_008, 0, 16_000_018, 10]], np.float32)
    scores = np.array([0.9, 0.8])
    assert nms(far, scores, np.array([0, 0]), iou=0.3).tolist() == [0, 1]  # 2 of 18 overlap
    assert nms(far[[0, 0]], scores, np.array([0, 79]), iou=0.3).tolist() == [0, 1]
    assert nms(far[[0, 0]], scores, np.array([79, 79]), iou=0.3).tolist() == [0]


def test_exactly_the_limit_stays() -> None:
    half = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # 50 of 100
    assert nms(half, np.array([0.9, 0.8]), np.array([0, 0]), iou=0.5).tolist() == [0, 1]
    assert nms(half, np.array([0.9, 0.8]), np.array([0, 0]), iou=0.499).tolist() == [0]


def test_boxes_without_area_neither_suppress_nor_divide_by_zero() -> None:
    dots = np.array([[5, 5, 5, 5]] * 3, np.float32)
    assert nms(dots, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 0]), iou=0.0).tolist() == [0, 1, 2]
    assert iou_matrix(dots, dots).tolist() == [[0, 0, 0]] * 3


@settings(deadline=None)
@given(heaps())
def test_iou_of_all_pairs(heap) -> None:
    xyxy = heap[0]
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    found = iou_matrix(boxes, boxes[:7])
    assert found.shape == (len(xyxy), min(7, len(xyxy)))
    for i, row in enumerate(found.tolist()):
        for j, value in enumerate(row):
            assert value == pytest.approx(float(plain_iou(xyxy[i], xyxy[j])), abs=1e-15)
    np.testing.assert_array_equal(overlaps(boxes, boxes[:7], 0.25), found > 0.25)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6)), st.one_of(st.none(), st.integers(0, 12)))
def test_best_first_is_a_stable_sort_cut_off(scores, count) -> None:
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]
    assert best_first(np.array(scores, np.float32), count).tolist() == expected
