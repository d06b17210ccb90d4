"""``run``, ``build`` and ``bench`` as a user has them: files, streams, signals, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.errors import ConfigError, EdgeYoloError, SourceError
from edgeyolo.pipeline.run import RunConfig, run
from edgeyolo.pipeline.sinks import SinkConfig
from tests import tiny_models
from tests.command import COMMAND, edgeyolo

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
cv2 = pytest.importorskip("cv2")

RED, GREEN, BLUE, BLACK = (0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 0, 0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_detector(folder / "m.onnx"), folder / "m.engine")
    return folder / "m.engine"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_classifier(folder / "c.onnx"), folder / "c.engine")
    return folder / "c.engine"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 30 frames: the red quarter moves from frame to frame."""
    path = tmp_path_factory.mktemp("video") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for index in range(30):
        quarters = [BLACK] * 4
        quarters[index % 4] = RED
        writer.write(tiny_models.picture(*quarters))
    writer.release()
    return path


def _frames_in(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_video_to_a_video_and_json_lines(engine: Path, video: Path, tmp_path: Path) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    report = run(
        RunConfig(engine=engine, sources=[str(video)], sinks=SinkConfig(save=save, jsonl=jsonl), conf=0.6)
    )
    assert report.loop.frames == 30
    assert not report.interrupted
    assert _frames_in(save) == 30
    lines = _lines(jsonl)
    assert [line["frame"] for line in lines] == list(range(30))
    for index, line in enumerate(lines):
        (found,) = line["detections"]  # type: ignore[misc]
        assert found["label"] == "red"
        expected = 2 * np.array(tiny_models.QUARTERS[index % 4])
        np.testing.assert_allclose(found["box"], expected, atol=0.01)
    assert any(note.startswith(f"{save}: ") for note in report.notes)


def test_a_folder_to_a_folder(engine: Path, tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"p{index}.png"), tiny_models.picture(RED))
    run(RunConfig(engine=engine, sources=[str(tmp_path)], sinks=SinkConfig(save=tmp_path / "out"), frames=2))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["p0.png", "p1.png"]
    drawn = cv2.imread(str(tmp_path / "out" / "p0.png"))
    assert (drawn != tiny_models.picture(RED)).any()


def test_an_image_to_an_image(engine: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), tiny_models.picture(RED))
    run(
        RunConfig(engine=engine, sources=[str(tmp_path / "p.png")], sinks=SinkConfig(save=tmp_path / "q.jpg"))
    )
    assert cv2.imread(str(tmp_path / "q.jpg")).shape == (64, 64, 3)


def test_a_classifier(classifier: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), tiny_models.picture(BLUE))
    done = edgeyolo("run", classifier, tmp_path / "p.png", "--jsonl", "-", "--save", tmp_path / "q.png")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    best, *others = json.loads(line)["classification"]
    assert best["label"] == "blue"
    assert len(others) == 2
    assert "blue" in done.stderr  # the summary is not mixed with the JSON lines
    assert (tmp_path / "q.png").exists()


