"""One connection: how long it may take to ask and to read, and how much may wait for it.

Owns the limits that the server (uvicorn) does not have: a head that comes too slowly, an answer that is not
read, too many connections. Refuses to know what is asked.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from edgeyolo.optional import require

if TYPE_CHECKING:

    class _Base(asyncio.Protocol):
        """What is used of uvicorn's connection."""

        connections: set[asyncio.Protocol]
        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        cycle: Any

        def on_response_complete(self) -> None: ...
else:
    _Base = object

__all__ = ["HEAD_BYTES", "connection_class"]

HEAD_BYTES = 16 << 10
_HEAD_S = 10.0
# Bytes that the kernel may hold unsent: more are only older pictures. Source: tcp(7), TCP_NOTSENT_LOWAT.
_UNSENT_BYTES = 32 << 10


def connection_class(*, most: int, unread_s: float) -> type[asyncio.Protocol]:
    """Make uvicorn's connection with our limits.

    Args:
        most: Connections at a time; one more is closed at once.
        unread_s: Seconds that an answer may wait for a reader who takes nothing.
    """
    base = require("uvicorn.protocols.http.h11_impl", why="for --web").H11Protocol
    return type("Connection", (_Watched, base), {"most": most, "unread_s": unread_s})


class _Watched(_Base):
    most: int
    unread_s: float
    _head_watch: asyncio.TimerHandle | None = None
    _read_watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        # Nothing waits here: what the kernel does not take makes the sender wait.
        transport.set_write_buffer_limits(high=0)
        peer: Any = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for watch in (self._head_watch, self._read_watch):
            if watch is not None:
                watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._read_watch is None:
            self._read_watch = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_watch is not None:
            self._read_watch.cancel()
            self._read_watch = None

    def _watch_head(self) -> None:
        if self._head_watch is not None:
            self._head_watch.cancel()
        self._head_watch = self.loop.call_later(_HEAD_S, self._end_slow_head)

    def _end_slow_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
