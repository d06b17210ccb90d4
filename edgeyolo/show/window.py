"""Results in a window on this machine's screen.

Owns the check that there is a screen, and the keys. Must be used from one thread (Qt's and macOS's rule).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from edgeyolo.errors import MissingDependencyError
from edgeyolo.frames import Result
from edgeyolo.optional import require

__all__ = ["WindowSink"]

_TITLE = "EdgeYOLO (q: quit)"
_ESCAPE = 27
_HINT = "without a screen: --save out.mp4 or --jsonl -"


class WindowSink:
    """A `edgeyolo.frames.Sink` that shows pictures as they come.

    Args:
        on_quit: Called when the user presses q or Escape, or closes the window.

    Raises:
        MissingDependencyError: There is no display, or this OpenCV was built without windows.
    """

    wants_picture = True

    def __init__(self, on_quit: Callable[[], object]) -> None:
        self._on_quit = on_quit
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            # Asked before OpenCV is: its Qt ends the whole process when there is no display.
            raise MissingDependencyError(
                "--show needs a display; DISPLAY and WAYLAND_DISPLAY are not set", hint=_HINT
            )
        self._cv2 = require("cv2", why="to show a window")
        try:
            self._cv2.namedWindow(_TITLE, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)
        except self._cv2.error as exc:
            raise MissingDependencyError(
                "--show: this OpenCV was built without windows (opencv-python-headless?)",
                hint=f"pip install opencv-python, or {_HINT}",
            ) from exc
        self._open = True
        self._sized = False

    def write(self, result: Result) -> None:
        """Show one picture and look at the keys."""
        assert result.picture_bgr is not None, "a sink that wants pictures was given none"
        if not self._sized:
            height, width = result.picture_bgr.shape[:2]
            self._cv2.resizeWindow(_TITLE, width, height)
            self._sized = True
        self._cv2.imshow(_TITLE, result.picture_bgr)
        key = self._cv2.waitKey(1) & 0xFF
        closed = self._cv2.getWindowProperty(_TITLE, self._cv2.WND_PROP_VISIBLE) < 1
        if closed or key in (ord("q"), _ESCAPE):
            self._on_quit()

    def close(self) -> None:
        """Close the window; twice is harmless."""
        if self._open:
            self._open = False
            self._cv2.destroyAllWindows()
