"""How far a run is, on stderr: a live line on a terminal, a plain line now and then elsewhere.

Owns the wording and its pace. Knows nothing of models; to the frame loop it is a sink like any other.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from typing import Any

from edgeyolo.frames import Result

__all__ = ["ProgressSink"]

_LINE_EVERY_S = 5.0
# FPS is that of the last frames, so that it shows what happens now.
_WINDOW = 60


class ProgressSink:
    """A `edgeyolo.frames.Sink` that counts frames where a user can see it.

    Args:
        total: Frames to come, where known.
        live: Whether there is a camera, whose results age.
    """

    wants_picture = False

    def __init__(self, total: int | None, *, live: bool = False) -> None:
        self._total = total
        self._ages_ms: deque[float] | None = deque(maxlen=_WINDOW) if live else None
        self._count = 0
        self._stamps: deque[float] = deque(maxlen=_WINDOW)
        self._said_s = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar, self._task = _terminal_bar(total)
            self._bar.start()

    def write(self, result: Result) -> None:
        """Count one frame."""
        self._count += 1
        now = time.monotonic()
        self._stamps.append(now)
        if self._ages_ms is not None:
            self._ages_ms.append(result.age_ms)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._count, speed=self._speed())
        elif now - self._said_s >= _LINE_EVERY_S:
            self._said_s = now
            print(self._line(), file=sys.stderr)

    def close(self) -> None:
        """End the live line; twice is harmless."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _fps(self) -> float:
        span = self._stamps[-1] - self._stamps[0]
        return (len(self._stamps) - 1) / span if span > 0 else 0.0

    def _speed(self) -> str:
        age = f", age {statistics.median(self._ages_ms):.0f} ms" if self._ages_ms else ""
        return f"{self._fps():.1f} FPS{age}"

    def _line(self) -> str:
        if self._total is None:
            return f"frame {self._count}  {self._speed()}"
        left, fps = max(0, self._total - self._count), self._fps()
        eta = f"  ETA {left / fps:.0f} s" if fps > 0 else ""
        return f"frame {self._count}/{self._total}  {self._speed()}{eta}"


def _terminal_bar(total: int | None) -> tuple[Any, Any]:
    # rich comes with typer; imported here because `edgeyolo --help` and the library need none of it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("frame"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    return bar, bar.add_task("", total=total, speed="")
