"""Ctrl-C and SIGTERM as a wish to stop, not as an exception in the middle of a file.

Owns the handlers for the time of a run. One wish often comes twice (a shell, ``timeout`` and systemd send
signals to the whole group, and each forwards its own), and a run ends within two seconds: only a signal
that comes later is not patient any more, and interrupts at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

__all__ = ["stopping_on_signals"]

_SAME_WISH_S = 2.0


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[threading.Event]:
    """Set `stop` when SIGINT or SIGTERM comes; restore the handlers at the end.

    Outside the main thread Python handles no signals, and nothing is changed.

    Args:
        stop: Is set.

    Yields:
        Another event that tells a signal from any other reason to stop.
    """
    signalled = threading.Event()
    first_s = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        if not signalled.is_set():
            first_s = monotonic()
        elif monotonic() - first_s > _SAME_WISH_S:
            raise KeyboardInterrupt
        signalled.set()
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
