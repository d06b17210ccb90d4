"""Which library reads a camera: GStreamer, or OpenCV with the reason; what was asked for, or an error."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from edgeyolo.camera import open_source
from edgeyolo.camera.v4l2 import read_device
from edgeyolo.errors import MissingDependencyError, SourceOpenError, SourceRefusedError
from edgeyolo.gstreamer import load_gst
from tests.camera.video_device import FakeDriver
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


class Device:
    """A camera as OpenCV shows it, which sets what it likes."""

    def __init__(self, fps: float, size_wh: tuple[int, int]) -> None:
        self.asked: dict[int, float] = {}
        self.fps, self.size_wh, self.released = fps, size_wh, False

    def __call__(self, *_: object) -> Device:
        return self

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def get(self, _key: int) -> float:
        return self.fps

    def grab(self) -> bool:
        return not self.released

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((self.size_wh[1], self.size_wh[0], 3), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def webcam(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(formats={"MJPG": {(640, 480): [(1, 30), (1, 15)]}})
    monkeypatch.setattr(
        "edgeyolo.camera.usb.read_device", lambda path: read_device("/dev/null", ioctl=driver.ioctl)
    )


@pytest.mark.usefixtures("webcam")
def test_a_usb_camera_by_opencv_is_asked_for_mjpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(fps=15, size_wh=(640, 480))
    monkeypatch.setattr(cv2, "VideoCapture", device)
    source = open_source("0?backend=opencv&fps=15&width=640", stall_timeout_s=20)
    frame = next(iter(source))
    source.close()
    assert frame.image_bgr.shape == (480, 640, 3)
    assert device.asked == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: 640,
        cv2.CAP_PROP_FRAME_HEIGHT: 480,
        cv2.CAP_PROP_FPS: 15.0,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    assert "MJPG 640x480 at 15 FPS" in source.notes


@pytest.mark.usefixtures("webcam")
@pytest.mark.parametrize(
    ("device", "says"),
    [
        (Device(fps=30, size_wh=(640, 480)), "15 pictures a second expected, the camera gives 30"),
        (Device(fps=15, size_wh=(320, 240)), "width 640 and height any expected, the camera gives 320x240"),
    ],
)
def test_another_rate_or_size_is_not_taken_in_silence(
    device: Device, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", device)
    with pytest.raises(SourceRefusedError, match=says):
        next(iter(open_source("0?backend=opencv&fps=15&width=640", stall_timeout_s=20)))
