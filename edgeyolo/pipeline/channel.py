"""A bounded queue between two threads that can end, and that can be halted from outside.

Owns blocking and waking. ``queue.Queue`` has no end and no halt in Python 3.10: a thread that waits in it
when another one fails would wait forever.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Channel", "Ended", "Halted"]

T = TypeVar("T")


class Ended(Exception):  # noqa: N818 - not an error: the sender has said that nothing more comes
    """Nothing more comes."""


class Halted(Exception):  # noqa: N818 - not an error: somebody else has one
    """The loop is being stopped; whoever sees this just leaves."""


class Channel(Generic[T]):
    """A first-in first-out queue of at most `capacity` items; a full one blocks its sender.

    Args:
        capacity: Items that may wait.

    Examples:
        >>> channel = Channel(2)
        >>> channel.put(1); channel.end()
        >>> channel.get()
        1
        >>> channel.get()
        Traceback (most recent call last):
        ...
        edgeyolo.pipeline.channel.Ended
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._ended = False
        self._halted = False

    def put(self, item: T) -> None:
        """Append an item, waiting for room.

        Raises:
            Halted: The channel was halted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._halted or len(self._items) < self._capacity)
            if self._halted:
                raise Halted
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest item, waiting for one.

        Args:
            timeout_s: Longest wait, seconds; forever by default.

        Raises:
            Ended: The sender has ended it, and all its items have been taken.
            Halted: The channel was halted; items still in it are lost.
            TimeoutError: None came in time.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self._halted or self._ended or self._items, timeout_s)
            if self._halted:
                raise Halted
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if not came:
                raise TimeoutError
            raise Ended

    def drain(self) -> list[T]:
        """Take all that is left, halted or not, without waiting."""
        with self._changed:
            left = list(self._items)
            self._items.clear()
            return left

    def end(self) -> None:
        """Say that nothing more comes; what is in the channel can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def halt(self) -> None:
        """Wake everybody who waits, and make every later call raise `Halted`."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()
