"""An mp4 by an encoder of GStreamer, x264's in place of a Jetson's, and when it is taken."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.show import VideoSink, video_encoder
from edgeyolo.show.mp4 import Mp4Writer, SoftwareMp4
from edgeyolo.show.mp4_gst import GstEncoder, GstMp4
from edgeyolo.show.video_encoder import best_encoder
from tests.full_disk import full_disk_after
from tests.show.results import result
from tests.show.test_recorder import duration_s, greys_and_seconds

pytestmark = pytest.mark.needs("av", "gstreamer")

X264 = GstEncoder(
    "x264enc", "videoconvert ! x264enc tune=zerolatency key-int-max={gop} bitrate=2000 speed-preset=veryfast"
)
ABSENT = GstEncoder("no_such_element", "videoconvert ! no_such_element")
BROKEN = GstEncoder("identity", "videoconvert ! identity error-after=3 ! x264enc tune=zerolatency")
SILENT = GstEncoder("valve", "videoconvert ! valve drop=true ! x264enc tune=zerolatency")


def greys(count: int, wh: tuple[int, int]) -> Iterator[np.ndarray]:
    return (np.full((wh[1], wh[0], 3), 8 * index, np.uint8) for index in range(count))


@pytest.mark.parametrize("wh", [(64, 48), (66, 48), (65, 47), (320, 240)])
@pytest.mark.parametrize("recording", [False, True])
def test_every_picture_comes_out_at_its_time(tmp_path: Path, wh: tuple[int, int], recording: bool) -> None:
    moments = np.concatenate([[0], np.cumsum(np.random.default_rng(0).uniform(0.02, 0.5, 29))])
    file: Mp4Writer = GstMp4(X264, tmp_path / "a.mp4", wh, fps=25, recording=recording)
    for picture, moment in zip(greys(30, wh), moments, strict=True):
        file.write(picture, moment)
    file.close()
    file.close()
    shown = greys_and_seconds(tmp_path / "a.mp4")
    np.testing.assert_allclose([grey for grey, _ in shown], 8 * np.arange(30), atol=3)
    np.testing.assert_allclose([second for _, second in shown], moments, atol=0.001)


def test_what_is_written_so_far_plays_before_the_file_is_closed(tmp_path: Path) -> None:
    file = GstMp4(X264, tmp_path / "a.mp4", (64, 48), fps=25, recording=True)
    for index in range(60):
        file.write(np.zeros((48, 64, 3), np.uint8), index / 5)
    # Given faster than a camera's, 16 pictures may be on their way, and a fragment is a second.
    assert duration_s(tmp_path / "a.mp4") >= (60 - 16) / 5 - 1
    file.close()
    assert duration_s(tmp_path / "a.mp4") == pytest.approx(12, abs=0.3)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [(ABSENT, "no element"), (BROKEN, "identity: failed after"), (SILENT, "no picture back")],
)
def test_an_encoder_that_fails_says_so(
    tmp_path: Path, encoder: GstEncoder, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeyolo.show.mp4_gst._PATIENCE_S", 0.2)

    def encode() -> None:
        file = GstMp4(encoder, tmp_path / "a.mp4", (64, 48), fps=25, recording=True)
        try:
            for index, picture in enumerate(greys(30, (64, 48))):
                file.write(picture, index / 25)
        finally:
            file.close()

    with pytest.raises(OSError, match=f"(?i){said}"):
        encode()


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    file = GstMp4(X264, tmp_path / "a.mp4", (320, 240), fps=25, recording=True)

    def fill() -> None:
        for index in range(300):
            file.write(np.roll(noise, index), index / 25)

    with full_disk_after(100_000):
        with pytest.raises(OSError, match="File too large"):
            fill()
        with pytest.raises(OSError, match="File too large"):
            file.close()
    file.close()


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(video_encoder, "l4t_here", lambda: (36, 4, 3))
    best_encoder.cache_clear()
    yield
    best_encoder.cache_clear()


@pytest.mark.usefixtures("jetson")
def test_a_jetson_encodes_in_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_encoder, "JETSON", X264)
    assert isinstance(best_encoder().open, functools.partial)
    sink = VideoSink(tmp_path / "out.mp4", fps=10)
    for index in range(25):
        sink.write(result(index, grey=8 * index))
    sink.close()
    assert sink.notes == (f"{tmp_path / 'out.mp4'}: H.264, encoded by x264enc in hardware",)
    shown = greys_and_seconds(tmp_path / "out.mp4")
    np.testing.assert_allclose([second for _, second in shown], np.arange(25) / 10, atol=0.001)


@pytest.mark.usefixtures("jetson")
@pytest.mark.parametrize(
    ("encoder", "said"), [(ABSENT, "gst_parse_error: no element"), (SILENT, "gives no picture back")]
)
def test_a_jetson_without_an_encoder_says_why_it_takes_the_cores(
    monkeypatch: pytest.MonkeyPatch, encoder: GstEncoder, said: str
) -> None:
    monkeypatch.setattr(video_encoder, "JETSON", encoder)
    assert best_encoder().open is SoftwareMp4
    assert f"on processor cores ({encoder.element}: {said}" in best_encoder().note


def test_any_other_machine_is_not_asked_for_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    best_encoder.cache_clear()
    monkeypatch.setattr(video_encoder, "l4t_here", lambda: None)
    monkeypatch.setattr(video_encoder, "GstMp4", None)
    assert best_encoder().open is SoftwareMp4
    best_encoder.cache_clear()
