"""Cameras over HTTP: MJPEG from a small server, HLS from a folder."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.camera import open_source
from edgeyolo.errors import FrameTimeoutError, SourceError, SourceRefusedError
from edgeyolo.frames import Frame, Source
from tests.camera.web_camera import WebCamera, picture, serve_folder, web_camera

pytestmark = pytest.mark.needs("gstreamer")

BACKENDS = pytest.mark.parametrize("backend", ["gstreamer", "opencv"])


@pytest.fixture
def camera() -> Iterator[WebCamera]:
    with web_camera() as running:
        yield running


@pytest.fixture(scope="module")
def playlist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an HLS playlist of 75 pictures in pieces of a second."""
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("no gst-launch-1.0 to write an HLS playlist")
    folder = tmp_path_factory.mktemp("hls")
    subprocess.run(
        "gst-launch-1.0 -q videotestsrc num-buffers=75 pattern=ball "
        "! video/x-raw,width=160,height=120,framerate=25/1 ! x264enc key-int-max=25 ! h264parse "
        "! mpegtsmux ! hlssink target-duration=1 max-files=0 playlist-length=0 "
        f"location={folder}/%03d.ts playlist-location={folder}/live.m3u8".split(),
        check=True,
    )
    return folder / "live.m3u8"


def take(source: Source, count: int = 5) -> list[Frame]:
    frames = [*itertools.islice(source, count)]
    source.close()
    return frames


@BACKENDS
def test_mjpeg(camera: WebCamera, backend: str) -> None:
    source = open_source(
        f"http://127.0.0.1:{camera.port}/video?channel=1&backend={backend}", stall_timeout_s=20
    )
    frames = take(source)
    assert len(frames) == 5
    assert np.abs(frames[0].image_bgr[-1].astype(int) - picture(0)[-1]).max() < 24  # JPEG's colours
    assert camera.requests == ["/video?channel=1"]  # what is ours does not go to the camera
    assert any("MJPEG decoded by" in note or "OpenCV, as asked" in note for note in source.notes)


def test_what_is_behind_the_hash_is_ours(camera: WebCamera) -> None:
    uri = f"http://127.0.0.1:{camera.port}/video?width=640#width=160&flip=180"
    (frame,) = take(open_source(uri, stall_timeout_s=20), 1)
    assert camera.requests == ["/video?width=640"]
    assert frame.image_bgr.shape == (120, 160, 3)
    assert frame.image_bgr[0, 0, 2] > 150  # the red half is on the left now
    assert frame.image_bgr[0, -1, 0] > 150


@BACKENDS
@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize(
    ("login", "says"),
    [("me:zqwrongqz@", "the camera refuses this user and password"), ("", "the camera asks for a login")],
)
def test_a_login(
    backend: str, login: str, says: str, digest: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with web_camera(login="me:zq s@fe", digest=digest) as camera:
        where = f"127.0.0.1:{camera.port}/video?backend={backend}"
        assert len(take(open_source(f"http://me:zq%20s%40fe@{where}", stall_timeout_s=20))) == 5
        with pytest.raises(SourceRefusedError) as raised:
            take(open_source(f"http://{login}{where}", stall_timeout_s=20))
    assert says in raised.value.message
    assert "zq" not in raised.value.message + capfd.readouterr().err


@BACKENDS
def test_no_such_path_and_no_token_shown(
    camera: WebCamera, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://127.0.0.1:{camera.port}/none?token=zq55qz&backend={backend}"
    with pytest.raises(SourceRefusedError, match="has no such stream") as raised:
        take(open_source(uri, stall_timeout_s=20))
    assert "zq" not in raised.value.message + capfd.readouterr().err


def test_a_page_where_pictures_should_be(camera: WebCamera) -> None:
    with pytest.raises(SourceRefusedError, match="text/html"):
        take(open_source(f"http://127.0.0.1:{camera.port}/page", stall_timeout_s=20))


def test_a_camera_that_begins_and_says_nothing(camera: WebCamera) -> None:
    with pytest.raises(FrameTimeoutError, match="no picture for 1 s"):
        take(open_source(f"http://127.0.0.1:{camera.port}/silent", stall_timeout_s=1))


def test_a_stream_that_breaks_off() -> None:
    with web_camera(frames=4) as camera:
        source = open_source(f"http://127.0.0.1:{camera.port}/video", stall_timeout_s=20)
        assert 0 < len([*source]) <= 4
        assert 0 < len([*source]) <= 4  # and connects again


@BACKENDS
def test_nobody_there(backend: str) -> None:
    with pytest.raises(SourceError, match="connection refused"):
        take(open_source(f"http://127.0.0.1:1/video?backend={backend}", stall_timeout_s=20))


def test_a_certificate_that_nobody_signed(certificate: Path) -> None:
    with web_camera(certificate=certificate) as camera:
        uri = f"https://127.0.0.1:{camera.port}/video"
        with pytest.raises(SourceError, match=r"is not trusted here.*\?verify=0"):
            take(open_source(uri, stall_timeout_s=20))
        assert len(take(open_source(f"{uri}?verify=0", stall_timeout_s=20))) == 5


def test_no_tls_where_it_is_expected(camera: WebCamera) -> None:
    with pytest.raises(SourceError, match="does not speak TLS on port"):
        take(open_source(f"https://127.0.0.1:{camera.port}/video", stall_timeout_s=20))


def test_hls_keeps_its_own_pace(playlist: Path) -> None:
    with serve_folder(playlist.parent) as port:
        source = open_source(f"http://127.0.0.1:{port}/live.m3u8", stall_timeout_s=20)
        frames = [*source]
    assert frames[0].image_bgr.shape == (120, 160, 3)
    assert any(note.startswith("HLS") for note in source.notes)
    # Three seconds of pictures come within three seconds, not in the blink in which they are downloaded.
    assert frames[-1].captured_at_s - frames[0].captured_at_s > 2
    assert len(frames) > 20


def test_hls_behind_a_login(playlist: Path) -> None:
    with serve_folder(playlist.parent, login="me:zq s@fe") as port:
        source = open_source(f"http://me:zq%20s%40fe@127.0.0.1:{port}/live.m3u8", stall_timeout_s=20)
        assert len(take(source)) == 5


def test_hls_by_opencv(playlist: Path) -> None:
    with serve_folder(playlist.parent) as port:
        frames = [*open_source(f"http://127.0.0.1:{port}/live.m3u8?backend=opencv", stall_timeout_s=20)]
    assert frames[0].image_bgr.shape == (120, 160, 3)
