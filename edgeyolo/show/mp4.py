"""One mp4 file: pictures in, H.264 in an mp4 out.

Owns the container, its time line, and encoding on processor cores. PyAV does it: FFmpeg in this process, with
wheels for x86-64 and aarch64 that bring their own H.264 encoder, so that a laptop, a server and JetPack
make the same file. OpenCV's writer has none in its wheels, tells no error of any kind, knows constant rates
only and cannot write fragments; an ``ffmpeg`` process would be one more thing to install and to watch.

A recording is written in fragments of a second (``hybrid_fragmented``): whatever kills the process, the file
plays to within its last second. Closing it makes it an ordinary mp4.
Source: https://ffmpeg.org/ffmpeg-formats.html (mov, mp4, ismv: hybrid_fragmented, of FFmpeg 7.1)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Mp4Writer", "SoftwareMp4", "count_frames", "even", "fitted", "open_container", "pyav", "writing"]

TICK_S = Fraction(1, 90_000)  # the clock of MPEG: every usual frame rate is a whole number of its ticks
KEY_FRAME_EVERY_S = 2.0
_FRAGMENT_US = 1_000_000
_WHOLE = {"preset": "veryfast", "crf": "23"}
# Beside a live camera the cores belong to the detector: less than half the work, for up to 70 % more bytes.
# No picture is held back, so that all that was captured is in the file soon.
_RECORDING = {"preset": "ultrafast", "crf": "23", "tune": "zerolatency"}
# A picture looks as it is: without this, players guess BT.601 or BT.709 from its height.
_COLOURS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}


class Mp4Writer(Protocol):
    """One mp4 that is being written."""

    def write(self, picture_bgr: npt.NDArray[np.uint8], time_s: float) -> None:
        """Encode a picture of the size that was promised, shown from `time_s` on.

        Raises:
            OSError: It cannot be written, as when the disk is full.
        """

    def close(self) -> None:
        """Finish the file; twice is harmless.

        Raises:
            OSError: It cannot be finished.
        """


class SoftwareMp4:
    """An `Mp4Writer` that encodes on the processor cores.

    Args:
        path: The file, made now.
        size_wh: Pixels of each picture; H.264 has even sizes, so that an odd one is widened by a pixel.
        fps: Usual pictures a second.
        recording: Whether it is written so that it can be played at any moment.

    Raises:
        MissingDependencyError: PyAV is not here.
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], *, fps: float, recording: bool) -> None:
        self._av = pyav()
        self._path = path
        self._last = -1
        options = {**(_RECORDING if recording else _WHOLE), **_COLOURS}
        self._container = open_container(path, recording=recording)
        stream = self._container.add_stream("libx264", rate=_fraction(fps), options=options)
        stream.width, stream.height = (length + length % 2 for length in size_wh)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK_S
        stream.codec_context.gop_size = max(1, round(KEY_FRAME_EVERY_S * fps))
        self._stream = stream
        with writing(path):
            self._container.start_encoding()  # makes the file

    def write(self, picture_bgr: npt.NDArray[np.uint8], time_s: float) -> None:
        """Encode a picture, shown from `time_s` on."""
        frame = self._av.VideoFrame.from_ndarray(even(picture_bgr), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="itu709")
        self._last = max(self._last + 1, round(time_s / TICK_S))  # two pictures at one moment are two
        frame.pts, frame.time_base = self._last, TICK_S
        with writing(self._path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file; twice is harmless."""
        container, self._container = self._container, None
        if container is None:
            return
        with writing(self._path), container:
            if self._last >= 0:
                container.mux(self._stream.encode(None))


def pyav() -> Any:
    """Import PyAV.

    OpenCV comes first: both wheels bring a libxcb of their own, and OpenCV's windows hang for ever in PyAV's.
    Source: https://github.com/PyAV-Org/PyAV/issues/978, https://github.com/opencv/opencv/issues/29195

    Raises:
        MissingDependencyError: It is not here.
    """
    require("cv2", why="to write a video")
    return require("av", why="to write a video")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make every error of FFmpeg an OSError with the file's name; some of them are."""
    try:
        yield
    except pyav().FFmpegError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def open_container(path: Path, *, recording: bool) -> Any:
    """Begin an mp4; it appears when a stream begins."""
    recoverable = {
        "movflags": "hybrid_fragmented+empty_moov+frag_keyframe",
        "frag_duration": str(_FRAGMENT_US),
        "flush_packets": "1",
    }
    return pyav().open(str(path), "w", format="mp4", options=recoverable if recording else {})


def count_frames(path: Path) -> int:
    """Count the pictures in an mp4, up to where it is torn; 0 where it is none."""
    av, count = pyav(), 0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                count += packet.size > 0 and not packet.is_corrupt
    except (av.FFmpegError, IndexError):
        pass
    return count


def even(picture_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Repeat the last column and row of a picture of odd size; H.264 halves its colours both ways."""
    height, width = picture_bgr.shape[:2]
    if height % 2 == width % 2 == 0:
        return picture_bgr
    return np.pad(picture_bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def fitted(picture_bgr: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Scale a picture into a video's size, in the middle of black bars; the same where it has the size."""
    width, height = size_wh
    h, w = picture_bgr.shape[:2]
    if (w, h) == size_wh:
        return picture_bgr
    cv2 = require("cv2", why="to write a video")
    gain = min(width / w, height / h)
    w, h = max(1, int(w * gain)), max(1, int(h * gain))
    x, y = (width - w) // 2, (height - h) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + h, x : x + w] = cv2.resize(picture_bgr, (w, h), interpolation=cv2.INTER_AREA)
    return canvas


def _fraction(fps: float) -> Fraction:
    """Give a rate as containers have it: 29.97 is 30000/1001."""
    return Fraction(fps).limit_denominator(1001)
