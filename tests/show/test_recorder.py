"""Recordings: playable whatever happens, as long as what they show, in segments, within their room."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.errors import OutputError
from edgeyolo.frames import Result
from edgeyolo.show import RecorderSink, recorder
from edgeyolo.show.video_encoder import VideoEncoder
from tests.full_disk import full_disk_after
from tests.parts import PROJECT
from tests.show.results import result

cv2 = pytest.importorskip("cv2")
pytest.importorskip("av")


def live(index: int, at_s: float, *, wh: tuple[int, int] = (64, 48)) -> Result:
    """Give the result of a live frame that was captured at `at_s`; its grey tells it from the others."""
    return result(index, captured_at_s=at_s, wh=wh, grey=index * 8 % 256)


def noisy(index: int, at_s: float) -> Result:
    """Give one that no encoder makes small."""
    noise = np.random.default_rng(index).integers(0, 256, (240, 320, 3), np.uint8)
    return replace(live(index, at_s), picture_bgr=noise)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every frame wait for the encoder: a test gives them faster than a camera."""
    monkeypatch.setattr(recorder, "_WAITING", 10_000)


def record(sink: RecorderSink, results: Iterable[Result]) -> None:
    for one in results:
        sink.write(one)
    sink.close()
    sink.close()


def greys_and_seconds(path: Path) -> list[tuple[int, float]]:
    """Read a video with OpenCV: the mean grey of each picture, and the moment it is shown at."""
    capture = cv2.VideoCapture(str(path))
    found = []
    while (read := capture.read())[0]:
        found.append((round(read[1].mean()), capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3))
    capture.release()
    return found


