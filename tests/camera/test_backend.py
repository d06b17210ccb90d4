"""Which library reads a camera: GStreamer, or OpenCV with the reason; what was asked for, or an error."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgeyolo.camera import open_source
from edgeyolo.errors import MissingDependencyError, SourceOpenError
from edgeyolo.gstreamer import load_gst
from tests.camera.web_camera import WebCamera, web_camera

pytestmark = pytest.mark.needs("opencv")


@pytest.fixture
def camera() -> Iterator[WebCamera]:
    with web_camera() as running:
        yield running


@pytest.fixture
def no_gstreamer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "gi", None)
    load_gst.cache_clear()
    yield
    load_gst.cache_clear()


@pytest.mark.usefixtures("no_gstreamer")
def test_opencv_reads_where_gstreamer_is_absent_and_says_why(camera: WebCamera) -> None:
    source = open_source(f"http://127.0.0.1:{camera.port}/video", stall_timeout_s=20)
    assert len([*itertools.islice(source, 3)]) == 3
    source.close()
    assert source.notes[0].startswith("read by OpenCV, for the package 'gi' is needed")


@pytest.mark.usefixtures("no_gstreamer")
@pytest.mark.parametrize("uri", ["rtsp://127.0.0.1:1/cam?backend=gstreamer", "csi://0", "gst:videotestsrc"])
def test_what_only_gstreamer_reads_is_refused_without_it(uri: str) -> None:
    with pytest.raises(MissingDependencyError) as raised:
        next(iter(open_source(uri)))
    assert "apt-get install" in (raised.value.hint or "")


@pytest.mark.usefixtures("no_gstreamer")
def test_a_decoder_of_gstreamers_is_not_forgotten_in_silence() -> None:
    with pytest.raises(SourceOpenError, match="OpenCV chooses its decoder itself"):
        next(iter(open_source("rtsp://127.0.0.1:1/cam?decoder=avdec_h264")))


@pytest.mark.needs("gstreamer")
def test_a_machine_without_the_elements_says_which(
    camera: WebCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeyolo.gstreamer.has_element", lambda name: name != "souphttpsrc")
    source = open_source(f"http://127.0.0.1:{camera.port}/video", stall_timeout_s=20)
    next(iter(source))
    source.close()
    assert source.notes[0] == "read by OpenCV, for GStreamer is here without souphttpsrc"


def test_a_csi_camera_by_opencv_is_refused() -> None:
    with pytest.raises(SourceOpenError, match="backend=opencv cannot read a CSI camera"):
        open_source("csi://0?backend=opencv")


def test_a_process_that_ends_while_opencv_waits_for_a_camera() -> None:
    code = """
import sys
from edgeyolo.camera import open_source
source = open_source(sys.argv[1], stall_timeout_s=2)
next(iter(source))
"""
    with web_camera(frames=20) as camera:
        camera.silent_at_the_end = True
        uri = f"http://127.0.0.1:{camera.port}/video?backend=opencv"
        done = subprocess.run(
            [sys.executable, "-c", code, uri], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
