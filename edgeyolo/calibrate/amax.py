"""From a histogram of magnitudes to the largest magnitude worth keeping.

Owns the four methods that need nothing but a histogram. Refuses to run a model; choosing among what these
methods propose, by the error at the network's outputs, is `edgeyolo.calibrate.simulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgeyolo.calibrate.histogram import BINS, Histogram
from edgeyolo.errors import ConfigError, DeadTensorError
from edgeyolo.scales import LEVELS

__all__ = ["DEFAULT_PERCENTILE", "Method", "amax_by", "entropy", "largest", "mse", "mse_below", "percentile"]

Method = Literal["minmax", "percentile", "entropy", "mse"]
Counts = npt.NDArray[np.int64]

DEFAULT_PERCENTILE = 99.99  # NVIDIA's pytorch-quantization has the same default
_KL_BINS = 2048  # TensorRT's histogram
_KL_LEVELS = 128  # TensorRT's quantised distribution
_MSE_STEPS = 256
_UINT8_STEPS = 255


def amax_by(method: Method, counts: Counts, width: float, *, percent: float = DEFAULT_PERCENTILE) -> float:
    """Choose by the name of a method.

    Args:
        method: Which.
        counts: Shape ``(BINS,)``; how many magnitudes fell into each bin, the first starting at 0.
        width: Width of a bin.
        percent: For ``percentile``.

    Raises:
        ConfigError: No such method, or `percent` outside (0, 100].
        DeadTensorError: Nothing but zeros was counted.

    Examples:
        >>> counts = np.zeros(4096, np.int64)
        >>> counts[:2048] = 10
        >>> amax_by("minmax", counts, 0.001), amax_by("percentile", counts, 0.001, percent=50)
        (2.048, 1.024)
    """
    if method not in get_args(Method):
        raise ConfigError(f"method: one of {', '.join(get_args(Method))} expected, {method!r} found")
    if width == 0 or not counts[1:].any():
        raise DeadTensorError("a tensor is 0 on every calibration image")
    if method == "percentile":
        return percentile(counts, width, percent)
    chosen: Mapping[str, Callable[[Counts, float], float]]
    chosen = {"minmax": largest, "entropy": entropy, "mse": mse}
    return chosen[method](counts, width)


def largest(counts: Counts, width: float) -> float:
    """Keep everything."""
    return float(np.flatnonzero(counts)[-1] + 1) * width


def percentile(counts: Counts, width: float, percent: float) -> float:
    """Keep `percent` of all values, zeros counted too.

    Raises:
        ConfigError: `percent` is outside (0, 100].
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"percentile: above 0 and up to 100 expected, {percent} found")
    running = np.cumsum(counts)
    needed = running[-1] * (percent / 100)
    # Rounding must not ask for a fraction of a value more than there is.
    return float(np.searchsorted(running, needed - 1e-6) + 1) * width


def mse(counts: Counts, width: float) -> float:
    """Keep what makes the mean squared error of symmetric int8 smallest.

    Clipping costs ``(x - amax)^2`` above amax, rounding ``scale^2 / 12`` below it, the textbook variance of
    a uniform error; where a bin is wider than the step, rounding is worked out for the bin's centre.
    """
    used = int(np.flatnonzero(counts)[-1]) + 1
    centres = np.asarray((np.arange(used) + 0.5) * width, np.float64)
    weights = counts[:used].astype(np.float64)
    weights[0] = 0.0 if used > 1 else weights[0]  # zeros are exact with every scale
    candidates = np.linspace(1 / _MSE_STEPS, 1.0, _MSE_STEPS) * used * width
    errors = [_squared_error(centres, weights, float(amax)) for amax in candidates]
    return float(candidates[int(np.argmin(errors))])


def _squared_error(centres: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], amax: float) -> float:
    step = amax / LEVELS
    edge = np.searchsorted(centres, amax)
    beyond = centres[edge:] - amax
    return float(weights[:edge].sum() * step * step / 12 + (weights[edge:] * beyond * beyond).sum())


