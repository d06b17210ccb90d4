"""The page's server as a stranger meets it: raw sockets and http.client, on loopback and beyond."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.errors import ConfigError, MissingDependencyError
from edgeyolo.show.web import WebSink
from tests.parts import PROJECT
from tests.show.web.fake_run import FakeControl, LoopThread, result, serving

pytestmark = pytest.mark.needs("web", "opencv")
WAIT_S = 30
TOKEN = "correct-horse-battery"


def ask(
    sink: WebSink, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Give status, headers and body of an answer that ends."""
    with closing(http.client.HTTPConnection("127.0.0.1", sink.port, timeout=WAIT_S)) as connection:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if body is not None and not isinstance(body, bytes | str):
            body = json.dumps(body)
            sent.setdefault("content-type", "application/json")
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def ask_json(sink: WebSink, path: str, *args: Any, **headers: str) -> Any:
    status, _, body = ask(sink, path, *args, **headers)
    assert status == 200, body
    return json.loads(body)


@contextmanager
def stream(sink: WebSink, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", sink.port, timeout=WAIT_S)) as connection:
        connection.request("GET", path, headers=headers)
        with closing(
            connection.getresponse()
        ) as answer:  # which keeps the socket, whatever its connection does
            assert answer.status == 200, answer.read()
            yield answer


def next_jpeg(answer: http.client.HTTPResponse) -> bytes:
    """Read one part of an MJPEG stream."""
    length = 0
    while not (line := answer.readline()).startswith(b"\r\n") or not length:
        assert line, "the stream ended"
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return answer.read(length)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9")


# --- what it serves ---------------------------------------------------------------------------------------


def test_the_page_and_its_files_come_from_here_and_are_cached_by_their_content() -> None:
    with serving() as sink:
        status, headers, page = ask(sink, "/")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"http://" not in page
        assert b"https://" not in page
        assert b"<style" not in page
        assert b" style=" not in page
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        status, headers, _ = ask(sink, "/assets/main.js")
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        status, _, body = ask(sink, "/assets/main.js", if_none_match=headers["etag"])
        assert (status, body) == (304, b"")
        for missing in ("/assets/", "/assets/../sink.py", "/assets/%2e%2e/sink.py", "/nothing"):
            assert ask(sink, missing)[0] == 404


def test_the_state_of_the_run_is_told() -> None:
    control = FakeControl(("0", "door"))
    with serving(control) as sink:
        status = ask_json(sink, "/api/status")
        assert [camera["camera"] for camera in status["cameras"]] == ["0", "door"]
        assert status["cameras"][0]["age_ms"]["p99"] == 71.0
        assert ask_json(sink, "/api/conf") == {"conf": 0.25}
        assert ask_json(sink, "/api/classes")["class_ids"] is None


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("live", 200),
        ("ended", 200),
        ("connecting", 503),
        ("stalled", 503),
        ("retrying", 503),
        ("failed", 503),
    ],
)
def test_health_is_that_of_every_camera(state: str, code: int) -> None:
    control = FakeControl(("0", "1"))
    control.set("1", state=state, reason="connection refused" if state == "retrying" else None)
    with serving(control) as sink:
        status, _, body = ask(sink, "/healthz")
        assert status == code
        if state == "retrying":
            assert json.loads(body)["cameras"] == {"1": "retrying: connection refused"}


