"""The server's thread: uvicorn with an event loop of its own, beside the frame loop.

Owns the thread, its start and its end. Refuses to know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable

from edgeyolo.errors import OutputError
from edgeyolo.optional import require
from edgeyolo.show.web.connection import HEAD_BYTES, connection_class
from edgeyolo.show.web.messages import App

__all__ = ["WebServer"]

_START_S = 30.0
_END_S = 0.7


class WebServer:
    """Serves an application until it is closed.

    Args:
        app: The application.
        listener: A listening socket; is closed with the server.
        connections: At a time.
        unread_s: Seconds that an answer may wait for a reader who takes nothing.
    """

    def __init__(
        self, app: App, listener: socket.socket, *, connections: int, unread_s: float = 10.0
    ) -> None:
        uvicorn = require("uvicorn", why="for --web")
        # A stranger's malformed request is no news of ours, and a request may hold a token: no log of them.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._config = uvicorn.Config(
            app,
            loop="asyncio",
            http=connection_class(most=connections, unread_s=unread_s),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._serve, name="edgeyolo-web", daemon=True)

    def start(self, beside: Callable[[], Awaitable[None]]) -> None:
        """Start the thread, and `beside` in its event loop; return when requests are answered.

        Raises:
            OutputError: It did not start.
        """
        self._beside = beside
        self._thread.start()
        if not self._started.wait(_START_S) or self._loop is None:
            raise OutputError("--web: the server did not start")

    def call(self, function: Callable[[], None]) -> None:
        """Run a function in the event loop, soon; after the end nothing is run."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """End within about a second, whoever is still connected; twice is harmless."""
        self._server.should_exit = True
        self._thread.join(_END_S)
        self.call(self._cut)
        self._thread.join()

    def _cut(self) -> None:
        self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        beside = asyncio.ensure_future(self._beside())
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.005)
        self._started.set()
        try:
            await serving
        finally:
            beside.cancel()
