"""Ctrl-C, SIGTERM and a lost terminal: a wish to stop, never an end in the middle of a file.

Owns the handlers: of a whole command, which ends through every ``finally``; and of a run, which stops between
two frames. One wish often comes twice (a shell, ``timeout`` and systemd send signals to the whole group, and
each forwards its own), and a run ends within two seconds: only a signal that comes later is not patient any
more, and interrupts at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

__all__ = ["signals_as_interrupt", "stopping_on_signals"]


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does; restore the handlers at the end.

    What is ignored stays ignored, as ``nohup`` wants it. Outside the main thread nothing is changed.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    with _handled(interrupt, (n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN)):
        yield


@contextmanager
def _handled(
    handle: Callable[[int, FrameType | None], None], numbers: Iterable[signal.Signals]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        if not signalled.is_set():
            first_s = monotonic()
        elif monotonic() - first_s > _SAME_WISH_S:
            raise KeyboardInterrupt
        signalled.set()
        stop.set()

    with _handled(handle, (signal.SIGINT, signal.SIGTERM)):
        yield signalled
