"""USB cameras: what the kernel says of one, which mode is taken, and the pipeline that follows.

There is no camera here. The kernel's answers come from a stand-in whose layout a C compiler confirms; the
pipeline runs with GStreamer's test picture in the place of v4l2src.
"""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from edgeyolo.camera import v4l2
from edgeyolo.camera.address import Options
from edgeyolo.camera.usb_mode import choose_mode
from edgeyolo.camera.v4l2 import Mode, VideoDevice, read_device
from edgeyolo.errors import SourceOpenError, SourceRefusedError
from tests.camera.video_device import FakeDriver

FAST, SLOW = [(1, 30), (1, 15)], [(1, 10), (1, 5)]
WEBCAM = FakeDriver(
    formats={
        "YUYV": {(640, 480): FAST, (1280, 720): SLOW, (1920, 1080): [(1, 5)]},
        "MJPG": {(640, 480): FAST, (1280, 720): FAST, (1920, 1080): FAST},
        "H264": {(1920, 1080): FAST},
    }
)


def device(driver: FakeDriver) -> VideoDevice:
    found = read_device("/dev/null", ioctl=driver.ioctl)
    assert found is not None
    return found


def test_everything_that_a_camera_offers() -> None:
    webcam = device(WEBCAM)
    assert webcam.card == "HD Webcam: HD Webcam"
    assert len(webcam.modes) == 5 + 6 + 2
    assert Mode("MJPG", (1280, 720), Fraction(15)) in webcam.modes
    assert [*webcam.formats()] == [
        "YUYV: 640x480@30, 1280x720@10, 1920x1080@5",
        "MJPG: 640x480@30, 1280x720@30, 1920x1080@30",
        "H264: 1920x1080@30",
    ]


def test_a_camera_that_takes_any_size() -> None:
    modes = device(FakeDriver(steps={"YU12": (32, 2592, 2, 32, 1944, 2)})).modes
    assert {mode.size_wh for mode in modes} == {
        (640, 480), (800, 600), (1280, 720), (1920, 1080), (2560, 1440), (2592, 1944),
    }  # fmt: skip
    assert {mode.fps for mode in modes} == {5, 10, 15, 20, 25, 30, 50, 60}


def test_a_node_without_pictures() -> None:
    assert read_device("/dev/null", ioctl=FakeDriver(caps=0x04A00000).ioctl) is None  # metadata


@pytest.mark.parametrize(
    ("path", "says"), [("/dev/null", "no video device"), ("/nowhere", "cannot be opened")]
)
def test_what_is_no_camera(path: str, says: str) -> None:
    with pytest.raises(SourceOpenError, match=says):
        read_device(path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), "MJPG 1280x720 at 30"),
        (Options(width=640), "MJPG 640x480 at 30"),
        (Options(height=1080), "MJPG 1920x1080 at 30"),
        (Options(fps=15), "MJPG 1280x720 at 15"),
        (Options(fps=29.97), "MJPG 1280x720 at 30"),
        (Options(width=1280, height=720, fps=10), "YUYV 1280x720 at 10"),
    ],
)
def test_the_mode_that_is_taken(options: Options, expected: str) -> None:
    assert str(choose_mode(device(WEBCAM), options, name="0")) == expected


def test_a_camera_without_mjpeg_is_fast_rather_than_large() -> None:
    driver = FakeDriver(formats={"YUYV": WEBCAM.formats["YUYV"]})
    assert str(choose_mode(device(driver), Options(), name="0")) == "YUYV 640x480 at 30"


@pytest.mark.parametrize("options", [Options(width=1000), Options(width=640, height=720), Options(fps=60)])
def test_what_a_camera_has_not_is_refused_with_what_it_has(options: Options) -> None:
    with pytest.raises(SourceRefusedError) as raised:
        choose_mode(device(WEBCAM), options, name="0")
    assert "MJPG: 640x480@30, 1280x720@30, 1920x1080@30" in raised.value.message


def test_a_bare_sensor_is_none_for_this() -> None:
    sensor = device(FakeDriver(formats={"RG10": {(3280, 2464): FAST}}, card=b"vi-output, imx219 9-0010"))
    with pytest.raises(SourceRefusedError) as raised:
        choose_mode(sensor, Options(), name="0")
    assert raised.value.hint == "a CSI camera is csi://0"


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path("/usr/include/linux/videodev2.h").exists(),
    reason="no C compiler with Linux's headers",
)
def test_the_numbers_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    code = """
        #include <linux/videodev2.h>
        #include <stdio.h>
        #include <stddef.h>
        int main(void) {
            printf("%u %u %u %u ", (unsigned)VIDIOC_QUERYCAP, (unsigned)VIDIOC_ENUM_FMT,
                   (unsigned)VIDIOC_ENUM_FRAMESIZES, (unsigned)VIDIOC_ENUM_FRAMEINTERVALS);
            printf("%zu %zu %zu %zu %zu", offsetof(struct v4l2_capability, device_caps),
                   offsetof(struct v4l2_fmtdesc, pixelformat), offsetof(struct v4l2_frmsizeenum, discrete),
                   offsetof(struct v4l2_frmivalenum, type), offsetof(struct v4l2_frmivalenum, stepwise.max));
            return 0;
        }"""
    (tmp_path / "numbers.c").write_text(code)
    subprocess.run(["cc", "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    said = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout
    ours = [q.code for q in (v4l2.CAPABILITIES, v4l2.FORMATS, v4l2.SIZES, v4l2.INTERVALS)]
    assert said == " ".join(map(str, [*ours, 88, 44, 12, 16, 28]))
