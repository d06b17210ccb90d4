"""Times of stages, kept in bounded memory.

Owns recording and percentiles. A run of months keeps the last few thousand frames' times, not all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

__all__ = ["STAGES", "StageTimes"]

# In the order of a frame's way; "output" is everything that sinks do.
STAGES = ("capture", "preprocess", "infer", "postprocess", "draw", "output")
_KEPT = 8192


class StageTimes:
    """Milliseconds a frame of every stage, the last `_KEPT` of each.

    Each stage is recorded by one thread only, so no lock is needed.

    Examples:
        >>> times = StageTimes()
        >>> for value in (1.0, 2.0, 9.0):
        ...     times.record("infer", value)
        >>> times.percentile("infer", 50)
        2.0
    """

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {stage: deque(maxlen=_KEPT) for stage in STAGES}

    def record(self, stage: str, milliseconds: float) -> None:
        """Keep one measurement."""
        self._times[stage].append(milliseconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Record how long a ``with`` block takes; nothing where it raises."""
        start = perf_counter()
        yield
        self.record(stage, (perf_counter() - start) * 1e3)

    def last(self, stage: str) -> float:
        """Give the latest measurement, milliseconds."""
        return self._times[stage][-1]

    def count(self, stage: str) -> int:
        """Number of measurements kept."""
        return len(self._times[stage])

    def percentile(self, stage: str, percent: float) -> float:
        """Give a percentile, milliseconds; 0 where nothing was recorded."""
        kept = self._times[stage]
        return float(np.percentile(kept, percent)) if kept else 0.0

    def clear(self) -> None:
        """Forget everything, such as the frames of a warm-up."""
        for kept in self._times.values():
            kept.clear()
