"""``edgeyolo run`` on real cameras, from the command line: what it finds, says, and never shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeyolo.build import build
from tests import tiny_models
from tests.camera.rtsp_process import RtspServer
from tests.camera.web_camera import web_camera
from tests.command import edgeyolo

pytestmark = pytest.mark.needs("rtsp-server", "onnx", "onnxruntime", "opencv")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_detector(folder / "m.onnx", batch=None), folder / "m.engine")
    return folder / "m.engine"


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with RtspServer("--login", "zqme:zq55qz") as running:
        yield running


def test_two_cameras_in_one_run(engine: Path, server: RtspServer) -> None:
    with web_camera(login="zqme:zq55qz") as camera:
        done = edgeyolo(
            "run", engine, f"yard={server.url(login='zqme:zq55qz')}",
            f"door=http://zqme:zq55qz@127.0.0.1:{camera.port}/video?token=zqtoken#flip=cw",
            "--frames", "5", "--jsonl", "-",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(line["camera"], line["width"], line["height"]) for line in lines} == {
        ("yard", 320, 240), ("door", 240, 320),
    }  # fmt: skip
    assert {line["source"] for line in lines} == {
        f"rtsp://127.0.0.1:{server.port}/cam",
        f"http://127.0.0.1:{camera.port}/video?token=***",
    }
    assert "H.264 decoded by" in done.stderr
    assert "MJPEG decoded by" in done.stderr
    assert "zq" not in done.stdout + done.stderr


@pytest.mark.parametrize("query", ["", "?backend=opencv"])
def test_a_wrong_password(engine: Path, server: RtspServer, query: str) -> None:
    done = edgeyolo("run", engine, server.url(login="zqme:zqwrong", query=query))
    assert done.returncode == 2
    assert "the camera refuses this user and password (401)" in done.stderr
    assert "zq" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_camera_that_is_not_there(engine: Path) -> None:
    done = edgeyolo("run", engine, "rtsp://zqme:zq55qz@127.0.0.1:1/cam", "--retries", "1")
    assert done.returncode == 2
    assert "nothing listens on port 1 of 127.0.0.1 (connection refused)" in done.stderr
    assert "zq" not in done.stderr
