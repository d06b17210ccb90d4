"""The addresses of the page: what is asked, and by which part it is answered.

Owns the table of addresses, their JSON, and what each takes. Who may ask has been checked (``guard``).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from edgeyolo.errors import EdgeYoloError
from edgeyolo.live import Control, SourceStatus
from edgeyolo.show.web.board import Board, status_values
from edgeyolo.show.web.feed import Feed, Listener
from edgeyolo.show.web.messages import (
    HttpError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    read_json,
)
from edgeyolo.show.web.metrics import Metrics
from edgeyolo.show.web.pictures import FULL_WIDTH, Pictures, Viewer
from edgeyolo.show.web.streams import FRAMED, MJPEG, StreamForm, send_pictures, send_stream
from edgeyolo.show.web.zones import ZoneDesk

__all__ = ["Routes", "asset"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_STILL_S = 3.0
_ZONES_BYTES = 256 << 10
_MOST_WIDTH = 7680
_HEALTHY = frozenset({"live", "ended"})

Handler = Callable[[Request], Awaitable[Response]]


@cache
def asset(name: str) -> bytes:
    """Read a file of the page from the package."""
    return resources.files("edgeyolo.show.web").joinpath("assets").joinpath(name).read_bytes()


@cache
def _asset_names() -> frozenset[str]:
    return frozenset(file.name for file in resources.files("edgeyolo.show.web").joinpath("assets").iterdir())


@dataclass(frozen=True, kw_only=True)
class Routes:
    """An ASGI application.

    Args:
        names: Class names; the index is the class id.
        control: The run.
        pictures: What the cameras see.
        feed: What happens.
        board: What has happened.
        metrics: Numbers for Prometheus.
        zones: Rules of events, drawn on the page.
        most_streams: Answers that do not end, at a time.
    """

    names: tuple[str, ...]
    control: Control
    pictures: Pictures
    feed: Feed
    board: Board
    metrics: Metrics
    zones: ZoneDesk
    most_streams: int

    @property
    def streams(self) -> int:
        """How many answers that do not end there are."""
        return self.pictures.viewers + self.feed.listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.path.startswith("/stream/"):
            camera = request.path.removeprefix("/stream/")
            width = dict(request.query()).get("width", "")
            await self._send_pictures(request, {camera: _width(width) if width else FULL_WIDTH}, MJPEG, send)
        elif request.path == "/frames":
            await self._send_pictures(request, _wished(request), FRAMED, send)
        elif request.path == "/events":
            await self._send_events(request, send)
        else:
            await (await self._answer(request)).send_to(send)

    async def _answer(self, request: Request) -> Response:
        methods = self._table().get(request.path)
        if methods is None and request.path.startswith("/snapshot/"):
            methods = {"GET": self._snapshot}
        if methods is None and request.path.startswith("/assets/"):
            methods = {"GET": self._asset}
        if methods is None:
            raise HttpError(404, f"nothing is at {request.path}")
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            allowed = ", ".join(sorted(methods))
            raise HttpError(405, f"{allowed} expected, {request.method} found", headers={"allow": allowed})
        try:
            return await methods[method](request)
        except EdgeYoloError as exc:
            raise HttpError(400, exc.message, hint=exc.hint) from exc

    def _table(self) -> Mapping[str, Mapping[str, Handler]]:
        return {
            "/": {"GET": self._page},
            "/favicon.ico": {"GET": self._icon},
            "/healthz": {"GET": self._health},
            "/metrics": {"GET": self._metrics},
            "/api/status": {"GET": self._status},
            "/api/history": {"GET": self._history},
            "/api/detections": {"GET": self._detections},
            "/api/conf": {"GET": self._conf, "POST": self._set_conf},
            "/api/classes": {"GET": self._classes, "POST": self._set_classes},
            "/api/zones": {"GET": self._zones, "POST": self._save_zones},
            "/api/zones/check": {"POST": self._check_zones},
        }

    # --- the page and its files ------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        return _asset_response(request, "index.html")

    async def _icon(self, request: Request) -> Response:
        return _asset_response(request, "icon.svg")

    async def _asset(self, request: Request) -> Response:
        return _asset_response(request, request.path.removeprefix("/assets/"))

    # --- the run ---------------------------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        ill = [s for s in self.control.status().sources if s.state not in _HEALTHY]
        said: dict[str, Any] = {"status": "failing" if ill else "ok"}
        if ill and request.scope.get("reasons", True):
            said["cameras"] = {s.camera: f"{s.state}: {s.reason}" if s.reason else s.state for s in ill}
        return json_response(said, status=503 if ill else 200)

    async def _metrics(self, request: Request) -> Response:
        text, content_type = self.metrics.render(request.headers.get("accept", ""))
        return Response(body=text, content_type=content_type)

    async def _status(self, request: Request) -> Response:
        return json_response({**status_values(self.control.status()), "streams": self.streams})

    async def _history(self, request: Request) -> Response:
        return json_response(self.board.history())

    async def _detections(self, request: Request) -> Response:
        return json_response(self.board.detections())

    async def _conf(self, request: Request) -> Response:
        return json_response({"conf": self.control.status().conf})

    async def _set_conf(self, request: Request) -> Response:
        value = (await read_json(request)).get("conf")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise HttpError(400, f'{{"conf": 0.25}} expected, {value!r} found')
        self.control.set_conf(float(value))
        return await self._conf(request)

    async def _classes(self, request: Request) -> Response:
        chosen = self.control.status().class_ids
        return json_response({"names": list(self.names), "class_ids": chosen and list(chosen)})

    async def _set_classes(self, request: Request) -> Response:
        value = (await read_json(request)).get("classes", "nothing")
        if value is not None and not (
            isinstance(value, list)
            and all(isinstance(v, str | int) and not isinstance(v, bool) for v in value)
        ):
            raise HttpError(400, '{"classes": ["name", 3]} or {"classes": null} for all expected')
        self.control.set_classes(value)
        return await self._classes(request)

    # --- zones and lines -------------------------------------------------------------------------------

    async def _zones(self, request: Request) -> Response:
        return json_response(self.zones.values())

    async def _check_zones(self, request: Request) -> Response:
        return json_response(self.zones.check(await read_json(request, limit=_ZONES_BYTES)))

    async def _save_zones(self, request: Request) -> Response:
        return json_response(self.zones.save(await read_json(request, limit=_ZONES_BYTES)))

    # --- pictures and events ---------------------------------------------------------------------------

    async def _snapshot(self, request: Request) -> Response:
        camera = request.path.removeprefix("/snapshot/").removesuffix(".jpg")
        source = self._source(camera)
        try:
            jpeg = await self.pictures.still(camera, timeout_s=_STILL_S)
        except asyncio.TimeoutError:
            why = f": {source.reason}" if source.reason else ""
            raise HttpError(
                503, f"camera {camera} gave no picture within {_STILL_S:g} s; it is {source.state}{why}"
            ) from None
        moment = time.strftime("%Y%m%d-%H%M%S")
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in camera)
        headers = {"content-disposition": f'inline; filename="camera-{name}-{moment}.jpg"'}
        return Response(body=jpeg, content_type="image/jpeg", headers=headers)

    async def _send_pictures(
        self, request: Request, widths: Mapping[str, int], form: StreamForm, send: Send
    ) -> None:
        _only_get(request)
        for camera in widths:
            self._source(camera)
        self._check_room()
        await send_pictures(self.pictures, Viewer(widths), form, request.receive, send)

    async def _send_events(self, request: Request, send: Send) -> None:
        _only_get(request)
        self._check_room()
        last_id = dict(request.query()).get("after") or request.headers.get("last-event-id", "")
        listener = Listener(last_id[:32])
        messages = self.feed.messages(listener)
        await send_stream(messages, "text/event-stream", request.receive, send, on_gone=listener.close)

    def _source(self, camera: str) -> SourceStatus:
        sources = {source.camera: source for source in self.control.status().sources}
        if camera not in sources:
            raise HttpError(404, f"no camera {camera}", hint=f"there is {', '.join(sources) or 'none yet'}")
        return sources[camera]

    def _check_room(self) -> None:
        if self.streams >= self.most_streams:
            raise HttpError(
                503,
                f"{self.most_streams} streams are open, and no more are allowed",
                hint="edgeyolo run --web-clients N",
                headers={"retry-after": "5"},
            )


def _asset_response(request: Request, name: str) -> Response:
    if name not in _asset_names():
        raise HttpError(404, f"nothing is at {request.path}")
    body = asset(name)
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status=304, headers=headers)
    return Response(body=body, content_type=_TYPES[PurePosixPath(name).suffix], headers=headers)


def _wished(request: Request) -> dict[str, int]:
    """Read ``?0=640&door=320``: cameras and the widths that are enough."""
    wished = {camera: _width(width) for camera, width in request.query()}
    if not wished:
        raise HttpError(400, "cameras and widths expected, such as /frames?0=640")
    return wished


def _width(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 5 and 1 <= int(text) <= _MOST_WIDTH):
        raise HttpError(400, f"a width of 1 to {_MOST_WIDTH} pixels expected, {text!r} found")
    return int(text)


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise HttpError(405, f"GET expected, {request.method} found", headers={"allow": "GET"})
