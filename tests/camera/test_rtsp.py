"""RTSP cameras, against GStreamer's own server on loopback."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.camera import open_source
from edgeyolo.errors import SourceError, SourceRefusedError
from edgeyolo.frames import Frame, Source
from tests.camera.rtsp_process import RtspServer

pytestmark = pytest.mark.needs("rtsp-server")

PASSWORD = "zq p@ss/5#qz"
LOGIN = "me:zq%20p%40ss%2F5%23qz"
BACKENDS = pytest.mark.parametrize("backend", ["gstreamer", "opencv"])


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with RtspServer() as running:
        yield running


@pytest.fixture(scope="module", params=[(), ("--digest",)], ids=["basic", "digest"])
def locked(request: pytest.FixtureRequest) -> Iterator[RtspServer]:
    with RtspServer("--login", f"me:{PASSWORD}", *request.param) as running:
        yield running


def take(source: Source, count: int = 5) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            source.close()
    return frames


@BACKENDS
def test_pictures_come(server: RtspServer, backend: str) -> None:
    source = open_source(server.url(query=f"?backend={backend}"), stall_timeout_s=20)
    frames = take(source)
    assert len(frames) == 5
    assert {frame.image_bgr.shape for frame in frames} == {(240, 320, 3)}
    assert any(np.any(a.image_bgr != b.image_bgr) for a, b in itertools.pairwise(frames))
    assert all(0 <= time.monotonic() - frame.captured_at_s < 20 for frame in frames)
    assert source.name == server.url()
    assert ("RTSP over TCP" in source.notes) == (backend == "gstreamer")
    assert any("decoded by" in note or "OpenCV, as asked" in note for note in source.notes)


@pytest.mark.parametrize("codec", ["h265", "mjpeg", "openh264"])
def test_codecs(codec: str) -> None:
    with RtspServer("--codec", codec) as server:
        source = open_source(server.url(), stall_timeout_s=20)
        assert len(take(source)) == 5
    spoken = {"h265": "H.265", "mjpeg": "MJPEG", "openh264": "H.264"}[codec]
    assert any(note.startswith(f"{spoken} decoded by") for note in source.notes)


def test_a_codec_that_is_not_read_is_told() -> None:
    with (
        RtspServer("--codec", "vp8") as server,
        pytest.raises(SourceRefusedError, match="a stream of VP8 found"),
    ):
        take(open_source(server.url(), stall_timeout_s=20))


def test_udp(server: RtspServer) -> None:
    source = open_source(server.url(query="?transport=udp"), stall_timeout_s=20)
    assert len(take(source)) == 5
    assert "RTSP over UDP" in source.notes


@BACKENDS
def test_scaled_and_turned(server: RtspServer, backend: str) -> None:
    query = f"?width=160&flip=cw&backend={backend}"
    assert take(open_source(server.url(query=query), stall_timeout_s=20))[0].image_bgr.shape == (160, 120, 3)


@BACKENDS
def test_fewer_pictures_a_second(server: RtspServer, backend: str) -> None:
    source = open_source(server.url(query=f"?fps=5&backend={backend}"), stall_timeout_s=20)
    frames = take(source, 4)
    assert source.fps == 5
    assert frames[-1].captured_at_s - frames[0].captured_at_s > 0.4  # 25 a second would be 0.12


def test_sound_beside_the_picture(server: RtspServer) -> None:
    assert len(take(open_source(server.url("/sound"), stall_timeout_s=20))) == 5


def test_sound_alone(server: RtspServer) -> None:
    with pytest.raises(SourceRefusedError, match="a stream with a picture expected"):
        take(open_source(server.url("/words"), stall_timeout_s=20))


def test_a_login(locked: RtspServer) -> None:
    source = open_source(locked.url(login=LOGIN), stall_timeout_s=20)
    assert len(take(source)) == 5
    assert PASSWORD not in source.name + str(source.notes)


def test_a_login_by_opencv(locked: RtspServer, capfd: pytest.CaptureFixture[str]) -> None:
    source = open_source(locked.url(login=LOGIN, query="?backend=opencv"), stall_timeout_s=20)
    assert len(take(source)) == 5
    assert "zq" not in capfd.readouterr().err


@BACKENDS
@pytest.mark.parametrize(
    ("login", "says"),
    [
        ("me:zqwrongqz", "the camera refuses this user and password (401)"),
        ("", "the camera asks for a login (401)"),
    ],
)
def test_a_wrong_login(
    locked: RtspServer, login: str, says: str, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceRefusedError) as raised:
        take(open_source(locked.url(login=login, query=f"?backend={backend}"), stall_timeout_s=20))
    assert says in raised.value.message
    assert "rtsp://USER:PASSWORD@HOST" in (raised.value.hint or "")
    assert "zq" not in raised.value.message + capfd.readouterr().err


@BACKENDS
def test_a_certificate(certificate: Path, backend: str) -> None:
    with RtspServer("--certificate", str(certificate), "--login", "me:pass") as server:
        unchecked = server.url(login="me:pass", query=f"?verify=0&backend={backend}")
        assert len(take(open_source(unchecked, stall_timeout_s=20))) == 5
        says = "does not check certificates" if backend == "opencv" else r"is not trusted here.*\?verify=0"
        with pytest.raises(SourceError, match=says):
            take(open_source(server.url(login="me:pass", query=f"?backend={backend}"), stall_timeout_s=20))


def test_no_tls_where_it_is_expected(server: RtspServer) -> None:
    with pytest.raises(SourceError, match="does not speak TLS on port"):
        take(open_source(server.url().replace("rtsp", "rtsps"), stall_timeout_s=20))


@BACKENDS
def test_a_wrong_path(server: RtspServer, backend: str) -> None:
    with pytest.raises(SourceRefusedError, match=r"has no such stream \(404\)"):
        take(open_source(server.url("/none", query=f"?backend={backend}"), stall_timeout_s=20))


@BACKENDS
def test_nobody_there(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        uri = f"rtsp://me:zq55qz@127.0.0.1:{taken.getsockname()[1]}/cam?backend={backend}"
        with pytest.raises(SourceError, match="connection refused") as raised:
            take(open_source(uri, stall_timeout_s=20))
    assert not isinstance(raised.value, SourceRefusedError)  # a camera that boots is worth another try
    assert "zq" not in raised.value.message + capfd.readouterr().err


@BACKENDS
def test_no_such_host(backend: str) -> None:
    uri = f"rtsp://no-such-camera.invalid/cam?backend={backend}"
    with pytest.raises(SourceError, match="no host of the name no-such-camera"):
        take(open_source(uri, stall_timeout_s=20))


@BACKENDS
def test_a_camera_that_accepts_and_says_nothing(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam?backend={backend}"
        with pytest.raises(SourceError):
            take(open_source(uri, stall_timeout_s=0.5))


@BACKENDS
def test_killed(backend: str) -> None:
    with RtspServer() as server:
        source = open_source(server.url(query=f"?backend={backend}"), stall_timeout_s=20)
        frames = iter(source)
        next(frames)
        server.kill()
        with suppress(SourceError):  # what was on its way, then its end or a fault
            assert len([*frames]) < 50
        server.start()
        assert len(take(source)) == 5


@BACKENDS
def test_frozen(backend: str) -> None:
    with RtspServer() as server:
        source = open_source(server.url(query=f"?backend={backend}"), stall_timeout_s=4)
        frames = iter(source)
        next(frames)
        server.freeze()
        with pytest.raises(SourceError):
            for _ in frames:
                pass
        server.thaw()
        assert len(take(source)) == 5


@BACKENDS
def test_closed_while_a_frozen_camera_is_waited_for(backend: str) -> None:
    with RtspServer() as server:
        server.freeze()
        source = open_source(server.url(query=f"?backend={backend}"), stall_timeout_s=15)
        left = threading.Event()

        def read() -> None:
            assert [*source] == []
            left.set()

        thread = threading.Thread(target=read)
        thread.start()
        threading.Event().wait(0.5)
        source.close()
        assert left.wait(10)
        thread.join()


def test_a_recording(shared_data: Path) -> None:
    with RtspServer("--file", str(shared_data / "video" / "car-detection.mp4")) as server:
        frames = take(open_source(server.url(), stall_timeout_s=20))
        assert {frame.image_bgr.shape for frame in frames} == {(432, 768, 3)}


def test_nothing_is_left_behind(server: RtspServer) -> None:
    for _ in range(2):  # what GStreamer loads and keeps
        take(open_source(server.url(), stall_timeout_s=20))
    before = len([*Path("/proc/self/fd").iterdir()])
    threads = threading.active_count()
    for _ in range(5):
        take(open_source(server.url(), stall_timeout_s=20), 2)
    assert len([*Path("/proc/self/fd").iterdir()]) <= before + 2
    assert threading.active_count() <= threads
