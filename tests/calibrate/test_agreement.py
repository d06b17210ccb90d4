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
    assert error.of(0, [other, SCORES]) == pytest.approx(5 * 0.9 * 0.5**2 / 1.07)


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


@pytest.mark.parametrize("kind", ["boxes", "raw heads", "coordinates"])
def test_the_gradient_is_that_of_the_error(kind: str) -> None:
    rng = np.random.default_rng(3)
    if kind == "boxes":
        corner, size = rng.uniform(0, 40, (1, 30, 2)), rng.uniform(5, 30, (1, 30, 2))
        boxes = np.concatenate([corner, corner + size], axis=2).astype(np.float32)
        reference = [boxes, rng.uniform(0.02, 0.9, (1, 30, 3)).astype(np.float32)]
        found = [boxes + rng.uniform(-3, 3, boxes.shape).astype(np.float32), reference[1] * np.float32(0.8)]
    elif kind == "raw heads":
        reference = [rng.normal(-1, 2, (1, 14, 4, 5)).astype(np.float32)]
        found = [reference[0] + rng.normal(0, 0.3, reference[0].shape).astype(np.float32)]
    else:
        table = np.concatenate([rng.normal(0, 7, (1, 50, 2)), rng.random((1, 50, 1))], axis=2)
        reference = [table.astype(np.float32)]
        found = [reference[0] + np.array([0.7, -0.4, 0.0], np.float32)]
    error = OutputDeviation([reference])
    gradient = error.gradient(reference, found)
    assert [each.shape for each in gradient] == [each.shape for each in found]
    for index, array in enumerate(found):
        for place in rng.integers(0, array.size, 12):
            moved = []
            for step in (1e-2, -1e-2):
                tried = [each.astype(np.float64) for each in found]
                tried[index].ravel()[place] += step * min(1, abs(array.ravel()[place]))
                moved.append(error.of(0, tried))
            span = 2e-2 * min(1, abs(array.ravel()[place]))
            expected = (moved[0] - moved[1]) / span
            assert gradient[index].ravel()[place] == pytest.approx(expected, rel=0.05, abs=1e-5)
