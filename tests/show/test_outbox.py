"""The queue with a thread behind it: order, bounds, what is given up, failures, ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.show.outbox import Outbox


class Gate:
    """A deliverer that waits until it may."""

    def __init__(self) -> None:
        self.delivered: list[int] = []
        self.open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, item: int) -> None:
        self.entered.set()
        assert self.open.wait(60)
        self.delivered.append(item)


@given(count=st.integers(0, 50), size=st.integers(1, 10))
def test_one_that_waits_loses_nothing(count: int, size: int) -> None:
    taken: list[int] = []
    outbox = Outbox(taken.append, name="test", size=size, when_full="wait")
    for item in range(count):
        outbox.put(item)
    assert outbox.close()
    assert outbox.close()
    assert taken == list(range(count))
    assert outbox.dropped == 0


@pytest.mark.parametrize(("when_full", "kept"), [("drop_new", [1, 2, 3]), ("drop_oldest", [7, 8, 9])])
def test_what_is_given_up(when_full: str, kept: list[int]) -> None:
    gate = Gate()
    outbox = Outbox(gate, name="test", size=3, when_full=when_full)  # type: ignore[arg-type]
    outbox.put(0)
    assert gate.entered.wait(60)  # it is under way, and not in the queue
    for item in range(1, 10):
        outbox.put(item)
    gate.open.set()
    assert outbox.close()
    assert gate.delivered == [0, *kept]
    assert outbox.dropped == 6


def test_closing_does_not_wait_for_ever() -> None:
    gate = Gate()
    outbox = Outbox(gate, name="test", size=9, when_full="wait")
    for item in range(5):
        outbox.put(item)
    assert gate.entered.wait(60)
    assert not outbox.close(0.05)
    assert outbox.dropped == 4  # the fifth is under way
    gate.open.set()


def test_draining_ends_when_all_is_delivered_or_in_a_hurry() -> None:
    gate = Gate()
    outbox = Outbox(gate, name="test", size=9, when_full="wait")
    outbox.put(1)
    outbox.drain(lambda: True, 60)
    assert not gate.delivered
    threading.Timer(0.1, gate.open.set).start()
    outbox.drain(lambda: False, 60)
    assert gate.delivered == [1]
    outbox.close()


def _fail(item: int) -> None:
    raise ValueError(f"item {item}")


def test_a_failure_reaches_who_fills_it() -> None:
    outbox = Outbox(_fail, name="test", size=1, when_full="wait")

    def fill() -> None:
        for item in range(100):
            outbox.put(item)
            time.sleep(0.001)

    with pytest.raises(ValueError, match="item 0"):
        fill()
    outbox.close()  # told once


def test_a_failure_at_the_end_is_not_lost() -> None:
    outbox = Outbox(_fail, name="test", size=1, when_full="wait")
    outbox.put(7)
    with pytest.raises(ValueError, match="item 7"):
        outbox.close()


def test_a_sleep_ends_with_the_outbox() -> None:
    slept: list[bool] = []
    asleep = threading.Event()

    def deliver(sleep: Callable[[float], bool]) -> None:
        asleep.set()
        slept.append(sleep(60))

    outbox: Outbox[Callable[[float], bool]] = Outbox(deliver, name="test", size=1, when_full="wait")
    outbox.put(outbox.sleep)
    assert asleep.wait(60)
    assert outbox.close()
    assert slept == [True]
