"""Histograms that grow: against NumPy's, in any order, and what a LeakyRelu's output tells of its input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeyolo.calibrate.histogram import BINS, Histogram, magnitudes

values_st = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False).filter(
        lambda v: v == 0 or abs(v) > 1e-3
    ),
)


def filled(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def test_counts_are_numpys() -> None:
    values = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    histogram = filled(values)
    expected, _ = np.histogram(values, bins=2 * BINS, range=(-histogram.limit, histogram.limit))
    assert np.array_equal(histogram.counts, expected)
    assert (histogram.low, histogram.high) == (values.min(), values.max())


@given(st.lists(values_st, min_size=1, max_size=5))
def test_order_does_not_matter_and_nothing_is_lost(parts: list[np.ndarray]) -> None:
    one, other = filled(*parts), filled(*parts[::-1])
    assert one.limit == other.limit
    assert np.array_equal(one.counts, other.counts)
    assert one.counts.sum() == sum(len(part) for part in parts)
    assert one.amax == max(float(np.abs(part).max()) for part in parts)
    assert one.limit == 0 or one.amax < one.limit <= 2 * one.amax


def test_a_value_just_below_an_edge_stays_below_it_on_every_grid() -> None:
    parts = [np.array([256.0], np.float32), np.array([-1.00001], np.float32)]
    assert np.array_equal(filled(*parts).counts, filled(*parts[::-1]).counts)


def test_growing_merges_whole_bins() -> None:
    values = np.linspace(-1, 1, 999, dtype=np.float32)
    grown = filled(values, np.array([100], np.float32))
    at_once = filled(np.concatenate([values, [100]]).astype(np.float32))
    assert np.array_equal(grown.counts, at_once.counts)


def test_only_zeros_have_no_width() -> None:
    histogram = filled(np.zeros(7, np.float32))
    assert (histogram.limit, histogram.amax, int(histogram.counts[BINS])) == (0, 0, 7)
    assert magnitudes([histogram])[1] == 0


@pytest.mark.parametrize("slope", [0.1, 0.25])
def test_the_input_of_a_leaky_relu_is_told_by_its_output(slope: float) -> None:
    inputs = np.random.default_rng(1).normal(-1, 4, 50_000).astype(np.float32)
    outputs = np.where(inputs > 0, inputs, inputs * np.float32(slope)).astype(np.float32)
    counts, width = magnitudes([filled(outputs)], slope=slope)
    centres = (np.arange(len(counts)) + 0.5) * width
    assert counts.sum() == len(inputs)
    for percent in (50, 90, 99, 99.9):
        found = centres[np.searchsorted(np.cumsum(counts), percent / 100 * len(inputs))]
        assert found == pytest.approx(np.percentile(np.abs(inputs), percent), rel=0.02)


def test_several_tensors_together() -> None:
    small, large = np.full(10, 0.5, np.float32), np.full(5, 40, np.float32)
    counts, width = magnitudes([filled(small), filled(-large)])
    assert np.flatnonzero(counts) * width == pytest.approx([0.5, 40], rel=0.02)
    assert counts[np.flatnonzero(counts)].tolist() == [10, 5]
