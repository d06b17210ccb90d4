"""Counts of the values of many tensors, gathered image by image in fixed memory.

Owns the grids and their growth. One pass is enough, and neither the order of the images nor the number of
threads changes the result: every grid spans a power of two, so that growing it merges whole bins, and counts
are integers. Refuses to run a model (`edgeyolo.calibrate.collect`) and to choose a range
(`edgeyolo.calibrate.amax`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "Histogram", "magnitudes"]

BINS = 4096  # on either side of 0; at least half of them are in use, so 2048 as TensorRT has, or more


@dataclass
class Histogram:
    """Signed counts of one tensor over ``[-limit, limit)``.

    Args:
        limit: End of the grid, a power of two above every value seen; 0 before the first.
        counts: Shape ``(2 * BINS,)``, int64; bin ``BINS`` starts at 0.
        low: Smallest value seen, of all values where the collector looks at all.
        high: Largest value seen, likewise.

    Examples:
        >>> histogram = Histogram()
        >>> histogram.add(np.array([0.5, -1.5], np.float32))
        >>> histogram.limit, int(histogram.counts.sum()), histogram.amax
        (2.0, 2, 1.5)
    """

    limit: float = 0.0
    counts: npt.NDArray[np.int64] = None  # type: ignore[assignment]
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if self.counts is None:
            self.counts = np.zeros(2 * BINS, np.int64)

    @property
    def amax(self) -> float:
        """Largest magnitude seen."""
        return max(self.high, -self.low)

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self.limit / BINS

    def add(
        self, values: npt.NDArray[np.float32], low: float | None = None, high: float | None = None
    ) -> None:
        """Count finite values.

        Args:
            values: Any shape, float32.
            low: The smallest of them, where it is known already.
            high: The largest of them, likewise.
        """
        if values.size:
            low = float(values.min()) if low is None else low
            high = float(values.max()) if high is None else high
            self.reach(low, high)
            self._count(values)

    def reach(self, low: float, high: float) -> None:
        """Make room for values between `low` and `high`, and remember that they were seen."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.amax >= self.limit and self.amax > 0:
            self._grow(2.0 ** (math.floor(math.log2(self.amax)) + 1))

    def _count(self, values: npt.NDArray[np.float32]) -> None:
        if self.limit == 0:
            self.counts[BINS] += values.size
            return
        place = np.multiply(values.ravel(), np.float32(BINS / self.limit))
        # The factor is a power of two, so the product is exact; added to before it is rounded down, a value
        # just below an edge would be rounded across it, on a coarse grid and not on a fine one.
        np.floor(place, out=place)
        place += np.float32(BINS)
        self.counts += np.bincount(place.astype(np.intp), minlength=2 * BINS)

    def _grow(self, limit: float) -> None:
        if self.limit > 0:
            factor = round(limit / self.limit)
            old = self.counts
            self.counts = np.zeros(2 * BINS, np.int64)
            kept = max(BINS // factor, 1)
            upper, lower = _merge(old[BINS:], kept), _merge(old[:BINS], kept)
            self.counts[BINS : BINS + kept] = upper
            self.counts[BINS - kept : BINS] = lower
        self.limit = limit


def _merge(counts: npt.NDArray[np.int64], kept: int) -> npt.NDArray[np.int64]:
    return np.asarray(counts.reshape(kept, -1).sum(axis=1))


def magnitudes(
    histograms: list[Histogram], *, slope: float | None = None
) -> tuple[npt.NDArray[np.int64], float]:
    """Give the histogram of ``|x|`` of several tensors together.

    Args:
        histograms: At least one.
        slope: Negative slope of the LeakyRelu that made the values; the histogram is then that of the
            values in front of it, which the negative side still tells.

    Returns:
        Counts of shape ``(BINS,)`` and the width of a bin.
    """
    sides = []
    for histogram in histograms:
        lower = histogram.counts[:BINS][::-1]
        stretch = 1.0 if not slope else 1.0 / slope
        sides.append((histogram.counts[BINS:], histogram.width))
        sides.append((lower, histogram.width * stretch))
    reach = max((_reach(counts, width) for counts, width in sides), default=0.0)
    if reach == 0:
        return np.asarray(sum(counts for counts, _ in sides)), 0.0
    width = reach / BINS
    total = np.zeros(BINS, np.int64)
    for counts, own in sides:
        centre = (np.arange(BINS) + 0.5) * own
        index = np.minimum((centre / width).astype(np.intp), BINS - 1)
        total += np.bincount(index, weights=counts, minlength=BINS).astype(np.int64)
    return total, width


def _reach(counts: npt.NDArray[np.int64], width: float) -> float:
    used = np.flatnonzero(counts)
    return float((used[-1] + 1) * width) if used.size else 0.0
