"""Sinks: whole files, full disks, changing sizes, no display."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError, MissingDependencyError, OutputError
from edgeyolo.frames import Result
from edgeyolo.show import (
    ImageFileSink,
    ImageFolderSink,
    JsonLinesSink,
    SummarySink,
    VideoSink,
    WindowSink,
)
from edgeyolo.show.video import video_codec
from tests.full_disk import full_disk_after
from tests.show.results import NAMES, result, two_boxes

cv2 = pytest.importorskip("cv2")


def test_json_lines_on_a_full_disk_end_with_a_whole_line(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl", NAMES)

    def write_many() -> None:
        for index in range(100):
            sink.write(result(index, output=two_boxes()))

    with full_disk_after(1000), pytest.raises(OutputError, match="cannot write"):
        write_many()
    sink.close()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(lines) >= 2
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


def test_json_lines_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        JsonLinesSink(tmp_path / "file" / "out.jsonl", NAMES)


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
    video_codec()  # the probe writes a file of its own
    with full_disk_after(100_000):
        sink = VideoSink(tmp_path / "out.mp4")
        for index in range(30):
            frame = result(index).frame
            sink.write(Result(frame=frame, output=Detections.empty(), picture_bgr=np.roll(noise, index)))
        with pytest.raises(OutputError, match="30 frames were given"):
            sink.close()
    assert not list(tmp_path.iterdir())


def test_no_frame_no_video(tmp_path: Path) -> None:
    VideoSink(tmp_path / "out.mp4").close()
    assert not list(tmp_path.iterdir())


def test_the_codec_is_chosen_with_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    video_codec.cache_clear()
    codec, reason = video_codec()
    assert codec in ("avc1", "mp4v")
    assert reason
    assert capfd.readouterr().err == ""  # what FFmpeg says while probing is not the user's trouble


def test_pictures_keep_their_names(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path / "out")
    for path in ("a/x.jpg", "b/x.jpg", "a/y.PNG"):
        sink.write(result(path=path, grey=90))
    sink.write(result(7))
    sink.close()
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["clip-000007.jpg", "x-2.jpg", "x.jpg", "y.PNG"]
    assert cv2.imread(str(tmp_path / "out" / "y.PNG")).tolist() == np.full((48, 64, 3), 90).tolist()


def test_a_source_picture_is_never_overwritten(tmp_path: Path) -> None:
    original = tmp_path / "x.jpg"
    original.write_bytes(b"precious")
    for sink in (ImageFolderSink(tmp_path), ImageFileSink(original)):
        with pytest.raises(ConfigError, match="a picture of the source"):
            sink.write(result(path=str(original)))
    assert original.read_bytes() == b"precious"


def test_a_picture_on_a_full_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = Result(
        frame=result().frame,
        output=Detections.empty(),
        picture_bgr=rng.integers(0, 256, (99, 99, 3), np.uint8),
    )
    with full_disk_after(1000), pytest.raises(OutputError, match="cannot write") as caught:
        ImageFileSink(tmp_path / "x.png").write(noisy)
    assert caught.value.hint == "free space, or write somewhere else"  # `run` has no -o
    assert not list(tmp_path.iterdir())


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingDependencyError, match="display") as raised:
        WindowSink(on_quit=lambda: None)
    assert raised.value.exit_code == 3
    assert "DISPLAY" not in os.environ


def test_the_summary_counts_by_class() -> None:
    sink = SummarySink(NAMES)
    sink.write(result(output=two_boxes()))
    twice = Detections(np.zeros((2, 4), np.float32), np.array([0.5, 0.4], np.float32), np.array([0, 0]))
    sink.write(result(output=twice))
    sink.write(result())
    header, *rows = sink.lines()
    assert header.split() == ["class", "found", "frames", "most", "at", "once", "best", "score"]
    assert [row.split() for row in rows] == [["car", "3", "2", "2", "0.50"], ["café", "1", "1", "1", "0.90"]]
    assert sink.frames == 3


def test_the_summary_of_nothing() -> None:
    assert list(SummarySink(NAMES).lines()) == ["nothing found in 0 frames"]
