"""The error at the outputs and the agreement, by hand."""

import numpy as np
import pytest

from edgeyolo.calibrate.agreement import OutputDeviation

BOXES = np.array([[[0, 0, 10, 10], [5, 5, 25, 15]]], np.float32)
SCORES = np.array([[[0.9, 0.0], [0.16, 0.01]]], np.float32)


def test_equal_outputs_have_no_error() -> None:
    error = OutputDeviation([[BOXES, SCORES]])
    assert error.of(0, [BOXES, SCORES]) == 0
    assert error.agreement([[BOXES, SCORES]]) == 1


def test_scores_by_hand() -> None:
    other = SCORES.copy()
    other[0, 1] = [0.25, 0.0]
    error = OutputDeviation([[BOXES, SCORES]])
    assert error.of(0, [BOXES, other]) == pytest.approx(((0.5 - 0.4) ** 2 + 0.1**2) / 1.07)
    # 0.01 is below the threshold of what counts for agreement
    assert error.agreement([[BOXES, other]]) == pytest.approx((0.9 + 0.16) / (0.9 + 0.25))


def test_boxes_by_hand() -> None:
    other = BOXES.copy()
    other[0, 0] = [0, 0, 10, 5]
    error = OutputDeviation([[BOXES, SCORES]])
    assert error.of(0, [other, SCORES]) == pytest.approx(0.25 * 0.9 * 0.5 / 1.07)


def test_an_image_has_its_share() -> None:
    error = OutputDeviation([[BOXES, SCORES], [BOXES, SCORES * 0.5]])
    shares = [error.of(0, [BOXES, SCORES * 0.81]), error.of(1, [BOXES, SCORES * 0.5])]
    assert shares == pytest.approx([(0.1**2) * 1.07 / 1.605, 0])


def test_raw_heads_are_logits() -> None:
    head = np.random.default_rng(0).normal(-3, 3, (1, 14, 4, 5)).astype(np.float32)
    error = OutputDeviation([[head]])
    assert error.of(0, [head]) == 0
    assert error.of(0, [head + 40 * (head > 5)]) < error.of(0, [head + 0.5])  # saturated is saturated


def test_coordinates_that_are_no_boxes_count_in_their_own_spread() -> None:
    rng = np.random.default_rng(1)
    table = np.concatenate([rng.normal(0, 7, (1, 50, 2)), rng.random((1, 50, 1))], axis=2).astype(np.float32)
    error = OutputDeviation([[table]])
    moved = table.copy()
    moved[..., 0] += 0.7
    assert 0 < error.of(0, [moved]) < 0.05
    assert error.agreement([[moved]]) == 1
