"""How far a long command is, on stderr: one line a step, written over on a terminal.

Owns the wording and its pace. Silent unless asked for.
"""

from __future__ import annotations

import sys
import time

__all__ = ["Steps"]

_LINE_EVERY_S = 5.0
_LIVE_EVERY_S = 0.1


class Steps:
    """Tells of steps, and within a step of items done.

    Args:
        shown: Whether to say anything at all.

    Examples:
        >>> steps = Steps(shown=False)
        >>> steps.begin("collect", 294)
        >>> steps(1)
        >>> steps.end() >= 0
        True
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._live = shown and sys.stderr.isatty()
        self._label, self._total = "", 0
        self._began_s = self._said_s = 0.0
        self._first: tuple[int, float] | None = None

    def begin(self, label: str, total: int = 0) -> None:
        """Begin a step of `total` items; 0 where they cannot be counted."""
        self._label, self._total = label, total
        self._began_s = self._said_s = time.monotonic()
        self._first = None
        if self._shown:
            print(f"{label} ...", file=sys.stderr, end="\r" if self._live else "\n", flush=True)

    def __call__(self, done: int, total: int | None = None) -> None:
        """Tell that `done` items are done."""
        self._total = self._total if total is None else total
        now = time.monotonic()
        # The first item waits for the engine, its caches and its pictures: it says nothing of the others.
        first, first_s = self._first = self._first or (done, now)
        if not self._shown or now - self._said_s < (_LIVE_EVERY_S if self._live else _LINE_EVERY_S):
            return
        self._said_s = now
        known = self._total and done > first
        left_s = (now - first_s) / (done - first) * max(self._total - done, 0) if known else 0.0
        eta = f", ETA {left_s:.0f} s" if known else ""
        of = f"/{self._total}" if self._total else ""
        text = f"{self._label} {done}{of}{eta}"
        print(
            f"\r\x1b[K{text}" if self._live else text,
            file=sys.stderr,
            end="" if self._live else "\n",
            flush=True,
        )

    def within(self, label: str, done: int, total: int) -> None:
        """Tell that `done` of `total` items are done of a step, which begins and ends by itself."""
        if label != self._label:
            self.begin(label, total)
        self(done, total)
        if done == total:
            self.end()

    def end(self) -> float:
        """End the step; say how long it took.

        Returns:
            Seconds.
        """
        seconds = time.monotonic() - self._began_s
        if self._shown:
            clear = "\r\x1b[K" if self._live else ""
            print(f"{clear}{self._label}: {seconds:.1f} s", file=sys.stderr)
        self._label = ""
        return seconds

    def say(self, text: str) -> None:
        """Say something that is no progress."""
        if self._shown:
            print(text, file=sys.stderr)