def test_a_summary_by_default(engine: Path, video: Path) -> None:
    done = edgeyolo("run", engine, video, "--conf", "0.6", "--classes", "red,green")
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split()[0] == "class"
    assert row.split()[:4] == ["red", "30", "30", "1"]
    assert "30 frames in " in done.stderr
    assert " FPS" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--classes", "read"], 2, "did you mean red"),
        (["--classes", ","], 2, "none found"),
        (["--conf", "2"], 2, "0..1 expected"),
        (["--frames", "0"], 2, "1 or more expected"),
        (["--save", "x.gif"], 2, "'.gif' found"),
        (["--save", "x.png"], 2, "one image, and the source has 30 frames"),
        (["--show"], 3, "display"),
        (["--jsonl", "/dev/null/x.jsonl"], 1, "cannot write"),
    ],
)
def test_options_that_are_refused(
    words: list[str], code: int, text: str, engine: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = edgeyolo("run", engine, video, *words)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("option", ["--conf", "--iou"])
def test_a_detectors_option_for_a_classifier(option: str, classifier: Path, video: Path) -> None:
    done = edgeyolo("run", classifier, video, option, "0.5")
    assert done.returncode == 2
    assert "is a classifier" in done.stderr


@pytest.mark.parametrize("option", ["save", "jsonl"])
def test_the_source_is_never_overwritten(option: str, engine: Path, video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "v.mp4"
    copy.write_bytes(video.read_bytes())
    with pytest.raises(ConfigError, match="would overwrite the source"):
        run(RunConfig(engine=engine, sources=[str(copy)], sinks=SinkConfig(**{option: copy})))
    assert copy.read_bytes() == video.read_bytes()


def test_nothing_is_left_open_when_opening_fails(engine: Path, tmp_path: Path) -> None:
    """Unclosed files would be ResourceWarnings, which are errors here."""
    cv2.imwrite(str(tmp_path / "p.png"), tiny_models.picture(RED))
    for config in (
        RunConfig(engine=engine, sources=["nowhere"]),
        RunConfig(
            engine=engine,
            sources=[str(tmp_path)],
            sinks=SinkConfig(save=tmp_path / "a.xyz", jsonl=tmp_path / "o.jsonl"),
        ),
    ):
        with pytest.raises(EdgeYoloError):
            run(config)
    assert not (tmp_path / "o.jsonl").exists()


def test_a_source_that_breaks_leaves_what_was_seen(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(SourceError, match="none of its 2 images"):
        run(RunConfig(engine=engine, sources=[str(tmp_path)], sinks=SinkConfig(jsonl=tmp_path / "o.jsonl")))
    assert (tmp_path / "o.jsonl").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_files(number: signal.Signals, engine: Path, tmp_path: Path) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    words = ["run", str(engine), "test://", "--save", str(save), "--jsonl", str(jsonl)]
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (jsonl.exists() and jsonl.read_text().count("\n") >= 5):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    lines = _lines(jsonl)
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    assert _frames_in(save) == len(lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]


def test_handlers_are_as_before(engine: Path, video: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(RunConfig(engine=engine, sources=[str(video)], frames=1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_run_in_another_thread(engine: Path, video: Path) -> None:
    frames: list[int] = []
    config = RunConfig(engine=engine, sources=[str(video)])
    thread = threading.Thread(target=lambda: frames.append(run(config).loop.frames))
    thread.start()
    thread.join()
    assert frames == [30]


def test_a_reader_that_goes_away(engine: Path) -> None:
    words = ["run", str(engine), "test://", "--jsonl", "-"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 1
    process.stderr.close()
    assert "Traceback" not in errors


def test_progress_on_a_terminal(engine: Path, video: Path) -> None:
    controller, terminal = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "run", str(engine), str(video)], stderr=terminal, stdout=subprocess.PIPE, check=True
    )
    os.close(terminal)
    said = b""
    try:
        while piece := os.read(controller, 4096):
            said += piece
    except OSError:  # Linux says EIO when the other end is closed
        pass
    os.close(controller)
    assert b"FPS" in said
    assert b"ETA" in said
    assert b"ETA" not in done.stdout


def test_bench(engine: Path, video: Path) -> None:
    done = edgeyolo("bench", engine, "--source", video, "--frames", "40", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 40  # the video has 30: it begins again
    assert set(report["stage_ms"]) == {"capture", "preprocess", "infer", "postprocess", "draw", "latency"}
    for values in report["stage_ms"].values():
        assert 0 <= values["p50"] <= values["p90"] <= values["p99"]
    assert report["fps"] > 0
    assert report["peak_memory_mib"] > 10
    assert report["load_ms"] > 0
    text = edgeyolo("bench", engine, "--frames", "5").stdout
    assert "p50" in text
    assert "test://" in text
    assert edgeyolo("bench", engine, "--frames", "0").returncode == 2


def test_bench_of_pictures_that_cannot_be_read(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    done = edgeyolo("bench", engine, "--source", tmp_path / "a.png")
    assert done.returncode == 2
    assert "a.png" in done.stderr


def test_build_on_the_command_line(tmp_path: Path) -> None:
    model = tiny_models.write_detector(tmp_path / "m.onnx")
    done = edgeyolo("build", model, "-o", tmp_path / "m.engine")
    assert done.returncode == 0
    assert "backend onnxruntime: " in done.stderr
    assert "onnxruntime fp32, detect 32x32" in done.stdout
    refused = edgeyolo("build", model, "-o", tmp_path / "t.engine", "--backend", "tensorrt")
    assert refused.returncode == 3
    assert "TensorRT" in refused.stderr
    assert not (tmp_path / "t.engine").exists()
    assert edgeyolo("build", model, "-o", tmp_path / "t.engine", "--precision", "int8").returncode == 2
    assert edgeyolo("build", tmp_path / "no.onnx", "-o", tmp_path / "t.engine").returncode == 2


def test_a_real_video_with_a_real_detector(shared_data: Path, tmp_path: Path) -> None:
    darknet = shared_data / "darknet"
    done = edgeyolo(
        "convert", darknet / "yolo-fastest-1.1.cfg", darknet / "yolo-fastest-1.1.weights",
        "--names", darknet / "coco.names", "-o", tmp_path / "m.onnx",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    build(tmp_path / "m.onnx", tmp_path / "m.engine")
    video = shared_data / "video" / "one-by-one-person-detection.mp4"
    report = run(
        RunConfig(
            engine=tmp_path / "m.engine",
            sources=[str(video)],
            sinks=SinkConfig(jsonl=tmp_path / "o.jsonl"),
            frames=200,
        )
    )
    assert report.loop.frames == 200
    labels = {d["label"] for line in _lines(tmp_path / "o.jsonl") for d in line["detections"]}  # type: ignore[attr-defined]
    assert "person" in labels


_CHATTY = """
import os
from edgeyolo.camera.synthetic import SyntheticSource
frames = SyntheticSource.__iter__
def chatty(source):
    os.write(1, b"GST_ARGUS: Running with following settings\\n")
    yield from frames(source)
SyntheticSource.__iter__ = chatty
from edgeyolo.cli.main import main
main()
"""


def test_what_libraries_print_is_not_among_json_lines(engine: Path) -> None:
    words = ["run", str(engine), "test://?frames=3", "--jsonl", "-"]
    done = subprocess.run(
        [sys.executable, "-c", _CHATTY, *words], capture_output=True, text=True, check=True, timeout=120
    )
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "GST_ARGUS" in done.stderr
