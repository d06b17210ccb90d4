"""What the page is told as it happens: server-sent events, made once for everyone who listens.

Owns the order and the memory of the messages. A message with a key replaces the one before it (a status, a
camera's boxes), one without is kept among the last few (an event at a zone); a listener is told what is newer
than what it has, however slow it is, and after a lost connection (``Last-Event-ID``) what it missed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from typing import Literal

__all__ = ["Feed", "Listener"]

_KEPT = 200
_SILENCE_S = 15.0

Kind = Literal["status", "result", "event"]


class Feed:
    """Messages and their listeners; lives in the event loop."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)  # numbers of an earlier run say nothing of this one
        self._number = 0
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._listeners: set[Listener] = set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def put(self, kind: Kind, value: object, *, key: str | None = None) -> None:
        """Say something to everyone.

        Args:
            kind: The name of the server-sent event.
            value: What becomes its JSON.
            key: Replaces what was said with the same key; None replaces nothing.
        """
        self._number += 1
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Only the kept have a number for the listener: a newest is said again anyway.
        number = f"id: {self._run}-{self._number}\n" if key is None else ""
        message = f"{number}event: {kind}\ndata: {text}\n\n".encode("utf-8", "backslashreplace")
        if key is None:
            self._kept.append((self._number, message))
        else:
            self._newest[key] = (self._number, message)
        for listener in self._listeners:
            listener.wake()

    def close(self) -> None:
        """End every listener's stream; twice is harmless."""
        for listener in self._listeners:
            listener.close()

    async def messages(self, listener: Listener) -> AsyncGenerator[bytes, None]:
        """Give what this listener does not have, then what comes, until it is closed."""
        self._listeners.add(listener)
        kept, newest = self._number_of(listener.last_id), 0
        try:
            yield b"retry: 1000\n\n"
            while True:
                fresh = [m for m in self._kept if m[0] > kept]
                fresh += [m for m in self._newest.values() if m[0] > newest]
                kept = newest = self._number
                if fresh:
                    yield b"".join(message for _, message in sorted(fresh))
                elif not await listener.news(_SILENCE_S):
                    yield b": still here\n\n"
                if listener.closed:
                    return
        finally:
            self._listeners.discard(listener)

    def _number_of(self, last_id: str) -> int:
        run, _, number = last_id.partition("-")
        return int(number) if run == self._run and number.isascii() and number.isdigit() else 0


class Listener:
    """Someone who listens to a `Feed`.

    Args:
        last_id: The ``id`` of the last kept message that it has; empty is none.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.closed = False
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Tell that there is something new."""
        self._news.set()

    def close(self) -> None:
        """End its stream; twice is harmless."""
        self.closed = True
        self._news.set()

    async def news(self, timeout_s: float) -> bool:
        """Wait for something new; whether there is."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except asyncio.TimeoutError:
            return False
        self._news.clear()
        return True
