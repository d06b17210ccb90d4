"""A video file, frame by frame.

Owns opening and decoding with OpenCV, and telling a file that ends from one that breaks: OpenCV reports
both as "no more frames". Refuses to drop, scale or rate-limit frames.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import SourceError, SourceOpenError
from edgeyolo.frames import Frame
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["VideoSource"]

_log = logging.getLogger(__name__)

# Containers store nonsense such as 90000 (a time base) or 0 (unknown) where no rate is known.
_FPS_LIMITS = (0.1, 1000.0)
# Without a rate, a time line is needed all the same; this is the rate players assume too.
_ASSUMED_FPS = 25.0
# A container's count is an estimate from its duration: being short by these is no damage.
_SHORT_FRAMES = 2
_SHORT_SHARE = 0.01
_MAX_COUNT = 1 << 31


class VideoSource:
    """A `edgeyolo.frames.Source` of a video file; several iterations decode it again.

    Args:
        path: The file.

    Raises:
        SourceOpenError: It is absent, empty, or no video that this OpenCV can decode.
        MissingDependencyError: OpenCV is absent.
    """

    live = False
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_file(path)
        self._cv2 = require("cv2", why="to read a video")
        self._capture: Any = self._open()
        fps = self._capture.get(self._cv2.CAP_PROP_FPS)
        self._fps = float(fps) if _FPS_LIMITS[0] <= fps <= _FPS_LIMITS[1] else None  # False for nan
        count = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        self._count = int(count) if 0 < count < _MAX_COUNT else None

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def fps(self) -> float | None:
        """Frames a second, where the container says something sensible."""
        return self._fps

    @property
    def frame_count(self) -> int | None:
        """The container's estimate, where it has one."""
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames in order.

        Raises:
            SourceError: Not one frame can be decoded.
        """
        capture = self._capture if self._capture is not None else self._open()
        self._capture = capture
        index, time_s = 0, 0.0
        try:
            while (image := self._read(capture, index)) is not None:
                reported_s = capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
                time_s = self._time_of(index, reported_s, time_s)
                yield Frame(
                    image_bgr=image,
                    source=self.name,
                    index=index,
                    time_s=time_s,
                    captured_at_s=time.monotonic(),
                )
                index += 1
        finally:
            self.close()
        self._check_end(index)

    def close(self) -> None:
        """Free the decoder; twice is harmless."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _open(self) -> Any:
        # The file back ends by name: "any" would also try to read it as a numbered series of images.
        for backend in (self._cv2.CAP_FFMPEG, self._cv2.CAP_GSTREAMER):
            capture = self._cv2.VideoCapture(str(self._path), backend)
            if capture.isOpened():
                return capture
            capture.release()
        raise SourceOpenError(
            f"{self._path}: OpenCV {self._cv2.__version__} cannot open it as a video: damaged, cut, or of a "
            "format or codec that this OpenCV does not have",
            hint=f"ffmpeg -i {self._path} again.mp4   (says what is wrong, or mends it)",
        )

    def _read(self, capture: Any, index: int) -> npt.NDArray[np.uint8] | None:
        try:
            good, image = capture.read()
        except self._cv2.error as exc:
            raise SourceError(f"{self._path}: frame {index} cannot be decoded: {exc}") from exc
        return image if good else None

    def _time_of(self, index: int, reported_s: float, before_s: float) -> float:
        """Trust the container's time stamp as long as time advances; else count frames."""
        if math.isfinite(reported_s) and reported_s >= 0 and (index == 0 or reported_s > before_s):
            return float(reported_s)
        return before_s + 1 / (self._fps or _ASSUMED_FPS) if index else 0.0

    def _check_end(self, index: int) -> None:
        if index == 0:
            raise SourceError(
                f"{self._path}: it opens as a video, and not one frame can be decoded",
                hint=f"ffmpeg -i {self._path} again.mp4   (says what is wrong)",
            )
        if self._count and index < self._count - max(_SHORT_FRAMES, _SHORT_SHARE * self._count):
            _log.warning(
                "%s: decoding ended after %d of about %d frames: the file is cut or damaged",
                self._path,
                index,
                self._count,
            )


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as exc:
        raise SourceOpenError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if not start:
        raise SourceOpenError(f"{path}: a video expected, an empty file (0 bytes) found")
    if start.lstrip().startswith(b"<"):
        raise SourceOpenError(
            f"{path}: a video expected, a text page (HTML or XML) found", hint="download the video itself"
        )
