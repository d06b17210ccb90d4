"""The window on a real display (Xvfb): what it shows, and its keys pressed by xdotool."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from edgeyolo.errors import MissingDependencyError
from edgeyolo.show import WindowSink
from tests.parts import PROJECT, require_part

T = TypeVar("T")

cv2 = pytest.importorskip("cv2")

# A window in a process of its own: Qt wants the main thread. What happens is told on stdout.
_APP = """
import sys, time
from types import SimpleNamespace
from edgeyolo.show import WindowSink
from tests.show.results import result

class Run:
    conf, stopping = 0.25, False
    def status(self):
        return SimpleNamespace(conf=self.conf)
    def set_conf(self, conf):
        self.conf = conf
        print("conf", conf, flush=True)
    def stop(self):
        self.stopping = True

live = {camera: kind == "live" for camera, kind in (word.split("=") for word in sys.argv[2:])}
run = Run()
window = WindowSink(run, live, folder=sys.argv[1])
print("ready", flush=True)
for index in range(6000):
    for camera in live:
        window.write(result(index, camera=camera, wh=(320, 240), grey=100))
    window.idle()
    if run.stopping:
        break
    print("frame", index, flush=True)
    time.sleep(0.02)
window.close()
window.close()
print("end", flush=True)
"""


class App:
    """The process, and what it told so far."""

    def __init__(self, display: str, folder: Path, *cameras: str) -> None:
        self._display = display
        self._process = subprocess.Popen(
            [sys.executable, "-c", _APP, folder, *cameras],
            cwd=PROJECT, env={**os.environ, "DISPLAY": display}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> App:
        self.wait_for("frame 3")
        self.windows = self._xdotool("search", "--sync", "--onlyvisible", "--name", "EdgeYOLO").split()
        self._xdotool("windowfocus", "--sync", self.windows[0])
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def press(self, key: str) -> None:
        self._xdotool("key", key)

    def titles(self) -> set[str]:
        return {self._xdotool("getwindowname", window).strip() for window in self.windows}

    def wait_for(self, word: str) -> str:
        """Give the first line that begins with a word, as soon as it is told."""
        return wait_until(lambda: next((line for line in self.told if line.startswith(word)), None))

    def frames(self) -> int:
        return sum(line.startswith("frame") for line in list(self.told))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(line.strip())

    def _xdotool(self, *words: str) -> str:
        env = {**os.environ, "DISPLAY": self._display}
        return subprocess.run(
            ["xdotool", *words], env=env, check=True, capture_output=True, text=True, timeout=60
        ).stdout


def wait_until(found: Callable[[], T | None]) -> T:
    ends_s = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < ends_s
        time.sleep(0.01)
    return value


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """Give a screen of our own."""
    require_part("xvfb")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
        server.terminate()


def test_the_keys_of_a_window(display: str, tmp_path: Path) -> None:
    with App(display, tmp_path, "0=live") as app:
        assert app.titles() == {"EdgeYOLO (q: quit, space: pause, s: snapshot, +/-: threshold)"}
        app.press("plus")
        app.wait_for("conf 0.3")
        app.press("minus")
        app.wait_for("conf 0.25")
        app.press("s")
        (snapshot,) = wait_until(lambda: list(tmp_path.glob("snapshot-*.png")))
        assert snapshot.name.startswith("snapshot-0-")
        assert cv2.imread(str(snapshot)).tolist() == np.full((240, 320, 3), 100).tolist()
        app.press("q")
        app.wait_for("end")


def test_escape_quits(display: str, tmp_path: Path) -> None:
    with App(display, tmp_path, "0=live") as app:
        app.press("Escape")
        app.wait_for("end")


def test_a_paused_file_waits(display: str, tmp_path: Path) -> None:
    with App(display, tmp_path, "0=file") as app:
        app.press("space")
        # Two looks apart by more than a frame's time tell the same number once it waits.
        wait_until(lambda: _stands(app))
        app.press("space")
        at = app.frames()
        wait_until(lambda: app.frames() > at + 5)
        app.press("space")
        wait_until(lambda: _stands(app))
        app.press("q")  # quits from the pause
        app.wait_for("end")


def _stands(app: App) -> bool:
    at = app.frames()
    time.sleep(0.5)
    return app.frames() == at


def test_a_paused_live_camera_goes_on(display: str, tmp_path: Path) -> None:
    with App(display, tmp_path, "0=live") as app:
        app.press("space")
        at = app.frames()
        wait_until(lambda: app.frames() > at + 20)
        app.press("q")
        app.wait_for("end")


def test_a_window_a_camera(display: str, tmp_path: Path) -> None:
    with App(display, tmp_path, "front=live", "back=file") as app:
        assert {title.split(" (")[0] for title in app.titles()} == {"EdgeYOLO front", "EdgeYOLO back"}
        app.press("s")
        found = wait_until(lambda: (f := list(tmp_path.glob("snapshot-*.png"))) and len(f) == 2 and f)
        assert {path.name.split("-")[1] for path in found} == {"front", "back"}
        app.press("q")
        app.wait_for("end")


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingDependencyError, match="display") as raised:
        WindowSink(None, {"0": True})  # type: ignore[arg-type]
    assert raised.value.exit_code == 3
