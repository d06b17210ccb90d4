"""Times of stages, kept in bounded memory.

Owns recording and percentiles. A run of months keeps the last few thousand frames' times, not all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

__all__ = ["PERCENTS", "STAGES", "StageTimes"]

# In the order of a frame's way; "output" is everything that sinks do.
STAGES = ("capture", "preprocess", "infer", "postprocess", "draw", "output")
PERCENTS = (50, 90, 99)
_KEPT = 8192


class StageTimes:
    """Milliseconds a frame of every stage, the last `_KEPT` of each; any thread may record and ask.

    Examples:
        >>> times = StageTimes()
        >>> for value in (1.0, 2.0, 9.0):
        ...     times.record("infer", value)
        >>> times.percentile("infer", 50)
        2.0
    """

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {stage: deque(maxlen=_KEPT) for stage in STAGES}
        self._lock = threading.Lock()

    def record(self, stage: str, milliseconds: float) -> None:
        """Keep one measurement."""
        with self._lock:
            self._times[stage].append(milliseconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Record how long a ``with`` block takes; nothing where it raises."""
        start = perf_counter()
        yield
        self.record(stage, (perf_counter() - start) * 1e3)

    def last(self, stage: str) -> float:
        """Give the latest measurement, milliseconds; meant for stages that one thread records."""
        return self._times[stage][-1]

    def count(self, stage: str) -> int:
        """Number of measurements kept."""
        return len(self._times[stage])

    def percentile(self, stage: str, percent: float) -> float:
        """Give a percentile, milliseconds; 0 where nothing was recorded."""
        kept = self._copy(stage)
        return float(np.percentile(kept, percent)) if len(kept) else 0.0

    def percentiles(self, stage: str) -> dict[str, float]:
        """Give ``p50``, ``p90`` and ``p99``, milliseconds; nothing where nothing was recorded."""
        kept = self._copy(stage)
        if not len(kept):
            return {}
        return {f"p{p}": v for p, v in zip(PERCENTS, np.percentile(kept, PERCENTS).tolist(), strict=True)}

    def _copy(self, stage: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        with self._lock:
            kept = self._times[stage]
            return np.fromiter(kept, np.float64, len(kept))
