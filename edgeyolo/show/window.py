"""Results in windows on this machine's screen, one a camera.

Owns the check that there is a screen, and the keys: q or Escape quits, space pauses, s takes a snapshot,
+ and - change the least score of a box. Must be used from one thread (Qt's and macOS's rule).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import ConfigError, MissingDependencyError, OutputError
from edgeyolo.files import write_bytes
from edgeyolo.frames import Result
from edgeyolo.live import Control
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["WindowSink"]

_log = logging.getLogger(__name__)

_KEYS = "q: quit, space: pause, s: snapshot, +/-: threshold"
_ESCAPE = 27
_QUIT, _PAUSE, _SNAPSHOT, _MORE, _LESS = (*b"q", _ESCAPE), (*b" ",), (*b"s",), (*b"+=",), (*b"-_",)
_STEP = 0.05
_PAUSED_MS = 30
_MESSAGE_S = 2.0
_FONTS = "/usr/share/fonts"
_HINT = "without a screen: --save out.mp4 or --jsonl -"


class WindowSink:
    """An `edgeyolo.frames.IdleSink` that shows pictures as they come.

    A paused file waits. A paused live camera goes on, and its picture stands still.

    Args:
        control: The run, which the keys steer.
        cameras: Camera to whether it is live and does not wait.
        folder: Where snapshots go.

    Raises:
        MissingDependencyError: There is no display, or this OpenCV was built without windows.
    """

    wants_picture = True

    def __init__(self, control: Control, cameras: Mapping[str, bool], *, folder: Path | str = Path()) -> None:
        self._control = control
        self._cameras = dict(cameras)
        self._folder = Path(folder)
        self._cv2 = _opencv_with_a_display()
        self._titles = {camera: f"EdgeYOLO {camera} ({_KEYS})" for camera in cameras}
        if len(cameras) == 1:
            self._titles = dict.fromkeys(cameras, f"EdgeYOLO ({_KEYS})")
        self._shown: dict[str, npt.NDArray[np.uint8]] = {}
        self._paused = False
        self._message, self._message_until_s = "", 0.0
        # Before the first frame, and before PyAV is loaded: OpenCV's windows hang in PyAV's libxcb.
        for title in self._titles.values():
            self._open(title)

    def write(self, result: Result) -> None:
        """Show one picture and look at the keys."""
        assert result.picture_bgr is not None, "a sink that wants pictures was given none"
        camera = result.frame.camera
        if camera not in self._shown:
            height, width = result.picture_bgr.shape[:2]
            self._cv2.resizeWindow(self._titles[camera], width, height)
        if not self._paused:
            self._shown[camera] = result.picture_bgr
            self._show(camera)
        self._look(1)
        while self._paused and not self._cameras[camera] and not self._control.stopping:
            self._look(_PAUSED_MS)

    def idle(self) -> None:
        """Look at the keys while no frame comes."""
        self._look(1)

    def close(self) -> None:
        """Close the windows; twice is harmless."""
        if self._titles:
            self._titles.clear()
            self._cv2.destroyAllWindows()

    def _open(self, title: str) -> None:
        try:
            self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)
        except self._cv2.error as exc:
            raise MissingDependencyError(
                "--show: this OpenCV was built without windows (opencv-python-headless?)",
                hint=f"pip install opencv-python, or {_HINT}",
            ) from exc

    def _show(self, camera: str) -> None:
        words = ["paused"] if self._paused else []
        if time.monotonic() < self._message_until_s:
            words.append(self._message)
        picture = self._shown[camera]
        self._cv2.imshow(
            self._titles[camera], self._with_text(picture, "  ".join(words)) if words else picture
        )

    def _look(self, wait_ms: int) -> None:
        """Let the windows live for a moment, and do what a key asks for."""
        key = self._cv2.waitKey(wait_ms) & 0xFF
        visible = self._cv2.WND_PROP_VISIBLE
        closed = any(self._cv2.getWindowProperty(title, visible) < 1 for title in self._titles.values())
        if closed or key in _QUIT:
            self._paused = False
            self._control.stop()
        elif key in _PAUSE:
            self._paused = not self._paused
            self._show_all()
        elif key in _SNAPSHOT:
            self._snapshot()
        elif key in (*_MORE, *_LESS):
            self._change_threshold(_STEP if key in _MORE else -_STEP)

    def _change_threshold(self, step: float) -> None:
        conf = self._control.status().conf
        try:
            conf = 0.0 if conf is None else min(0.95, max(_STEP, round(conf + step, 2)))
            self._control.set_conf(conf)
        except ConfigError as exc:  # a classifier
            self._say(exc.message)
        else:
            self._say(f"threshold {conf:.2f}")

    def _snapshot(self) -> None:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        for camera, picture in self._shown.items():
            path = self._folder / f"snapshot-{camera}-{stamp}.png"
            try:
                write_bytes(path, self._cv2.imencode(".png", picture)[1].tobytes())
            except OutputError as exc:
                _log.warning("%s", exc)
                self._say(exc.message)
            else:
                _log.warning("%s", path)
                self._say(path.name)

    def _say(self, message: str) -> None:
        self._message, self._message_until_s = message, time.monotonic() + _MESSAGE_S
        self._show_all()

    def _show_all(self) -> None:
        for camera in self._shown:
            self._show(camera)

    def _with_text(self, picture: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.uint8]:
        cv2, picture = self._cv2, picture.copy()  # others are given the same picture
        for colour, thickness in ((0, 0, 0), 4), ((255, 255, 255), 1):
            cv2.putText(picture, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA)
        return picture


def _opencv_with_a_display() -> Any:
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        # Asked before OpenCV is: its Qt ends the whole process when there is no display.
        raise MissingDependencyError(
            "--show needs a display; DISPLAY and WAYLAND_DISPLAY are not set", hint=_HINT
        )
    cv2 = require("cv2", why="to show a window")
    if not Path(os.environ.get("QT_QPA_FONTDIR", _FONTS)).is_dir() and Path(_FONTS).is_dir():
        # The wheel names a folder that it does not have, and its Qt says so again and again.
        os.environ["QT_QPA_FONTDIR"] = _FONTS
    return cv2
