"""A bounded queue with a thread behind it: for sinks that may have to wait for somebody else.

Owns the thread, the bound, what is given up when the queue is full, and the count of it. Refuses to know what
is delivered; an item that cannot be delivered is the deliverer's affair.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

__all__ = ["Outbox"]

Item = TypeVar("Item")

_LOOK_EVERY_S = 0.05


class Outbox(Generic[Item]):
    """Takes items from one thread, and delivers them in order on another.

    Args:
        deliver: Is called with each item, on the outbox's own thread, also after `close` has begun. What it
            raises ends the outbox, and is raised again by the next `put` or by `close`.
        name: Of the thread.
        size: Most items that wait.
        when_full: ``wait`` makes `put` wait; ``drop_new`` and ``drop_oldest`` give up an item and count it.

    Examples:
        >>> taken = []
        >>> outbox = Outbox(taken.append, name="example", size=4, when_full="wait")
        >>> for item in range(9):
        ...     outbox.put(item)
        >>> outbox.close(), taken
        (True, [0, 1, 2, 3, 4, 5, 6, 7, 8])
    """

    def __init__(
        self,
        deliver: Callable[[Item], object],
        *,
        name: str,
        size: int,
        when_full: Literal["wait", "drop_new", "drop_oldest"],
    ) -> None:
        self._deliver = deliver
        self._size = size
        self._when_full = when_full
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closing = self._delivering = False
        self._failure: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"edgeyolo-{name}", daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        """Whether `close` was called: a deliverer has no time any more."""
        return self._closing

    def drain(self, hurry: Callable[[], bool], patience_s: float) -> None:
        """Wait until all is delivered, until `hurry` says so, or for `patience_s` seconds at most."""
        ends_s = time.monotonic() + patience_s
        with self._changed:
            while (self._items or self._delivering) and not hurry() and time.monotonic() < ends_s:
                self._changed.wait(_LOOK_EVERY_S)

    def sleep(self, seconds: float) -> bool:
        """Wait on the outbox's thread, until `close` is called at most; give whether it was."""
        ends_s = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left := ends_s - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._closing

    def put(self, item: Item) -> None:
        """Take an item; what happens when the queue is full was decided when it was made.

        Raises:
            BaseException: What `deliver` raised.
        """
        with self._changed:
            self._raise_failure()
            if len(self._items) >= self._size:
                if self._when_full == "drop_new":
                    self.dropped += 1
                    return
                if self._when_full == "drop_oldest":
                    self.dropped += 1
                    self._items.popleft()
                while len(self._items) >= self._size:
                    self._changed.wait()
                    self._raise_failure()
            self._items.append(item)
            self._changed.notify_all()

    def close(self, timeout_s: float | None = None) -> bool:
        """Deliver what waits and end the thread; twice is harmless.

        Args:
            timeout_s: Wait at most so long; what is not delivered by then is counted as dropped.

        Returns:
            Whether all was delivered.

        Raises:
            BaseException: What `deliver` raised, unless `put` raised it before.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self.dropped += len(self._items)
            self._items.clear()
            self._raise_failure()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._items and not self._closing:
                    self._changed.wait()
                if not self._items:
                    return
                item, self._delivering = self._items.popleft(), True
                self._changed.notify_all()
            try:
                self._deliver(item)
            except BaseException as exc:  # noqa: BLE001 - carried to the thread that fills the outbox
                with self._changed:
                    self._failure, self._delivering = exc, False
                    self._items.clear()
                    self._changed.notify_all()
                return
            with self._changed:
                self._delivering = False
                self._changed.notify_all()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
