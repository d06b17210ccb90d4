"""Requests and responses: the little of ASGI that a page with a dozen addresses needs.

Owns the reading of a request, its size and time limits, and the form of answers and errors. Refuses to know
what is asked (``routes``) and by whom (``guard``). The server below (uvicorn) parses HTTP.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

__all__ = [
    "App",
    "HttpError",
    "Receive",
    "Request",
    "Response",
    "Scope",
    "Send",
    "disconnected",
    "json_response",
    "read_body",
    "read_json",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_S = 10.0
_QUERY_FIELDS = 64


class HttpError(Exception):
    """A request that is refused: raised anywhere below a handler, answered as JSON.

    Args:
        status: The HTTP status.
        message: What is wrong, for the one who asked; never with a token in it.
        hint: What to do.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Give the answer."""
        said = {"error": self.message} if self.hint is None else {"error": self.message, "hint": self.hint}
        return json_response(said, status=self.status, headers=self.headers)


@dataclass(frozen=True)
class Request:
    """A request whose head is complete.

    Args:
        scope: As ASGI gives it.
        receive: As ASGI gives it: the body, or that the other side has gone.
    """

    scope: Scope
    receive: Receive
    headers: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        headers: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            # Several Host or Origin headers are one that matches nothing.
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        object.__setattr__(self, "headers", headers)

    @property
    def method(self) -> str:
        """``GET``, ``POST``, ..."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """Decoded path, without the query."""
        return str(self.scope["path"])

    @property
    def client(self) -> str:
        """Address of the other side, without its port."""
        return str((self.scope.get("client") or ("",))[0])

    def query(self) -> list[tuple[str, str]]:
        """Give the fields of the query in their order.

        Raises:
            HttpError: Too many fields.
        """
        try:
            text = self.scope["query_string"].decode("latin-1")
            return parse_qsl(text, keep_blank_values=True, max_num_fields=_QUERY_FIELDS)
        except ValueError:
            raise HttpError(400, f"the address has more than {_QUERY_FIELDS} fields") from None


@dataclass(frozen=True, kw_only=True)
class Response:
    """A whole answer.

    Args:
        body: Its bytes.
        content_type: Its type.
        status: The HTTP status.
        headers: Further headers.
    """

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send_to(self, send: Send) -> None:
        """Send it."""
        headers = {"content-type": self.content_type, "content-length": str(len(self.body)), **self.headers}
        if self.status >= 400:
            # A body that was not read would otherwise keep the connection, for as long as its sender likes.
            headers["connection"] = "close"
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": self.body})


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a JSON answer.

    Examples:
        >>> json_response({"conf": 0.25}).body
        b'{"conf":0.25}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(
        body=text.encode("utf-8", "backslashreplace"),
        content_type="application/json; charset=utf-8",
        status=status,
        headers=dict(headers or {}),
    )


async def read_body(request: Request, *, limit: int) -> bytes:
    """Read a body of `limit` bytes at most, within ten seconds.

    Raises:
        HttpError: It is larger, slower, or its sender went away.
    """
    too_large = HttpError(413, f"a body of {limit} bytes at most expected")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    body = bytearray()

    async def read() -> None:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise HttpError(400, "the body ended early")
            body.extend(message.get("body", b""))
            if len(body) > limit:
                raise too_large
            more = message.get("more_body", False)

    try:
        await asyncio.wait_for(read(), _BODY_S)
    except asyncio.TimeoutError:
        raise HttpError(408, f"the body did not come within {_BODY_S:g} s") from None
    return bytes(body)


async def read_json(request: Request, *, limit: int = 1 << 16) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        HttpError: Another content type (which a form of another site could send), or no JSON object.
    """
    found = request.headers.get("content-type", "none").split(";")[0].strip().lower()
    if found != "application/json":
        raise HttpError(415, f"content type application/json expected, {found} found")
    try:
        value = json.loads(await read_body(request, limit=limit))
    except (ValueError, RecursionError):
        raise HttpError(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise HttpError(400, f"a JSON object expected, {type(value).__name__} found")
    return value


async def disconnected(receive: Receive) -> None:
    """Wait until the other side has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
