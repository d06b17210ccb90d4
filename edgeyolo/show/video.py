"""The annotated video: an mp4 that appears whole when it is finished.

Owns the choice of a codec, the file's temporary name, and the proof that every frame got into it: OpenCV's
writer reports no error of any kind, a full disk included.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import OutputError
from edgeyolo.files import whole_file
from edgeyolo.frames import Result
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["VideoSink", "video_codec"]

_log = logging.getLogger(__name__)

# H.264 first: every browser plays it. The opencv-python wheels have no H.264 encoder (its licence), JetPack's
# and Debian's OpenCV have one. MPEG-4 part 2 is in all of them, and plays in players, not in browsers.
_CODECS = ("avc1", "mp4v")
_BROWSERS = "plays in browsers"
_PLAYERS = "plays in players, not in browsers"
_DEFAULT_FPS = 25.0
_STDERR = 2
_ADDRESS = r"\[(\S+) @ \w+\]"  # how FFmpeg begins a line: "[encoder @ 0x55aa]"


class VideoSink:
    """A `edgeyolo.frames.Sink` that writes annotated frames into an mp4.

    The file is written under a temporary name and appears when `close` has proved it. The first frame sets
    its size; a later one of another size is scaled into it with black bars, which is said once.

    Args:
        path: The file, ``.mp4``.
        fps: Frames a second; 25 where the source has no rate.

    Raises:
        OutputError: No codec of `_CODECS` works in this OpenCV.
    """

    wants_picture = True

    def __init__(self, path: Path | str, *, fps: float | None = None) -> None:
        self._path = Path(path)
        self._fps = fps or _DEFAULT_FPS
        self.codec, self.codec_reason = video_codec()
        self._cv2 = require("cv2", why="to write a video")
        self._stack: ExitStack | None = None
        self._writer: Any = None
        self._temporary: Path | None = None
        self._size_wh = (0, 0)
        self._count = 0
        self._said_fitted = False

    def write(self, result: Result) -> None:
        """Encode one frame.

        Raises:
            OutputError: The file cannot be made.
        """
        assert result.picture_bgr is not None, "a sink that wants pictures was given none"
        picture = result.picture_bgr
        if self._writer is None:
            self._begin((picture.shape[1], picture.shape[0]))
        elif (picture.shape[1], picture.shape[0]) != self._size_wh:
            picture = self._fitted(picture)
        self._writer.write(picture)
        self._count += 1

    def close(self) -> None:
        """Finish the file and give it its name; twice is harmless.

        Raises:
            OutputError: Not every frame is in the file, as when the disk is full; nothing is left behind.
        """
        if self._stack is None:
            return
        with self._stack:
            self._stack = None
            self._writer.release()
            self._prove()

    def _begin(self, size_wh: tuple[int, int]) -> None:
        with ExitStack() as stack:
            temporary = stack.enter_context(whole_file(self._path))
            code = self._cv2.VideoWriter_fourcc(*self.codec)
            writer = self._cv2.VideoWriter(str(temporary), self._cv2.CAP_FFMPEG, code, self._fps, size_wh)
            if not writer.isOpened():
                raise OutputError(
                    f"cannot write {self._path}: OpenCV does not begin a {self.codec} video of "
                    f"{size_wh[0]}x{size_wh[1]} at {self._fps:g} frames a second",
                    hint="--save FOLDER writes pictures instead",
                )
            self._writer, self._temporary, self._size_wh = writer, temporary, size_wh
            self._stack = stack.pop_all()

    def _fitted(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Scale a picture into the video's size, in the middle of black bars."""
        width, height = self._size_wh
        h, w = picture.shape[:2]
        if not self._said_fitted:
            self._said_fitted = True
            _log.warning("%s: frames of another size are scaled into %dx%d", self._path, width, height)
        gain = min(width / w, height / h)
        w, h = max(1, int(w * gain)), max(1, int(h * gain))
        x, y = (width - w) // 2, (height - h) // 2
        fitted = np.zeros((height, width, 3), np.uint8)
        fitted[y : y + h, x : x + w] = self._cv2.resize(picture, (w, h), interpolation=self._cv2.INTER_AREA)
        return fitted

    def _prove(self) -> None:
        """Count the frames that are in the file."""
        capture = self._cv2.VideoCapture(str(self._temporary), self._cv2.CAP_FFMPEG)
        found = int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found < self._count:
            raise OutputError(
                f"cannot write {self._path}: {self._count} frames were given to the encoder, {found} are in "
                "the file; is the disk full?",
                hint="free space or choose another --save",
            )


@functools.cache
def video_codec() -> tuple[str, str]:
    """Find the best codec that really encodes here.

    Returns:
        Its four characters, and the reason for the choice.

    Raises:
        OutputError: None works.
    """
    cv2 = require("cv2", why="to write a video")
    refused: list[str] = []
    for codec in _CODECS:
        said = _why_not(cv2, codec)
        if said is None:
            return codec, _BROWSERS if codec == _CODECS[0] else f"{_PLAYERS}: {'; '.join(refused)}"
        refused.append(f"{codec} {said}")
    raise OutputError(
        f"OpenCV {cv2.__version__} cannot encode {' or '.join(_CODECS)}: {'; '.join(refused)}",
        hint="--save FOLDER writes pictures instead",
    )


def _why_not(cv2: Any, codec: str) -> str | None:
    """Encode one small frame; give None where that worked, else what the encoder said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _stderr_into(folder / "said.txt"):
            path = str(folder / "probe.mp4")
            writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 25.0, (64, 64))
            opened = writer.isOpened()
            if opened:
                writer.write(np.zeros((64, 64, 3), np.uint8))
            writer.release()
            capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG) if opened else None
        if capture is not None and capture.read()[0]:
            return None
        said = (folder / "said.txt").read_text(errors="replace").strip()
    reason = re.sub(_ADDRESS, r"\1:", said.splitlines()[0]) if said else "no reason given"
    return f"does not encode here ({reason})"


@contextmanager
def _stderr_into(path: Path) -> Iterator[None]:
    """Send the process's stderr to a file: FFmpeg's libraries print there, past OpenCV and Python."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
