"""Webhooks against a real HTTP server that works, fails, hangs, redirects, goes away and comes back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.errors import ConfigError
from edgeyolo.show import WebhookSink, webhook, webhook_address
from tests.show.results import NAMES, event, result, two_boxes


class Receiver:
    """An HTTP server; `answers` gives the status of each request in turn, 200 after the last."""

    def __init__(self, port: int = 0, *answers: int, tls: ssl.SSLContext | None = None) -> None:
        self.got: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        self.answers = list(answers)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _handler(receiver) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805 - two selfs in here
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put((self.path, dict(self.headers.items()), body))
                receiver.may_answer.wait(60)
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        return Handler

    def next(self) -> tuple[str, dict[str, str], bytes]:
        return self.got.get(timeout=60)

    def next_frame(self) -> int:
        return int(json.loads(self.next()[2])["frame"])

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(webhook, "_LONGEST_RETRY_S", 0.05)


def sink_for(receiver: Receiver, target: str = "/hook", **more: Any) -> WebhookSink:
    return WebhookSink(webhook_address(f"http://127.0.0.1:{receiver.port}{target}"), NAMES, **more)


def write_events(sink: WebhookSink, *frames: int) -> None:
    for frame in frames:
        sink.write(result(frame, events=(event(frame),)))


def wait_until(true: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_each_event_is_one_post_and_nothing_else_is(receiver: Receiver) -> None:
    sink = sink_for(receiver, "/a/b%20c?key=1")
    sink.write(result(1))
    sink.write(result(2, events=(event(2), event(2, kind="dwell", seconds=4.0))))
    sink.close()
    sink.close()
    (path, headers, first), (_, others, second) = receiver.next(), receiver.next()
    assert receiver.got.empty()
    assert path == "/a/b%20c?key=1"
    assert headers["Content-Type"] == "application/json"
    assert "X-EdgeYOLO-Signature" not in headers
    assert headers["X-EdgeYOLO-Delivery"] != others["X-EdgeYOLO-Delivery"]
    assert json.loads(first) == {
        "kind": "enter", "where": "door", "camera": "0", "frame": 2, "time_s": 0.08, "unix_s": 1764000000.5,
        "track_id": 12, "class_id": 1, "label": "café", "score": 0.87654, "box": [1.0, 2.0, 3.0, 4.0],
        "source": "clip.mp4",
    }  # fmt: skip
    assert json.loads(second)["seconds"] == 4.0
    assert sink.dropped == 0


def test_a_signature_a_login_and_a_picture(receiver: Receiver) -> None:
    address = webhook_address(f"http://me:p%40ss@127.0.0.1:{receiver.port}/hook")
    sink = WebhookSink(address, NAMES, secret=b"shared", pictures=True)
    sink.write(result(wh=(1280, 720), output=two_boxes(), events=(event(),), grey=50))
    sink.close()
    _, headers, body = receiver.next()
    assert (
        headers["X-EdgeYOLO-Signature"] == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    )
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"
    jpeg = np.frombuffer(base64.b64decode(json.loads(body)["picture"]), np.uint8)
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert picture.shape == (360, 640, 3)
    assert (np.abs(picture.astype(int) - 50) > 30).any()  # the boxes


def test_a_fault_of_the_receiver_is_tried_again_with_the_same_delivery(receiver: Receiver) -> None:
    receiver.answers = [500, 429, 503]
    sink = sink_for(receiver)
    write_events(sink, 1)
    deliveries = {receiver.next()[1]["X-EdgeYOLO-Delivery"] for _ in range(4)}
    sink.close()
    assert len(deliveries) == 1
    assert sink.dropped == 0


@pytest.mark.parametrize(("answers", "requests"), [([500] * 5, 5), ([404], 1), ([307], 1), ([301], 1)])
def test_what_is_given_up_does_not_hold_up_the_others(
    receiver: Receiver, answers: list[int], requests: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [*answers, *answers]
    sink = sink_for(receiver, "/secret-path?token=secret")
    write_events(sink, 1, 2, 3)
    assert [receiver.next_frame() for _ in range(2 * requests + 1)] == [1] * requests + [2] * requests + [3]
    sink.close()
    assert receiver.got.empty()  # no redirect was followed
    assert sink.dropped == 2
    assert caplog.text.count("given up") == 1
    assert str(answers[0]) in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_that_comes_back_gets_the_latest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "_WAITING", 5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    sink = WebhookSink(webhook_address(f"http://127.0.0.1:{port}/"), NAMES)
    write_events(sink, 0)
    wait_until(lambda: "wait for it" in caplog.text)  # this one is under way
    write_events(sink, *range(1, 20))
    receiver = Receiver(port)
    assert [receiver.next_frame() for _ in range(6)] == [0, 15, 16, 17, 18, 19]
    wait_until(lambda: "answers again; 14 events" in caplog.text)
    sink.close()
    receiver.close()
    assert sink.dropped == 14


def test_a_receiver_that_hangs_holds_up_nobody(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "_CLOSE_S", 0.1)
    receiver.may_answer.clear()
    sink = sink_for(receiver)
    write_events(sink, *range(1000))  # would wait
    sink.close()
    sink.close()
    assert caplog.text.count("does not answer") == 1
    assert sink.dropped >= 1000 - 1


def test_a_receiver_that_does_not_answer_in_time_is_asked_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_TIMEOUT_S", 0.2)
    receiver.may_answer.clear()
    sink = sink_for(receiver)
    write_events(sink, 1)
    assert receiver.next_frame() == receiver.next_frame() == 1
    receiver.may_answer.set()
    sink.close()


def test_tls_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    receiver = Receiver(0, tls=tls)
    address = webhook_address(f"https://127.0.0.1:{receiver.port}/")
    stranger = WebhookSink(address, NAMES)
    write_events(stranger, 1)
    wait_until(lambda: "certificate verify failed" in caplog.text)
    stranger.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    friend = WebhookSink(address, NAMES)
    write_events(friend, 2)
    assert receiver.next_frame() == 2
    friend.close()
    receiver.close()


@pytest.mark.parametrize(
    "text",
    [
        "host/secret",
        "ftp://u:secret@h/",
        "http://",
        "http://u:secret@h:0/",
        "http://u:secret@h:x/",
        "http://h/se cret",
        "http://u:secret@a..b/",
        f"http://u:secret@{'a' * 64}/",
        "http://u:secret@[::1/",
    ],
)
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        webhook_address(text)
    assert "cret" not in raised.value.message


@given(st.text(alphabet=st.characters(codec="ascii", min_codepoint=48, max_codepoint=122), min_size=6))
def test_nothing_but_the_origin_is_shown(word: str) -> None:
    from urllib.parse import quote

    secret = quote(f"x{word}", safe="")
    address = webhook_address(f"https://{secret}:{secret}@example.org/{secret}?{secret}")
    assert secret not in f"{address} {address!r}"
