"""Ctrl-C and SIGTERM as a wish to stop, not as an exception in the middle of a file.

Owns the handlers for the time of a run. A second signal is not patient any more: it interrupts at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stopping_on_signals"]


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
    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if signalled.is_set():
            raise KeyboardInterrupt
        signalled.set()
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
