"""A camera's own web server: MJPEG and HLS over HTTP, with or without a password, and one that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

__all__ = ["WebCamera", "picture", "serve_folder", "web_camera"]

FPS = 25


def picture(number: int, *, size_wh: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Left half blue, right half red, and a grey bar that moves: what is lost or flipped can be seen."""
    width, height = size_wh
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (200, 40, 40)
    image[:, width // 2 :] = (40, 40, 200)
    image[: height // 4] = number * 8 % 256
    return image


@dataclass
class WebCamera:
    """What is served; a test changes it while it runs.

    ``/video`` is MJPEG, ``/silent`` answers and sends nothing, ``/page`` is a text.
    """

    login: str | None = None
    digest: bool = False
    frames: int | None = None
    requests: list[str] = field(default_factory=list)
    paused: threading.Event = field(default_factory=threading.Event)
    silent_at_the_end: bool = False
    port: int = 0


@dataclass(frozen=True)
class Login:
    """User and password, asked for as RFC 7617 (Basic) or RFC 7616 (Digest with MD5) has it."""

    text: str
    digest: bool = False
    nonce: str = "dcd98b7102dd2f0e8b11d0f600bfb0c093"

    @property
    def challenge(self) -> str:
        if self.digest:
            return f'Digest realm="camera", nonce="{self.nonce}", qop="auth", algorithm=MD5'
        return 'Basic realm="camera"'

    def lets_in(self, given: str, path: str) -> bool:
        if not self.digest:
            return given == "Basic " + base64.b64encode(self.text.encode()).decode()
        user, _, password = self.text.partition(":")
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
        who, what = md5(f"{user}:camera:{password}"), md5(f"GET:{path}")
        keys = ("nonce", "nc", "cnonce", "qop")
        return said.get("response") == md5(":".join([who, *(said.get(key, "") for key in keys), what]))


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def refuse(handler: BaseHTTPRequestHandler, login: Login) -> None:
    handler.send_response(401)
    handler.send_header("WWW-Authenticate", login.challenge)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, camera: WebCamera, *args: Any) -> None:
        self.camera = camera
        super().__init__(*args)

    def do_GET(self) -> None:
        self.camera.requests.append(self.path)
        login = self.camera.login and Login(self.camera.login, digest=self.camera.digest)
        if login and not login.lets_in(self.headers.get("Authorization", ""), self.path):
            refuse(self, login)
        elif self.path.startswith("/page"):
            self._begin("text/html")
            self.wfile.write(b"<html><body>log in here</body></html>" * 50)
        elif self.path.startswith("/silent"):
            self._begin("multipart/x-mixed-replace; boundary=frame")
            self.wfile.flush()
            self.camera.paused.wait(60)
        elif self.path.startswith("/video"):
            self._begin("multipart/x-mixed-replace; boundary=frame")
            self._stream()
        else:
            self.send_error(404)

    def _begin(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def _stream(self) -> None:
        for number in itertools.count() if self.camera.frames is None else range(self.camera.frames):
            data = cv2.imencode(".jpg", picture(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            self.camera.paused.wait(1 / FPS)
        if self.camera.silent_at_the_end:
            self.camera.paused.wait(60)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web_camera(*, certificate: Path | None = None, **kwargs: Any) -> Iterator[WebCamera]:
    """Serve a camera on loopback, over TLS where it has a certificate."""
    camera = WebCamera(**kwargs)
    with _serving(partial(_Handler, camera), certificate) as camera.port:
        yield camera
        camera.paused.set()


@contextmanager
def serve_folder(folder: Path, *, login: str | None = None) -> Iterator[int]:
    """Serve files on loopback, as an HLS server does; gives the port."""

    class Quiet(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if login is None or Login(login).lets_in(self.headers.get("Authorization", ""), self.path):
                super().do_GET()
            else:
                refuse(self, Login(login))

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with _serving(partial(Quiet, directory=str(folder))) as port:
        yield port


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that went away."""


@contextmanager
def _serving(handler: Any, certificate: Path | None = None) -> Iterator[int]:
    server = _QuietServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
