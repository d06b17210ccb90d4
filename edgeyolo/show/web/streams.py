"""Answers that do not end: pictures as they come, for one camera or for a whole page.

``/stream/ID`` is MJPEG (``multipart/x-mixed-replace``), which browsers, VLC, FFmpeg and Home Assistant take.
``/frames`` carries any number of cameras over one connection, because a browser opens no more than six to a
host (RFC 2616 said two): per picture 4 bytes length of the head, 4 bytes length of the JPEG, both big-endian,
the head as JSON, the JPEG.

Owns the two forms and the end of a stream. The newest picture is chosen when the connection has taken the
one before; how long a connection may take is ``connection``'s.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from edgeyolo.show.web.messages import Receive, Send, disconnected
from edgeyolo.show.web.pictures import Encoded, Pictures, Viewer

__all__ = ["FRAMED", "MJPEG", "StreamForm", "send_pictures", "send_stream"]

_BOUNDARY = "edgeyolo-frame"


@dataclass(frozen=True)
class StreamForm:
    """How pictures follow each other in a body.

    Args:
        content_type: The body's type.
        start: What comes before the first.
        part: Gives one picture's bytes.
    """

    content_type: str
    start: bytes
    part: Callable[[Encoded], bytes]


def _mjpeg_part(encoded: Encoded) -> bytes:
    # The boundary that ends it comes with it: a browser shows a part when it sees its end, not its length.
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(encoded.jpeg)}\r\n\r\n"
    return head.encode() + encoded.jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()


def _framed_part(encoded: Encoded) -> bytes:
    said = {"camera": encoded.camera, "frame": encoded.frame, "unix_s": round(encoded.unix_s, 3)}
    head = json.dumps(said).encode()
    return struct.pack(">II", len(head), len(encoded.jpeg)) + head + encoded.jpeg


MJPEG = StreamForm(
    f"multipart/x-mixed-replace; boundary={_BOUNDARY}", f"--{_BOUNDARY}\r\n".encode(), _mjpeg_part
)
FRAMED = StreamForm("application/x-edgeyolo-frames", b"", _framed_part)


async def send_pictures(
    pictures: Pictures, viewer: Viewer, form: StreamForm, receive: Receive, send: Send
) -> None:
    """Send what a viewer watches until one side ends it."""
    pictures.add(viewer)
    try:
        parts = _parts(viewer, form)
        await send_stream(parts, form.content_type, receive, send, on_gone=viewer.close)
    finally:
        pictures.remove(viewer)


async def _parts(viewer: Viewer, form: StreamForm) -> AsyncGenerator[bytes, None]:
    yield form.start
    while taken := await viewer.take():
        for encoded in taken:
            yield encoded.once(form.part)


async def send_stream(
    parts: AsyncGenerator[bytes, None],
    content_type: str,
    receive: Receive,
    send: Send,
    *,
    on_gone: Callable[[], None],
) -> None:
    """Send parts as they come, the next one when the connection has taken the last.

    Args:
        parts: What is sent; it ends soon after `on_gone`.
        content_type: Its type.
        receive: Tells when the other side has gone.
        send: Takes the parts.
        on_gone: Called then.
    """

    async def watch() -> None:
        await disconnected(receive)
        on_gone()

    watching = asyncio.ensure_future(watch())
    try:
        # The last is for nginx, which would collect an answer before it passes it on.
        headers = [
            (b"content-type", content_type.encode()),
            (b"connection", b"close"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(parts):
            async for data in parts:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                # An empty part is not sent: it waits until the last one is, and then the newest is taken.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        watching.cancel()
