"""Methods: hand-made tables, brute force, and TensorRT's entropy written out as its author describes it."""

import numpy as np
import pytest

from edgeyolo.calibrate.amax import amax_by, entropy, largest, mse, mse_below, percentile
from edgeyolo.calibrate.histogram import Histogram
from edgeyolo.errors import ConfigError, DeadTensorError
from edgeyolo.qdq.grids import Grid


def reference_entropy(counts: np.ndarray, width: float) -> float:
    """KL calibration as on pages 25-32 of Migacz's slides, one step a line, slow.

    For 2048 bins; i from 128 to 2048: P is bins 0..i-1 with the outliers added to its last bin; the same bins
    without outliers are merged to 128 levels, and each level is spread evenly over those of its bins that are
    not empty: Q. The threshold is in the middle of bin m with the least KL(P, Q).
    """
    bins = [float(value) for value in counts]
    bins[0] = bins[1]
    best, threshold = float("inf"), 0.0
    for i in range(128, 2049):
        reference = bins[:i]
        p = list(reference)
        p[-1] += sum(bins[i:])
        q = [0.0] * i
        levels: list[list[int]] = [[] for _ in range(128)]
        for k in range(i):
            levels[k * 128 // i].append(k)
        for members in levels:
            full = [k for k in members if reference[k] > 0]
            for k in full:
                q[k] = sum(reference[k] for k in members) / len(full)
        if p[-1] > 0 and q[-1] == 0:
            continue
        p_sum, q_sum = sum(p), sum(q)
        divergence = sum(
            a / p_sum * np.log((a / p_sum) / (b / q_sum)) for a, b in zip(p, q, strict=True) if a > 0
        )
        if divergence < best:
            best, threshold = divergence, (i + 0.5) * width
    return threshold


@pytest.mark.parametrize("name", ["normal", "laplace", "gaps"])
def test_entropy_is_tensorrts(name: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "normal": np.abs(rng.normal(0, 1, 4000)),
        "laplace": np.concatenate([np.abs(rng.laplace(0, 1, 3000)), np.zeros(3000)]),
        "gaps": np.concatenate([rng.integers(0, 30, 3000) / 10, [9.0]]),
    }[name]
    top = values.max() * (1 + 1e-9)
    counts, _ = np.histogram(values, bins=2048, range=(0, top))
    assert entropy(counts, top / 2048) == pytest.approx(reference_entropy(counts, top / 2048), rel=1e-9)


def test_entropy_of_a_full_range_keeps_all_and_half_a_bin() -> None:
    # What TensorRT writes for an input in 0..1: 3c010a14, that is 2048.5 / 2048 / 127.
    counts = np.full(2048, 100)
    assert entropy(counts, 1 / 2048) / 127 == pytest.approx(0.007875938)


def test_entropy_lets_go_of_a_lone_outlier() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.abs(rng.normal(0, 1, 100_000)), [50.0]])
    counts, edges = np.histogram(values, bins=4096, range=(0, 50.001))
    assert 3 < entropy(counts, edges[1]) < 8  # onnxruntime's default of 128 bins gives 50


@pytest.mark.parametrize(
    ("percent", "expected"), [(100, 10.0), (90, 9.0), (50, 5.0), (10, 1.0), (10.1, 2.0), (0.001, 1.0)]
)
def test_percentile_of_one_value_a_bin(percent: float, expected: float) -> None:
    assert percentile(np.ones(10, np.int64), 1.0, percent) == expected


def test_mse_is_the_least_of_a_plain_search() -> None:
    rng = np.random.default_rng(5)
    values = np.abs(rng.laplace(0, 1, 200_000))
    counts, edges = np.histogram(values, bins=4096, range=(0, values.max() * 1.0001))

    def error(amax: float) -> float:
        step = amax / 127
        return float(np.square(values - step * np.clip(np.rint(values / step), 0, 127)).mean())

    found = mse(counts, edges[1])
    assert error(found) <= 1.01 * min(error(amax) for amax in np.linspace(0.05, 1, 60) * values.max())
    assert found < 0.9 * values.max()


@pytest.mark.parametrize("slope", [0.1, 0.3])
def test_the_range_in_front_of_a_leaky_relu_is_the_least_of_a_plain_search(slope: float) -> None:
    rng = np.random.default_rng(6)
    values = rng.laplace(-1, 1, 200_000).astype(np.float32)
    values[:20] *= 4  # a few far out, below 0 mostly

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(x, slope * x), np.float32)

    histogram = Histogram()
    histogram.add(leaky(values))
    high = float(values.max())

    def error(low: float) -> float:
        grid = Grid.uint8(-low, high)
        rounded = (np.clip(np.rint(values / grid.step) + grid.zero, 0, 255) - grid.zero) * grid.step
        return float(np.square(leaky(rounded) - leaky(values)).mean())

    found = mse_below(histogram, high=high, slope=slope)
    lowest = -float(values.min())
    assert error(found) <= 1.02 * min(error(low) for low in np.linspace(0.02, 1, 60) * lowest)
    assert found < 0.9 * lowest


def test_in_front_of_a_leaky_relu_nothing_below_0_needs_no_range() -> None:
    histogram = Histogram()
    histogram.add(np.array([0.5, 2.0], np.float32))
    assert mse_below(histogram, high=2.0, slope=0.1) == 0


def test_mse_keeps_a_value_that_carries_the_power() -> None:
    counts = np.zeros(4096, np.int64)
    counts[10], counts[4000] = 50, 50
    assert mse(counts, 1.0) >= 0.97 * 4000


def test_largest_is_the_end_of_the_last_bin_in_use() -> None:
    counts = np.zeros(4096, np.int64)
    counts[[0, 7]] = 3
    assert largest(counts, 0.5) == 4.0


def test_zeros_alone_are_dead() -> None:
    counts = np.zeros(4096, np.int64)
    counts[0] = 100
    with pytest.raises(DeadTensorError, match="0 on every calibration image"):
        amax_by("mse", counts, 0.1)


def test_wrong_options() -> None:
    counts = np.ones(4096, np.int64)
    with pytest.raises(ConfigError, match="one of minmax, percentile, entropy, mse expected, 'kl' found"):
        amax_by("kl", counts, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"above 0 and up to 100 expected, 0 found"):
        percentile(counts, 0.1, 0)
