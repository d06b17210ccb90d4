"""Outputs of ``edgeyolo run`` as a user has them: segments, a file a camera, messages, kills, a full disk."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeyolo.build import build
from edgeyolo.rules import Rules, Zone, toml_from_rules
from tests import tiny_models
from tests.command import COMMAND, edgeyolo
from tests.show.test_recorder import duration_s, greys_and_seconds
from tests.show.test_window import display

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")
pytest.importorskip("av")

__all__ = ["display"]

SMALL = "test://?width=160&height=120&fps=25"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_detector(folder / "m.onnx"), folder / "m.engine")
    return folder / "m.engine"


def lines_of(*paths: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@contextmanager
def running(
    engine: Path, *words: object, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run ``edgeyolo run`` until the block ends."""
    command = [str(word) for word in (*COMMAND, "run", engine, *words)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(true: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_segments_and_rotated_lines_of_a_file(engine: Path, tmp_path: Path) -> None:
    done = edgeyolo(
        "run", engine, f"{SMALL}&frames=60", "--save", tmp_path / "out.mp4", "--segment", "1s",
        "--jsonl", tmp_path / "out.jsonl", "--jsonl-rotate", "2k", "--jsonl-keep", "99",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "H.264, encoded on processor cores" in done.stderr
    counts = {path.name: len(greys_and_seconds(path)) for path in tmp_path.glob("*.mp4")}
    assert counts == {"out-00h00m00s.mp4": 25, "out-00h00m01s.mp4": 25, "out-00h00m02s.mp4": 10}
    files = sorted(tmp_path.glob("out.jsonl*"), key=lambda path: int(path.suffix[1:].replace("jsonl", "0")))
    assert len(files) > 2
    assert [line["frame"] for line in lines_of(*reversed(files))] == list(range(60))


def test_several_cameras_have_a_file_each(engine: Path, tmp_path: Path) -> None:
    sources = [f"door={SMALL}&frames=7", f"{SMALL}&frames=9&seed=1"]
    done = edgeyolo("run", engine, *sources, "--save", tmp_path / "a.mp4", "--jsonl", tmp_path / "a.jsonl")
    assert done.returncode == 0, done.stderr
    counts = {path.name: len(greys_and_seconds(path)) for path in tmp_path.glob("*.mp4")}
    assert counts == {"a-door.mp4": 7, "a-1.mp4": 9}
    cameras = [line["camera"] for line in lines_of(tmp_path / "a.jsonl")]
    assert (cameras.count("door"), cameras.count("1")) == (7, 9)
    done = edgeyolo("run", engine, *sources, "--save", tmp_path / "found")
    assert done.returncode == 0, done.stderr
    assert {path.name: len(list(path.iterdir())) for path in (tmp_path / "found").iterdir()} == {
        "door": 7,
        "1": 9,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--segment", "10m"], "--save FILE.mp4 expected"),
        (["--segment", "10m", "--save", "found"], "--save FILE.mp4 expected"),
        (["--segment", "soon", "--save", "a.mp4"], "such as 30s, 10m or 1h expected, 'soon' found"),
        (["--segment", "0s", "--save", "a.mp4"], "'0s' found"),
        (["--max-size", "20G", "--save", "a.mp4"], "--segment expected"),
        (["--max-size", "20X", "--save", "a.mp4", "--segment", "1m"], "'20X' found"),
        (["--jsonl-rotate", "1M"], "--jsonl FILE expected"),
        (["--jsonl-rotate", "1M", "--jsonl", "-"], "--jsonl FILE expected"),
        (["--jsonl-keep", "0", "--jsonl", "a"], "1 or more expected"),
        (["--mqtt", "http://u:s3cret@h"], "mqtt:// or mqtts:// expected"),
        (["--webhook-pictures"], "--webhook URL"),
        (["--webhook", "http://h"], "--events FILE expected"),
    ],
)
def test_options_that_are_refused(words: list[str], said: str, engine: Path, tmp_path: Path) -> None:
    done = edgeyolo("run", engine, f"{SMALL}&frames=2", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_killed_run_leaves_segments_that_play(engine: Path, tmp_path: Path) -> None:
    save = [f"{SMALL}&frames=0", "--save", tmp_path / "out.mp4", "--segment", "2s"]
    with running(engine, *save) as process:
        # A file that was opened a moment ago is empty: there is nothing in it yet to survive.
        wait_until(lambda: len([p for p in tmp_path.glob("out-*.mp4") if p.stat().st_size]) > 3)
        process.kill()
    *whole, last = sorted(tmp_path.glob("out-*.mp4"))
    assert [len(greys_and_seconds(path)) for path in whole[:3]] == [50, 50, 50]
    assert duration_s(last) <= 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_recording_of_a_camera_lasts_as_long_as_the_run(
    engine: Path, tmp_path: Path, number: int
) -> None:
    save, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with running(engine, f"{SMALL}&frames=0&live=1", "--save", save, "--jsonl", jsonl) as process:
        wait_until(lambda: jsonl.exists() and len(lines_of(jsonl)) >= 75)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    times = [float(str(line["time_s"])) for line in lines_of(jsonl)]
    assert all("age_ms" in line for line in lines_of(jsonl))
    lost = duration_s(save) - (times[-1] - times[0])
    if number == signal.SIGTERM:
        assert process.returncode == 130, said
        assert lost == pytest.approx(0, abs=0.2)  # a frame's duration
    else:
        assert -1.5 < lost < 0.2  # the fragment of a second that was not written yet
    assert greys_and_seconds(save)


@pytest.mark.needs("mosquitto", "paho")
def test_messages_of_a_run_and_no_word_of_its_password(engine: Path, tmp_path: Path) -> None:
    from tests.show.test_mqtt import Broker, Listener

    broker = Broker(tmp_path, "allow_anonymous true")
    listener = Listener(broker.port, "site/#")
    done = edgeyolo(
        "run", engine, f"gate={SMALL}&frames=5", "--mqtt", f"mqtt://me:s3cret@127.0.0.1:{broker.port}/site"
    )
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    topics = [listener.next()[0] for _ in range(7)]
    assert topics == ["site/status", *["site/gate/detections"] * 5, "site/status"]
    listener.close()
    broker.stop()


def test_a_webhook_is_told_what_lines_tell(engine: Path, tmp_path: Path) -> None:
    from tests.show.test_webhook import Receiver

    (tmp_path / "secret").write_bytes(b"shared\n")
    rules, jsonl = tmp_path / "events.toml", tmp_path / "out.jsonl"
    rules.write_text(
        toml_from_rules(Rules(zones=(Zone(name="all", points=((0, 0), (1, 0), (1, 1), (0, 1))),)))
    )
    receiver = Receiver()
    url = f"http://me:s3cret@127.0.0.1:{receiver.port}/hook"
    done = edgeyolo(
        "run", engine, f"{SMALL}&frames=40", "--events", rules, "--jsonl", jsonl,
        "--webhook", url, "--webhook-secret-file", tmp_path / "secret", "--webhook-pictures",
        "--conf", "0.05",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stderr
    told = [event for line in lines_of(jsonl) for event in line.get("events", ())]  # type: ignore[attr-defined]
    assert told
    for event in told:
        _, headers, body = receiver.next()
        posted = json.loads(body)
        assert posted.pop("picture")
        assert posted.pop("source").startswith("test://")
        assert posted == event
        digest = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
        assert headers["X-EdgeYOLO-Signature"] == f"sha256={digest}"
    assert receiver.got.empty()
    receiver.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("a file system of 128 kB can be mounted by root only")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_stops_the_recording_of_a_camera_and_not_the_run(
    engine: Path, small_disk: Path, tmp_path: Path
) -> None:
    jsonl, save = tmp_path / "out.jsonl", small_disk / "out.mp4"
    source = "test://?width=640&height=480&fps=25&frames=0&live=1&cut=2"
    with running(engine, source, "--save", save, "--segment", "2s", "--jsonl", jsonl) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "cannot write" in line)
        at = len(lines_of(jsonl))
        wait_until(lambda: len(lines_of(jsonl)) > at + 30)  # detection goes on
        process.terminate()
        _, more = process.communicate(timeout=60)
    assert "No space left on device; recording stops there and is tried again" in said
    assert "cannot write" not in more  # said once
    assert "frames are not in it" in more
    assert process.returncode == 130
    assert all(greys_and_seconds(path) for path in small_disk.glob("*.mp4"))


def test_a_full_disk_ends_the_run_of_a_file_and_leaves_nothing(engine: Path, small_disk: Path) -> None:
    source = "test://?width=640&height=480&frames=0&cut=2"
    done = edgeyolo("run", engine, source, "--save", small_disk / "out.mp4")
    assert done.returncode == 1
    assert f"cannot write {small_disk / 'out.mp4'}: No space left on device" in done.stderr
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("more", [[], ["--save"]])
def test_a_window_that_is_paused_ends_with_a_signal(
    engine: Path, display: str, tmp_path: Path, more: list[str]
) -> None:
    """With ``--save`` PyAV is loaded, too, in whose libxcb OpenCV's windows can hang."""
    jsonl = tmp_path / "out.jsonl"
    words = ["--show", "--jsonl", jsonl, *(word for save in more for word in (save, tmp_path / "out.mp4"))]
    env = {**os.environ, "DISPLAY": display}
    with running(engine, f"{SMALL}&frames=0", *words, env=env) as process:
        wait_until(lambda: jsonl.exists() and len(lines_of(jsonl)) > 5)
        search = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "EdgeYOLO"]
        window = subprocess.run(search, env=env, check=True, capture_output=True, text=True).stdout.split()[0]
        subprocess.run(["xdotool", "windowfocus", "--sync", window, "key", "space"], env=env, check=True)
        wait_until(lambda: _stands(jsonl))
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    shown = len(lines_of(jsonl))
    if more:
        assert len(greys_and_seconds(tmp_path / "out.mp4")) == pytest.approx(shown, abs=1)


def _stands(jsonl: Path) -> bool:
    at = jsonl.stat().st_size
    time.sleep(0.5)
    return jsonl.stat().st_size == at