def duration_s(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6


def frames_of(path: Path) -> list[int]:
    """Give the indexes of the frames in a recording of `live` ones, of which no two greys are close."""
    return [round(grey / 8) for grey, _ in greys_and_seconds(path)]


@pytest.mark.usefixtures("patient")
def test_a_recording_lasts_as_long_as_what_it_shows_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    moments = 5000.0 + np.concatenate([[0], np.cumsum(rng.uniform(0.02, 1.5, 29))])
    record(RecorderSink(tmp_path / "new" / "out.mp4", live=True), map(live, range(30), moments))
    shown = greys_and_seconds(tmp_path / "new" / "out.mp4")
    np.testing.assert_allclose([second for _, second in shown], moments - moments[0], atol=0.001)
    np.testing.assert_allclose([grey for grey, _ in shown], np.arange(30) * 8, atol=3)
    assert duration_s(tmp_path / "new" / "out.mp4") == pytest.approx(moments[-1] - moments[0], abs=1.5)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["out.mp4"]


@pytest.mark.usefixtures("patient")
def test_segments_hold_every_frame_once_and_are_named_by_their_first(tmp_path: Path) -> None:
    now = time.monotonic()
    zero = time.time() - now
    moments = now - 100 + np.arange(32) * 0.7
    record(RecorderSink(tmp_path / "out.mp4", live=True, segment_s=5), map(live, range(32), moments))
    files = sorted(tmp_path.glob("out-*.mp4"))
    assert [frames_of(path) for path in files] == [[*range(i, min(i + 8, 32))] for i in range(0, 32, 8)]
    for path, moment in zip(files, moments[::8], strict=True):
        stamp = time.mktime(time.strptime(path.stem, "out-%Y%m%dT%H%M%SZ")) - time.timezone
        assert stamp == pytest.approx(zero + moment, abs=1.1)


def test_segments_of_a_file_lose_nothing_and_are_named_by_its_time_line(tmp_path: Path) -> None:
    record(RecorderSink(tmp_path / "out.mp4", live=False, segment_s=1), map(result, range(60)))
    counts = {path.name: len(greys_and_seconds(path)) for path in sorted(tmp_path.glob("*.mp4"))}
    assert counts == {"out-00h00m00s.mp4": 25, "out-00h00m01s.mp4": 25, "out-00h00m02s.mp4": 10}


@pytest.mark.usefixtures("patient")
def test_a_camera_that_comes_back_with_another_size_gets_a_segment_of_that_size(tmp_path: Path) -> None:
    sizes = [(64, 48)] * 3 + [(32, 32)] * 2
    frames = [live(index, 10 + index, wh=wh) for index, wh in enumerate(sizes)]
    record(RecorderSink(tmp_path / "out.mp4", live=True, segment_s=60), frames)
    assert sorted(len(greys_and_seconds(path)) for path in tmp_path.glob("*.mp4")) == [2, 3]
    record(RecorderSink(tmp_path / "one.mp4", live=True), frames)
    assert len(greys_and_seconds(tmp_path / "one.mp4")) == 5


@pytest.mark.usefixtures("patient")
def test_the_oldest_segments_go_and_nobody_elses_files(tmp_path: Path) -> None:
    others = ("out.mp4", "out-20200101T000000Z.mp4", "other-20200101T000000Z.mp4", "notes.txt")
    for name in others:
        (tmp_path / name).write_bytes(bytes(1_000_000))

    def ours_after_a_run_from(start_s: float) -> set[Path]:
        sink = RecorderSink(tmp_path / "out.mp4", live=True, segment_s=1, max_bytes=900_000)
        record(sink, (noisy(index, start_s + index / 5) for index in range(30)))
        ours = {path for path in tmp_path.glob("out-*.mp4") if path.name not in others}
        assert 400_000 < sum(path.stat().st_size for path in ours) <= 900_000
        return ours

    now = time.monotonic()
    first = ours_after_a_run_from(now - 100)
    second = ours_after_a_run_from(now - 50)
    assert not first & second  # those of earlier runs count, too
    assert all((tmp_path / name).stat().st_size == 1_000_000 for name in others)
    assert len(greys_and_seconds(max(second))) == 5  # the newest is whole


_KILLED = """
import sys
from pathlib import Path
from tests.show.test_recorder import noisy
from edgeyolo.show import RecorderSink
sink = RecorderSink(Path(sys.argv[1]), live=False, segment_s=float(sys.argv[2]) or None)
for index in range(10**6):
    sink.write(noisy(index, 0))  # waits for the encoder, up to ten frames behind
    print(index, flush=True)
"""


def killed_recording(folder: Path, segment_s: float) -> list[Path]:
    """Kill a process when it has recorded 200 frames, 8 seconds, and give its files."""
    command = [sys.executable, "-c", _KILLED, folder / "out.mp4", str(segment_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "200":
                break
        os.kill(process.pid, signal.SIGKILL)
    return sorted(folder.glob("out*.mp4"))


# Of 200 frames ten may wait for the encoder, and a fragment is a second.
LEAST = 200 - 10 - 30


@pytest.mark.parametrize("segment_s", [0, 3])
def test_a_killed_recording_plays(tmp_path: Path, segment_s: float) -> None:
    files = killed_recording(tmp_path, segment_s)
    assert len(files) == (3 if segment_s else 1)
    assert sum(len(greys_and_seconds(path)) for path in files) >= LEAST
    assert sum(duration_s(path) for path in files) > 6


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_plays_a_killed_recording(tmp_path: Path) -> None:
    (path,) = killed_recording(tmp_path, 0)
    told = subprocess.run(
        ["ffprobe", "-v", "quiet", "-count_frames", "-show_streams", "-of", "json", path],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    (stream,) = json.loads(told.stdout)["streams"]
    assert int(stream["nb_read_frames"]) >= LEAST
    assert float(stream["duration"]) > 6


@pytest.mark.needs("ffmpeg")
@pytest.mark.usefixtures("patient")
def test_ffmpeg_finds_no_fault_in_a_recording(tmp_path: Path) -> None:
    record(RecorderSink(tmp_path / "out.mp4", live=True), (noisy(i, 50 + i / 10) for i in range(60)))
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", tmp_path / "out.mp4"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    (stream,) = json.loads(told.stdout)["streams"]
    assert told.stderr == ""
    assert (stream["codec_name"], stream["nb_read_frames"]) == ("h264", "60")
    assert float(stream["duration"]) == pytest.approx(6, abs=0.2)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("segment_s", [None, 1])
def test_a_full_disk_stops_a_live_recording_with_one_message_until_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, segment_s: float | None
) -> None:
    monkeypatch.setattr(recorder, "_TRY_AGAIN_AFTER_S", 0.0)
    room = threading.Event()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage if room.is_set() else usage._replace(free=0))
    sink = RecorderSink(tmp_path / "out.mp4", live=True, segment_s=segment_s)
    with full_disk_after(150_000):
        for index in range(80):
            sink.write(noisy(index, 10 + index / 25))
        _wait_until(lambda: sink.dropped)
        (torn,) = tmp_path.glob("*.mp4")
        _wait_until(lambda: sink.dropped + len(greys_and_seconds(torn)) >= 79)
    room.set()
    for index in range(80, 90):
        sink.write(noisy(index, 10 + index / 25))
    sink.close()
    files = sorted(tmp_path.glob("*.mp4"), key=lambda path: path.stat().st_mtime)
    assert files[0] == torn
    before, after = (len(greys_and_seconds(path)) for path in files)
    assert after == 10
    assert before + sink.dropped == pytest.approx(80, abs=1)  # players differ about a torn picture
    stopped, again = (one.getMessage() for one in caplog.records)
    assert stopped.startswith(f"cannot write {files[0]}: File too large; recording stops there")
    assert again.startswith(f"{files[1]}: recorded again")


def _wait_until(true: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_a_full_disk_ends_the_segments_of_a_file(tmp_path: Path) -> None:
    sink = RecorderSink(tmp_path / "out.mp4", live=False, segment_s=10)
    with full_disk_after(150_000), pytest.raises(OutputError, match="File too large"):
        record(sink, (noisy(index, 0) for index in range(100)))
    sink.close()


class _Stuck:
    """An encoder that takes no picture until it may."""

    may = threading.Event()

    def __init__(self, path: Path, size_wh: tuple[int, int], *, fps: float, recording: bool) -> None:
        self.written = 0

    def write(self, picture_bgr: object, time_s: float) -> None:
        self.may.wait()

    def close(self) -> None:
        pass


def test_a_live_camera_never_waits_for_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "best_encoder", lambda: VideoEncoder(_Stuck, "stuck"))
    monkeypatch.setattr(recorder, "_CLOSE_S", 0.1)
    sink = RecorderSink(tmp_path / "out.mp4", live=True, hurry=lambda: True)
    for index in range(200):
        sink.write(live(index, index / 25))  # would wait for ever
    assert 180 <= sink.dropped < 200
    assert f"{sink.dropped} frames are not in it" in sink.notes[0]
    assert caplog.text.count("the encoder is behind") == 1
    sink.close()
    sink.close()
    assert caplog.text.count("did not finish in time") == 1
    _Stuck.may.set()


def test_no_frame_no_recording(tmp_path: Path) -> None:
    RecorderSink(tmp_path / "out.mp4", live=True, segment_s=5).close()
    assert not list(tmp_path.iterdir())