def test_metrics_are_what_prometheus_reads() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    control = FakeControl()
    with serving(control) as sink:
        for index in range(5):
            sink.write(result(index, picture=False))
        _, headers, body = ask(sink, "/metrics")
        assert headers["content-type"].startswith("text/plain")
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        samples = {(s.name, *s.labels.values()): s.value for f in families.values() for s in f.samples}
        assert samples["edgeyolo_frames_total", "0"] == 90
        assert samples["edgeyolo_frames_dropped_total", "0"] == 10
        assert samples["edgeyolo_reconnects_total", "0"] == 2
        assert samples["edgeyolo_source_up", "0"] == 1
        assert samples["edgeyolo_engine_restarts_total",] == 1
        assert samples["edgeyolo_frame_age_seconds_count", "0"] == 5
        assert samples["edgeyolo_frame_age_seconds_sum", "0"] == pytest.approx(5 * 0.041)
        assert samples["edgeyolo_stage_seconds_sum", "infer"] == pytest.approx(0.04)
        assert samples["edgeyolo_detections_total", "0", "disc"] == 1
        assert samples["edgeyolo_source_state", "0", "live"] == 1
        _, headers, _ = ask(sink, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert headers["content-type"].startswith("application/openmetrics-text")


def test_controls_act_and_refuse_what_means_nothing() -> None:
    control = FakeControl()
    with serving(control) as sink:
        assert ask_json(sink, "/api/conf", "POST", {"conf": 0.6}) == {"conf": 0.6}
        assert control.conf == 0.6
        assert ask_json(sink, "/api/classes", "POST", {"classes": ["star", 0]})["class_ids"]
        assert control.class_ids is not None
        ask_json(sink, "/api/classes", "POST", {"classes": None})
        assert control.class_ids is None
        for path, wrong in (
            ("/api/conf", {"conf": 1.5}),
            ("/api/conf", {"conf": "high"}),
            ("/api/conf", {"conf": True}),
            ("/api/conf", {}),
            ("/api/conf", [0.5]),
            ("/api/conf", "not json"),
            ("/api/conf", b"[" * 30000),
            ("/api/conf", '{"conf": NaN}'),
            ("/api/classes", {"classes": ["unicorn"]}),
            ("/api/classes", {"classes": "star"}),
            ("/api/classes", {}),
        ):
            status, _, body = ask(sink, path, "POST", wrong, content_type="application/json")
            assert (status, "error" in json.loads(body)) == (400, True), wrong
        assert control.conf == 0.6
        assert ask(sink, "/api/conf", "DELETE")[0] == 405
        assert ask(sink, "/stream/0", "POST", {})[0] == 405


# --- pictures ---------------------------------------------------------------------------------------------


def test_nothing_is_drawn_or_encoded_without_a_viewer() -> None:
    control = FakeControl(("0", "1"))
    with serving(control, fps=120) as sink:
        assert not sink.wants_picture
        sink.write(result(0))
        with stream(sink, "/stream/0") as answer:
            until(lambda: sink.wants_picture)
            sink.write(result(1))
            assert is_jpeg(next_jpeg(answer))
            sink.write(result(1, camera="1"))  # nobody watches this one
        until(lambda: not sink.wants_picture)
        sink.write(result(2))
        text = ask(sink, "/metrics")[2].decode()
        assert 'edgeyolo_web_frames_encoded_total{camera="0"} 1.0' in text
        assert 'edgeyolo_web_frames_encoded_total{camera="1"}' not in text


def test_twenty_viewers_see_every_picture_and_it_is_encoded_once() -> None:
    import cv2

    with serving(fps=120) as sink:
        seen: list[list[bytes]] = [[] for _ in range(20)]

        def view(pictures: list[bytes]) -> None:
            with stream(sink, "/stream/0") as answer:
                for _ in range(5):
                    pictures.append(next_jpeg(answer))

        viewers = [threading.Thread(target=view, args=(pictures,)) for pictures in seen]
        for viewer in viewers:
            viewer.start()
        until(lambda: ask_json(sink, "/api/status")["streams"] == 20)
        for index in range(5):  # the next when all have the last: only the newest is kept for who is slow
            sink.write(result(index))
            until(lambda count=index + 1: min(map(len, seen)) == count)  # type: ignore[misc]
            if index == 3:
                text = ask(sink, "/metrics")[2].decode()
                assert 'edgeyolo_web_frames_encoded_total{camera="0"} 4.0' in text
        for viewer in viewers:
            viewer.join(WAIT_S)
        for pictures in seen:
            colours = [int(cv2.imdecode(np.frombuffer(p, np.uint8), 1)[0, 0, 0]) for p in pictures]
            assert colours == pytest.approx([0, 40, 80, 120, 160], abs=4)


def test_one_connection_carries_many_cameras_in_the_width_that_is_enough() -> None:
    import cv2

    control = FakeControl(("0", "1"))
    with serving(control, fps=120) as sink, stream(sink, "/frames?0=160&1=999") as answer:
        until(lambda: sink.wants_picture)
        seen = {}
        for camera in ("0", "1"):
            sink.write(result(3, camera=camera))
            head_length, jpeg_length = (int.from_bytes(answer.read(4), "big") for _ in range(2))
            head = json.loads(answer.read(head_length))
            seen[head["camera"]] = cv2.imdecode(np.frombuffer(answer.read(jpeg_length), np.uint8), 1).shape
        assert seen == {"0": (120, 160, 3), "1": (240, 320, 3)}
        for wrong in ("/frames", "/frames?0=", "/frames?0=-1", "/frames?0=99999", "/stream/0?width=x"):
            assert ask(sink, wrong)[0] == 400
        for wrong in ("/frames?9=160", "/stream/9", "/snapshot/9.jpg"):
            assert ask(sink, wrong)[0] == 404


def test_a_snapshot_is_the_next_picture_in_full_size() -> None:
    import cv2

    control = FakeControl()
    with serving(control) as sink:
        got: list[tuple[int, dict[str, str], bytes]] = []
        thread = threading.Thread(target=lambda: got.append(ask(sink, "/snapshot/0.jpg")))
        thread.start()
        until(lambda: sink.wants_picture)
        sink.write(result(2, wh=(1280, 720)))
        thread.join(WAIT_S)
        ((status, headers, jpeg),) = got
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert "camera-0-" in headers["content-disposition"]
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (720, 1280, 3)
        assert not sink.wants_picture
        control.set(state="retrying", reason="no route to host")
        status, _, body = ask(sink, "/snapshot/0.jpg")
        assert status == 503
        assert "no route to host" in json.loads(body)["error"]
        assert not sink.wants_picture


def test_a_viewer_who_does_not_read_costs_the_others_nothing_and_is_dropped() -> None:
    control = FakeControl()
    with serving(control, fps=120, unread_s=1.0) as sink:
        noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
        with (
            closing(socket.create_connection(("127.0.0.1", sink.port))) as idle,
            stream(sink, "/stream/0") as answer,
        ):
            idle.sendall(b"GET /stream/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: ask_json(sink, "/api/status")["streams"] == 2)
            deadline = time.monotonic() + WAIT_S
            index = 0
            while ask_json(sink, "/api/status")["streams"] == 2:
                assert time.monotonic() < deadline
                sink.write(_with_picture(result(index), noise))
                assert is_jpeg(next_jpeg(answer))
                index += 1
            sink.write(_with_picture(result(index), noise))
            assert is_jpeg(next_jpeg(answer))


def _with_picture(of: Any, picture: Any) -> Any:
    import dataclasses

    return dataclasses.replace(of, picture_bgr=picture)


# --- events -----------------------------------------------------------------------------------------------


def read_events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """Give kind, id and value of each server-sent event."""
    kind = number = ""
    while line := answer.readline().decode():
        name, _, value = line.strip().partition(": ")
        if name == "event":
            kind = value
        elif name == "id":
            number = value
        elif name == "data":
            yield kind, number, json.loads(value)
            kind = number = ""


def test_status_detections_and_events_come_as_they_happen_and_missed_events_come_again() -> None:
    from tests.show.results import event

    with serving() as sink:
        with stream(sink, "/events") as answer:
            sink.write(result(7, picture=False, events=(event(7),)))
            wanted = {"status", "result", "event"}
            seen: dict[str, Any] = {}
            for kind, number, value in read_events(answer):
                seen[kind] = (number, value)
                if wanted <= seen.keys() and seen["status"][1]["seen"]:
                    break
        assert seen["status"][1]["cameras"][0]["state"] == "live"
        assert seen["status"][1]["seen"][0]["label"] == "moon"
        assert seen["result"][1]["detections"][0]["label"] == "moon"
        number, said = seen["event"]
        assert (said["kind"], said["where"]) == ("enter", "door")
        sink.write(result(8, picture=False, events=(event(8),)))
        with stream(sink, "/events", **{"Last-Event-ID": number}) as answer:
            frames = next(v["frame"] for kind, _, v in read_events(answer) if kind == "event")
            assert frames == 8
        with stream(sink, f"/events?after={number}") as answer:  # as the page asks, which opens a new one
            frames = next(v["frame"] for kind, _, v in read_events(answer) if kind == "event")
            assert frames == 8
        with stream(sink, "/events", **{"Last-Event-ID": "0a1b2c3d-99"}) as answer:  # of an earlier run
            frames = next(v["frame"] for kind, _, v in read_events(answer) if kind == "event")
            assert frames == 7


def test_charts_have_a_past() -> None:
    with serving() as sink:
        until(lambda: len(ask_json(sink, "/api/history")) >= 2)
        assert ask_json(sink, "/api/history")[0]["cameras"]["0"]["fps"] == 29.7


# --- who may come -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "localhost:1"}, 200),
        ({"host": "192.168.7.7"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "cam.example.org"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "localhost@evil.example"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "127.0.0.1", "origin": "http://127.0.0.1"}, 200),
        ({"host": "127.0.0.1", "origin": "http://127.0.0.1:9"}, 403),
        ({"host": "127.0.0.1", "origin": "https://cam.example.org"}, 200),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}, 200),
    ],
)
def test_other_names_and_other_sites_are_refused(headers: dict[str, str], expected: int) -> None:
    with serving(hosts=["cam.example.org"]) as sink:
        assert ask(sink, "/api/status", **headers)[0] == expected


