"""The web page as a sink: pictures and results in, a page for browsers and programs out.

Owns the parts and their order of birth and death. Refuses to do any of their work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.frames import Result
from edgeyolo.live import Control
from edgeyolo.optional import require
from edgeyolo.show.web.access import Access, find_token
from edgeyolo.show.web.address import Names, bind, is_loopback, parse_address, reachable_urls
from edgeyolo.show.web.board import TICK_S, Board
from edgeyolo.show.web.feed import Feed
from edgeyolo.show.web.guard import Guard
from edgeyolo.show.web.metrics import Metrics
from edgeyolo.show.web.pictures import Pictures
from edgeyolo.show.web.routes import Routes, asset
from edgeyolo.show.web.server import WebServer
from edgeyolo.show.web.zones import ZoneDesk

__all__ = ["WebConfig", "WebSink"]

_log = logging.getLogger(__name__)
_SHORT_REQUESTS = 32


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Where and for whom the page is.

    Args:
        address: ``HOST:PORT``, or a port of this machine.
        token_file: Its first line must be shown by who comes; the environment's ``EDGEYOLO_WEB_TOKEN`` by
            default. Without one, a page for other machines makes its own.
        hosts: Further names that the page may be asked by, such as that of a reverse proxy.
        clients: Streams at a time; a page in a browser takes two.
        fps: Pictures a second and camera, at most.
        unread_s: Seconds until who reads nothing is disconnected.
    """

    address: str
    token_file: Path | None = None
    hosts: Sequence[str] = ()
    clients: int = 128
    fps: float = 15.0
    unread_s: float = 10.0

    def __post_init__(self) -> None:
        parse_address(self.address)
        Names(self.hosts)
        if self.clients < 1:
            raise ConfigError(f"--web-clients: 1 or more expected, {self.clients} found")
        if not 0 < self.fps <= 120:
            raise ConfigError(f"--web-fps: above 0 and up to 120 expected, {self.fps:g} found")


class WebSink:
    """A `edgeyolo.frames.Sink` that serves the page from its own threads; answers when it is made.

    Args:
        config: Where and for whom.
        names: Class names; the index is the class id.
        control: The run.
        zones: Rules of events, to be drawn on the page.

    Raises:
        ConfigError: The address is in use or wrong, or the token cannot be used.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    def __init__(
        self,
        config: WebConfig,
        names: Sequence[str],
        control: Control,
        *,
        zones: ZoneDesk | None = None,
    ) -> None:
        require("uvicorn", why="for --web")
        token = find_token(config.token_file)
        listener = bind(parse_address(config.address))
        names = tuple(names)
        feed = self._feed = Feed()
        self._board = Board(names, control.status, feed)
        self._metrics = Metrics(names, control.status, self._served)
        self._pictures = Pictures(fps=config.fps, publish_in=lambda function: self._server.call(function))
        self.port: int = listener.getsockname()[1]
        access, self._printed_token = Access(token, port=self.port), ""
        if token is None and not is_loopback(listener):
            access, self._printed_token = Access.with_new_token(port=self.port)
        self.urls = reachable_urls(listener)
        self._routes = Routes(
            names=names,
            control=control,
            pictures=self._pictures,
            feed=feed,
            board=self._board,
            metrics=self._metrics,
            zones=zones or ZoneDesk(cameras=[source.camera for source in control.status().sources]),
            most_streams=config.clients,
        )
        guarded = Guard(self._routes, access, Names(config.hosts), sign_in_page=asset("sign-in.html"))
        connections = config.clients + _SHORT_REQUESTS
        self._server = WebServer(guarded, listener, connections=connections, unread_s=config.unread_s)
        self._server.start(self._tick)

    def invitation(self) -> str:
        """Give the addresses to open, for the user's eyes: a token that was made here is shown, once."""
        token, self._printed_token = self._printed_token, ""
        shown = f"/?token={token}" if token else "/"
        return "\n".join(f"web page: {url}{shown}" for url in self.urls)

    @property
    def wants_picture(self) -> bool:
        """Whether anyone watches."""
        return self._pictures.wanted

    def write(self, result: Result) -> None:
        """Take one result; waits for nobody."""
        self._metrics.observe(result)
        self._board.note(result)
        if result.picture_bgr is not None:
            frame = result.frame
            unix_s = time.time() - (time.monotonic() - frame.captured_at_s)
            self._pictures.offer(frame.camera, frame.index, unix_s, result.picture_bgr)

    def close(self) -> None:
        """End all streams and threads, within a second or so; twice is harmless."""
        self._server.call(self._feed.close)
        self._server.call(self._pictures.close_viewers)
        self._server.close()
        self._pictures.close()

    async def _tick(self) -> None:
        while True:
            try:
                self._board.tick()
            except Exception:  # noqa: BLE001 - whatever one moment holds, the page goes on at the next
                _log.exception("the web page could not tell what is new")
            await asyncio.sleep(TICK_S)

    def _served(self) -> tuple[int, Counter[str]]:
        return self._routes.streams, self._pictures.encoded