def mse_below(histogram: Histogram, *, high: float, slope: float) -> float:
    """Keep, in front of a LeakyRelu, what makes the mean squared error of uint8 behind it smallest.

    Args:
        histogram: Of the values behind the LeakyRelu.
        high: Largest value that is kept.
        slope: Its negative slope, above 0.

    Returns:
        The largest magnitude below 0 that is kept, in front of the LeakyRelu; 0 where none is below 0.
    """
    lower = histogram.counts[:BINS][::-1]
    used = int(np.flatnonzero(lower)[-1]) + 1 if lower.any() else 0
    centres = np.asarray((np.arange(used) + 0.5) * histogram.width / slope, np.float64)
    weights = lower[:used].astype(np.float64)
    above = float(histogram.counts[BINS + 1 :].sum())  # zeros are exact with every step
    candidates = np.linspace(1 / _MSE_STEPS, 1.0, _MSE_STEPS) * used * histogram.width / slope

    def error(low: float) -> float:
        variance = ((low + high) / _UINT8_STEPS) ** 2 / 12
        edge = np.searchsorted(centres, low)
        beyond = (weights[edge:] * (centres[edge:] - low) ** 2).sum()
        return float(above * variance + slope**2 * (weights[:edge].sum() * variance + beyond))

    return float(min(candidates, key=error)) if used else 0.0


def entropy(counts: Counts, width: float) -> float:
    """Keep what loses least information (Kullback-Leibler), as TensorRT's entropy calibrators do.

    The histogram is brought to 2048 bins over the range seen. For every number of kept bins ``i`` from 128
    to 2048, ``P`` is the first ``i`` bins with all that lies beyond added to the last, and ``Q`` is the
    first ``i`` bins (nothing added) merged to 128 levels and spread again over those bins of ``P`` that are
    not empty. The ``i`` with the least ``KL(P || Q)`` wins, and amax is the middle of the bin behind it.

    Source:
        S. Migacz, "8-bit inference with TensorRT", GTC 2017, pages 25-32. That the middle of the bin is
        meant can be seen in the caches TensorRT writes: an input in 0..1 has the scale 2048.5 / 2048 / 127.
        That zeros do not take part (they are exact with every scale) follows NVIDIA's pytorch-quantization.
    """
    bins, width = _at_most_2048(counts, width)
    if len(bins) <= _KL_LEVELS:
        return len(bins) * width
    bins[0] = bins[1]
    tail = bins.sum() - np.cumsum(bins)
    best, best_size = np.inf, len(bins)
    for size in range(_KL_LEVELS, len(bins) + 1):
        divergence = _divergence(bins[:size], float(tail[size - 1]))
        if divergence < best:
            best, best_size = divergence, size
    return (best_size + 0.5) * width


def _at_most_2048(counts: Counts, width: float) -> tuple[npt.NDArray[np.float64], float]:
    """Bring a histogram to TensorRT's 2048 bins over the range seen."""
    used = int(np.flatnonzero(counts)[-1]) + 1
    edges = np.linspace(0, used, _KL_BINS + 1)
    running = np.concatenate([[0.0], np.cumsum(counts[:used], dtype=np.float64)])
    return np.diff(np.interp(edges, np.arange(used + 1), running)), used * width / _KL_BINS


def _divergence(kept: npt.NDArray[np.float64], tail: float) -> float:
    """Give ``KL(P || Q)`` for the bins kept and the count beyond them."""
    used = kept > 0
    level = np.arange(len(kept)) * _KL_LEVELS // len(kept)
    totals = np.bincount(level, weights=kept, minlength=_KL_LEVELS)
    filled = np.bincount(level, weights=used, minlength=_KL_LEVELS)
    spread = np.where(used, (totals / np.maximum(filled, 1))[level], 0.0)
    clipped = kept.copy()
    clipped[-1] += tail
    if clipped[-1] > 0 and spread[-1] == 0:
        return float(np.inf)  # Q gives no room to what was clipped
    both = clipped > 0
    p = clipped[both] / clipped.sum()
    q = spread[both] / spread.sum()
    return float((p * np.log(p / q)).sum())