def test_a_form_of_another_site_cannot_act() -> None:
    control = FakeControl()
    with serving(control) as sink:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert ask(sink, "/api/conf", "POST", '{"conf": 0.9}', content_type=kind)[0] == 415
        assert ask(sink, "/api/conf", "POST", {"conf": 0.9}, origin="http://evil.example")[0] == 403
        assert control.conf == 0.25


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[WebSink]:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with serving(token_file=file) as sink:
        yield sink


def test_without_the_token_only_health_and_the_look_of_the_page_are_given(guarded: WebSink) -> None:
    for path in ("/", "/api/status", "/stream/0", "/frames?0=160", "/events", "/metrics", "/snapshot/0.jpg"):
        status, headers, body = ask(guarded, path)
        assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="edgeyolo"')
        assert TOKEN.encode() not in body
    assert ask(guarded, "/api/conf", "POST", {"conf": 0.9})[0] == 401
    assert ask(guarded, "/assets/style.css")[0] == 200
    assert ask(guarded, "/healthz")[0] == 200
    status, headers, body = ask(guarded, "/", accept="text/html")
    assert (status, b'type="password"' in body) == (401, True)


def test_a_bearer_comes_in_and_a_browser_gets_a_cookie_and_a_clean_address(guarded: WebSink) -> None:
    assert ask(guarded, "/api/status", authorization=f"Bearer {TOKEN}")[0] == 200
    status, headers, _ = ask(guarded, f"/stream/0?token={TOKEN}&width=640")
    assert (status, headers["location"]) == (303, "/stream/0?width=640")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    assert TOKEN not in headers["set-cookie"]
    cookie = headers["set-cookie"].split(";")[0]
    assert ask(guarded, "/api/status", cookie=cookie)[0] == 200
    assert ask(guarded, "/api/status", cookie=cookie[:-1])[0] == 401
    assert ask(guarded, "/api/status", cookie='"; = broken')[0] == 401
    assert ask(guarded, f"//evil.example/?token={TOKEN}")[1]["location"] == "/evil.example/"
    form = f"token={TOKEN}"
    status, headers, _ = ask(guarded, "/sign-in", "POST", form)
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"].startswith("edgeyolo_")
    assert ask(guarded, "/sign-in", "POST", form, origin="http://evil.example")[0] == 403


