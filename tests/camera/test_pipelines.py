"""The pipelines as text, run by GStreamer.

What this machine has not (a camera, NVIDIA's elements) is swapped in the text for GStreamer's own test
picture and its ordinary elements; all the rest is what runs on a board.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeyolo.camera.address import FLIPS, Flip, Options
from edgeyolo.camera.decoders import Decoder, choose_decoder
from edgeyolo.camera.faults import Peer
from edgeyolo.camera.gst_grabber import GstGrabber
from edgeyolo.camera.pipelines import Recipe, csi_text, decoding_text, scaled_wh, usb_text
from edgeyolo.errors import FrameTimeoutError, SourceError, SourceOpenError

pytestmark = pytest.mark.needs("gstreamer")

NVIDIA = {
    "nvarguscamerasrc name=source": "videotestsrc name=source is-live=true pattern=gradient",
    "(memory:NVMM)": "",
    "nvv4l2decoder": "avdec_h264",
}
# NVIDIA, "Accelerated GStreamer", nvvidconv: flip-method, and what videoflip calls the same.
NVVIDCONV = {
    0: "identity", 1: "90l", 2: "180", 3: "90r", 4: "horiz", 6: "vert",
}  # fmt: skip


def without_nvidia(text: str) -> str:
    for theirs, ordinary in NVIDIA.items():
        text = text.replace(theirs, ordinary)
    for number, direction in NVVIDCONV.items():
        text = text.replace(
            f"nvvidconv flip-method={number}",
            f"videoflip video-direction={direction} ! videoscale ! videoconvert",
        )
    return text


def grab(text: str, options: Options | None = None) -> np.ndarray:
    grabber = GstGrabber(Recipe(text=text), Peer(name="camera"), options or Options(), stall_timeout_s=20)
    try:
        shot = grabber.read()
        assert shot is not None
        return shot.image_bgr
    finally:
        grabber.close()


def turned(image: np.ndarray, flip: Flip) -> np.ndarray:
    return {
        "none": image, "cw": np.rot90(image, -1), "ccw": np.rot90(image), "180": np.rot90(image, 2),
        "h": image[:, ::-1], "v": image[::-1],
    }[flip]  # fmt: skip


@pytest.mark.parametrize("flip", FLIPS)
def test_a_csi_camera_is_turned(flip: Flip) -> None:
    upright = without_nvidia(csi_text((320, 240), "30/1", "none"))
    text = without_nvidia(csi_text((320, 240), "30/1", flip))
    assert np.abs(grab(text).astype(int) - turned(grab(upright), flip)).max() < 12


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize(
    ("media", "decoder"),
    [("video/x-raw,format=YUY2", None), ("image/jpeg", Decoder("jpegdec"))],
)
def test_a_usb_camera_is_turned(flip: Flip, media: str, decoder: Decoder | None) -> None:
    encode = " ! jpegenc quality=100" if decoder else ""

    def text(how: Flip) -> str:
        written = usb_text(media, (320, 240), "30/1", decoder, Options(flip=how))
        camera = f"videotestsrc name=source is-live=true pattern=gradient{encode}"
        return written.replace("v4l2src name=source", camera)

    assert np.abs(grab(text(flip)).astype(int) - turned(grab(text("none")), flip)).max() < 12


@pytest.mark.parametrize("known", [(320, 240), None])
@pytest.mark.parametrize("nvmm", [False, True])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (Options(), (240, 320, 3)),
        (Options(width=160), (120, 160, 3)),
        (Options(height=120, flip="cw"), (160, 120, 3)),
        (Options(width=100, height=100), (100, 100, 3)),
        (Options(fps=5), (240, 320, 3)),
    ],
)
def test_a_stream_is_scaled(
    options: Options, shape: tuple[int, int, int], nvmm: bool, known: tuple[int, int] | None
) -> None:
    decoder = Decoder("nvv4l2decoder", nvmm=True) if nvmm else Decoder("avdec_h264")
    decoding = without_nvidia(decoding_text("video/x-h264", decoder, options, known))
    text = (
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240 "
        f"! x264enc tune=zerolatency ! h264parse ! {decoding} ! appsink name=sink sync=false"
    )
    assert grab(text).shape == shape


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        (Options(), (1920, 1080), None),
        (Options(width=1920), (1920, 1080), None),
        (Options(height=480), (1920, 1080), (854, 480)),
        (Options(width=300, height=300), None, (300, 300)),
    ],
)
def test_sizes(options: Options, size: tuple[int, int] | None, expected: tuple[int, int] | None) -> None:
    assert scaled_wh(options, size) == expected


def test_the_decoder_says_why_it_was_taken() -> None:
    decoder, note = choose_decoder("video/x-h264")
    if decoder.hardware:
        assert note == f"H.264 decoded by {decoder.element} in hardware"
    else:
        assert note.startswith(f"H.264 decoded by {decoder.element} in software (")
        assert "nvv4l2decoder" in note


def test_a_forced_decoder() -> None:
    assert choose_decoder("video/x-h265", "avdec_h265")[1] == "H.265 decoded by avdec_h265, as asked"
    with pytest.raises(SourceOpenError, match=r"decoder=jpegdec: for H\.264 one of nvv4l2decoder"):
        choose_decoder("video/x-h264", "jpegdec")


def test_sizes_that_cannot_be_are_an_error_and_no_other_size() -> None:
    written = usb_text("video/x-raw,format=YUY2", (320, 240), "30/1", None, Options())
    camera = written.replace(
        "v4l2src name=source", "videotestsrc name=source ! video/x-raw,width=640 ! gdppay ! gdpdepay"
    )
    with pytest.raises(SourceError, match="does not deliver what is asked of it"):
        grab(camera)


def test_a_stream_whose_first_picture_is_late_is_told_apart_from_a_dead_one() -> None:
    text = (
        "videotestsrc is-live=true ! x264enc tune=zerolatency ! h264parse ! video/x-h264,stream-format=avc "
        "! identity drop-probability=1 ! parsebin name=parse appsink name=sink"
    )
    grabber = GstGrabber(Recipe(text=text), Peer(name="camera"), Options(), stall_timeout_s=1.5)
    with pytest.raises(FrameTimeoutError) as raised:
        grabber.read()
    grabber.close()
    assert "key frames may be rare" in (raised.value.hint or "")
