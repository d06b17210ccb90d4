"""Ctrl-C and SIGTERM while a run goes on."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from edgeyolo.pipeline import signals
from edgeyolo.pipeline.signals import stopping_on_signals


def test_a_wish_that_comes_twice_at_once_is_one_wish() -> None:
    stop = threading.Event()
    with stopping_on_signals(stop) as signalled:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert signalled.is_set()
    assert stop.is_set()


def test_a_later_signal_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(signals, "monotonic", lambda: now[0])
    with stopping_on_signals(threading.Event()):
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 2.5
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping_on_signals(threading.Event()) as signalled:
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert not signalled.is_set()