def test_who_guesses_is_not_listened_to_for_a_while(guarded: WebSink) -> None:
    codes = [ask(guarded, "/api/status", authorization="Bearer wrong")[0] for _ in range(12)]
    assert codes[:10] == [401] * 10
    assert codes[10:] == [429, 429]
    status, headers, _ = ask(guarded, f"/?token={TOKEN}")
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= 61


def test_beyond_loopback_a_token_is_made_and_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(address="0.0.0.0:0") as sink:
        invitation = sink.invitation()
        token = invitation.splitlines()[0].partition("?token=")[2]
        assert len(token) >= 40
        assert "token" not in sink.invitation()
        assert ask(sink, "/api/status")[0] == 401
        assert ask(sink, "/api/status", authorization=f"Bearer {token}")[0] == 200
        ask(sink, f"/?token={token}")
        ask(sink, f"/?token=x{token}")
        raw(sink, f"GET /?token={token} NONSENSE\r\n\r\n".encode())
    out, err = capfd.readouterr()
    assert token not in out + err


@pytest.mark.parametrize("text", ["short", "has spaces in it which is not", "ünïcödë-is-no-token", ""])
def test_a_token_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="16 or more") as caught, serving(token_file=file):
        pass
    assert text == "" or text not in str(caught.value)


def test_the_environment_has_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEYOLO_WEB_TOKEN", TOKEN)
    with serving() as sink:
        assert ask(sink, "/api/status")[0] == 401
        assert ask(sink, "/api/status", authorization=f"bearer {TOKEN}")[0] == 200


