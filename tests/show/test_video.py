"""The video of a source that ends: whole or not at all, every frame in it, playable everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.errors import OutputError
from edgeyolo.show import VideoSink
from tests.full_disk import full_disk_after
from tests.show.results import result

cv2 = pytest.importorskip("cv2")
pytest.importorskip("av")


def _frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def test_a_video_appears_when_it_is_finished(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", fps=12.5)
    for index in range(10):
        sink.write(result(index, grey=20 * index))
    assert not (tmp_path / "out.mp4").exists()
    sink.close()
    sink.close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    frames = _frames_of(tmp_path / "out.mp4")
    np.testing.assert_allclose([f.mean() for f in frames], 20 * np.arange(10), atol=4)
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_frames_of_other_sizes_are_scaled_into_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    for wh in ((64, 48), (200, 50), (10, 300), (64, 48)):
        sink.write(result(wh=wh, grey=200))
    sink.close()
    frames = _frames_of(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert frames[1][24, 32].mean() == pytest.approx(200, abs=10)  # 64x16 in the middle
    assert frames[1][4, 32].mean() == pytest.approx(0, abs=10)
    assert caplog.text.count("another size") == 1


def test_a_video_with_odd_sizes(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    for _ in range(3):
        sink.write(result(wh=(65, 47)))
    sink.close()
    assert len(_frames_of(tmp_path / "out.mp4")) == 3


def test_a_video_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (240, 320, 3), np.uint8)

    def write_until_full(sink: VideoSink) -> None:
        for index in range(300):
            sink.write(replace(result(index), picture_bgr=np.roll(noise, index)))

    with full_disk_after(100_000):
        sink = VideoSink(tmp_path / "out.mp4")
        with pytest.raises(OutputError, match=r"cannot write .*/out\.mp4: File too large"):
            write_until_full(sink)
        sink.close()
    assert not list(tmp_path.iterdir())


def test_no_frame_no_video(tmp_path: Path) -> None:
    VideoSink(tmp_path / "out.mp4").close()
    assert not list(tmp_path.iterdir())