# --- limits -----------------------------------------------------------------------------------------------


def raw(sink: WebSink, request: bytes) -> bytes:
    """Send bytes and give all that comes back until the other side ends it."""
    with closing(socket.create_connection(("127.0.0.1", sink.port), timeout=WAIT_S)) as connection:
        got = b""
        try:
            connection.sendall(request)
            while data := connection.recv(1 << 16):
                got += data
        except ConnectionError:
            pass
        return got


def test_no_more_streams_than_allowed() -> None:
    with serving(clients=2) as sink, stream(sink, "/stream/0"), stream(sink, "/events"):
        until(lambda: ask_json(sink, "/api/status")["streams"] == 2)
        for path in ("/stream/0", "/events", "/frames?0=160"):
            status, headers, body = ask(sink, path)
            assert (status, headers["retry-after"]) == (503, "5")
            assert "--web-clients" in json.loads(body)["hint"]
        assert ask(sink, "/api/status")[0] == 200


def test_no_more_connections_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeyolo.show.web.connection._HEAD_S", 600)
    with serving(clients=1) as sink:
        idle = [socket.create_connection(("127.0.0.1", sink.port), timeout=WAIT_S) for _ in range(40)]
        try:
            # One stream and 32 short requests; nothing was said, so that what is readable is an end.
            until(lambda: len(select.select(idle, [], [], 0)[0]) >= 7)
            assert len(select.select(idle, [], [], 0.2)[0]) == 7
        finally:
            for connection in idle:
                connection.close()
        until(lambda: _answers(sink))


def _answers(sink: WebSink) -> bool:
    try:
        return ask(sink, "/healthz")[0] == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_large_and_broken_requests_are_refused() -> None:
    with serving() as sink:
        large = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000
        assert b" 200 " not in raw(sink, large)[:16]
        assert raw(sink, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert ask(sink, "/api/conf", "POST", b"[" + b" " * 70_000, content_type="application/json")[0] == 413
        assert ask(sink, "/api/status?" + "&".join(f"a{i}=1" for i in range(100)))[0] == 200
        assert ask(sink, "/frames?" + "&".join(f"a{i}=1" for i in range(100)))[0] == 400
        answer = raw(sink, b"POST /api/conf HTTP/1.1\r\nHost: x.example\r\nContent-Length: 9\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 421")  # and the connection is closed: its body is not waited for
        assert _answers(sink)


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeyolo.show.web.connection._HEAD_S", 0.5)
    with (
        serving() as sink,
        closing(socket.create_connection(("127.0.0.1", sink.port), timeout=WAIT_S)) as slow,
    ):
        slow.sendall(b"GET / HTTP/1.1\r\nHost: local")
        with suppress(ConnectionError):
            assert slow.recv(1) == b""
        # A connection that has asked once is watched as the first time.
        again = raw(sink, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal")
        assert again.count(b"HTTP/1.1 200") == 1


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeyolo.show.web.messages._BODY_S", 0.5)
    with serving() as sink:
        head = b"POST /api/conf HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        assert raw(sink, head + b"Content-Length: 20\r\n\r\n{").startswith(b"HTTP/1.1 408")


def test_viewers_who_come_and_go_leave_nothing_behind() -> None:
    control = FakeControl()
    with serving(control) as sink:
        loop = LoopThread(sink, control)
        loop.start()
        handles = Path("/proc/self/fd")
        before = len(list(handles.iterdir()))
        for number in range(60):
            with closing(socket.create_connection(("127.0.0.1", sink.port), timeout=WAIT_S)) as peer:
                path = ("/stream/0", "/events", "/frames?0=160", "/snapshot/0.jpg")[number % 4]
                peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                if number % 3:
                    assert peer.recv(64)  # the others leave before the answer
        until(lambda: ask_json(sink, "/api/status")["streams"] == 0)
        until(lambda: not sink.wants_picture)
        until(lambda: len(list(handles.iterdir())) <= before + 1)
        loop.end()


# --- beginning and end ------------------------------------------------------------------------------------


def test_a_port_in_use_says_so_and_what_to_do() -> None:
    with (
        serving() as sink,
        pytest.raises(ConfigError, match="in use") as caught,
        serving(address=f"127.0.0.1:{sink.port}"),
    ):
        pass
    assert f"--web 127.0.0.1:{sink.port + 1}" in (caught.value.hint or "")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        ":8080",
        "::1:8080",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:70000",
        "no.such.invalid:1",
    ],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--web"), serving(address=text):
        pass


def test_it_ends_with_its_viewers_still_there() -> None:
    before = set(threading.enumerate())
    control = FakeControl()
    with serving(control) as sink:
        loop = LoopThread(sink, control)
        loop.start()
        idle = socket.create_connection(("127.0.0.1", sink.port))
        idle.sendall(b"GET /stream/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with stream(sink, "/stream/0") as answer, stream(sink, "/events"):
            assert is_jpeg(next_jpeg(answer))
            sink.close()
            sink.close()
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", sink.port))
        loop.end()  # which wrote on after the end
        idle.close()
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError) as caught, serving():
        pass
    assert caught.value.hint == "pip install 'edgeyolo[web]'"
    assert caught.value.exit_code == 3


# --- what the page is made of -----------------------------------------------------------------------------


def test_scripts_and_styles_ask_only_for_what_is_there() -> None:
    assets = PROJECT / "edgeyolo" / "show" / "web" / "assets"
    page = (assets / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r' id="([\w-]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' (?:for|aria-labelledby|aria-describedby)="([\w-]+)"', page)) <= set(ids)
    scripts = {file.name: file.read_text(encoding="utf-8") for file in assets.glob("*.js")}
    assert len(scripts) > 5
    for name, text in scripts.items():
        assert set(re.findall(r'byId\("([\w-]+)"\)', text)) <= set(ids), name
        assert set(re.findall(r'from "\./([\w.-]+)"', text)) <= scripts.keys(), name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|https?://(?!www\.w3\.org/)", text
        ), name
    for file in (page, (assets / "sign-in.html").read_text(encoding="utf-8")):
        for link in re.findall(r'(?:src|href)="(/[^"]*)"', file):
            assert (assets / link.removeprefix("/assets/")).is_file()
