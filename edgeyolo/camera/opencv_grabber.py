"""A camera read by OpenCV, where GStreamer is absent or OpenCV was asked for.

Owns a thread that takes every picture, so that the newest is at hand and none waits in a buffer. OpenCV says
of a failure only that there is one; what can be found out otherwise is.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeyolo.camera.address import Options
from edgeyolo.camera.credentials import scrub
from edgeyolo.camera.faults import FAILED, Peer, refusal
from edgeyolo.camera.grabber import Shot
from edgeyolo.camera.pipelines import scaled_wh
from edgeyolo.camera.v4l2 import Mode
from edgeyolo.errors import FrameTimeoutError, SourceError, SourceOpenError, SourceRefusedError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["OpenCvGrabber", "OpenCvTarget"]

# FFmpeg's options are an environment variable of the whole process, read when a stream is opened.
_OPENING = threading.Lock()
_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# How long `close` waits: a picture's time, but not for a camera that hangs.
_STOP_S = 0.5
_SAME_RATE = 0.01
_OPEN: weakref.WeakSet[OpenCvGrabber] = weakref.WeakSet()


@atexit.register
def _leave_opencv() -> None:
    """Let all threads out of OpenCV's C++ code before Python ends: one still in it aborts the process."""
    grabbers = [*_OPEN]
    for grabber in grabbers:
        grabber.close()
    for grabber in grabbers:
        grabber.join()


@dataclass(frozen=True)
class OpenCvTarget:
    """What OpenCV opens.

    Args:
        location: A device, or a URL with credentials.
        mode: Gives the mode of a device.
        lack: Why OpenCV cannot do what is asked, where it cannot.
        remedy: What to do then.
    """

    location: str
    mode: Callable[[], Mode] | None = None
    lack: str | None = None
    remedy: str | None = None


class OpenCvGrabber:
    """A `edgeyolo.camera.grabber.Grabber` on OpenCV.

    Args:
        target: What to open.
        peer: The camera, for errors.
        options: Of the address.
        note: Why it is OpenCV that reads.
        stall_timeout_s: Seconds without a picture that count as a fault.
    """

    def __init__(
        self, target: OpenCvTarget, peer: Peer, options: Options, note: str, *, stall_timeout_s: float
    ) -> None:
        self._cv2 = require("cv2", why="to read a camera without GStreamer")
        self._target, self._peer, self._options = target, peer, options
        self._stall_timeout_s = stall_timeout_s
        self._notes = [note]
        self._fps: float | None = None
        self._changed = threading.Condition()
        self._newest: Shot | None = None
        self._taken = -1
        self._ended = False
        self._fault: BaseException | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeyolo-opencv", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """How it is read."""
        return tuple(self._notes)

    @property
    def fps(self) -> float | None:
        """What OpenCV says of the stream."""
        return self._fps

    def read(self) -> Shot | None:
        """Wait for the newest picture."""
        with self._changed:
            came = self._changed.wait_for(self._has_news, self._stall_timeout_s)
            if self._closed.is_set():
                return None
            if self._newest is not None and self._newest.number > self._taken:
                self._taken = self._newest.number
                return self._newest
            if self._fault is not None:
                raise self._fault
            if came:
                return None
        raise FrameTimeoutError(f"{self._peer.name}: no picture for {self._stall_timeout_s:g} s")

    def close(self) -> None:
        """Let the thread go: one that waits in OpenCV frees the camera when its time limit is over."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(_STOP_S)

    def join(self) -> None:
        """Wait until the thread has left OpenCV."""
        self._thread.join()

    def _has_news(self) -> bool:
        fresh = self._newest is not None and self._newest.number > self._taken
        return fresh or self._ended or self._closed.is_set()

    def _run(self) -> None:
        try:
            self._capture()
        except self._cv2.error as exc:
            words = scrub(str(exc), *self._peer.secrets)
            self._fault = SourceError(f"{self._peer.name}: OpenCV fails: {words}")
        except BaseException as exc:  # noqa: BLE001 - carried to the reader, whatever it is
            self._fault = exc
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _capture(self) -> None:
        capture = self._open()
        try:
            fps = capture.get(self._cv2.CAP_PROP_FPS)
            self._fps = float(fps) if 0 < fps < 1000 else None
            number, due_s = 0, 0.0
            while not self._closed.is_set() and capture.grab():
                now_s = time.monotonic()
                if self._options.fps and self._target.mode is None:
                    if now_s < due_s:
                        continue
                    period_s = 1 / self._options.fps
                    due_s = period_s + (due_s if now_s - due_s < period_s else now_s)
                good, image = capture.retrieve()
                if good:
                    self._put(Shot(self._shaped(image), number, now_s))
                    number += 1
            if number == 0 and not self._closed.is_set():
                raise SourceError(f"{self._peer.name}: it opens, and OpenCV gets no picture from it")
        finally:
            capture.release()

    def _put(self, shot: Shot) -> None:
        with self._changed:
            self._newest = shot
            self._changed.notify_all()

    def _open(self) -> Any:
        cv2 = self._cv2
        if self._target.mode is not None:
            return self._open_device(self._target.mode())
        # Without these FFmpeg writes to stderr what it thinks, addresses among it, and OpenCV that it failed.
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = _FFMPEG_QUIET
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        limit_ms = int(self._stall_timeout_s * 1000)
        params = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        with _OPENING:
            before = os.environ.get(_OPTIONS)
            os.environ[_OPTIONS] = f"rtsp_transport;{self._options.transport}|fflags;nobuffer|flags;low_delay"
            try:
                capture = cv2.VideoCapture(self._target.location, cv2.CAP_FFMPEG, params)
            finally:
                if before is None:
                    del os.environ[_OPTIONS]
                else:
                    os.environ[_OPTIONS] = before
        if capture.isOpened():
            return capture
        capture.release()
        raise self._why_not_open()

    def _why_not_open(self) -> SourceError:
        """Ask the camera ourselves, for OpenCV does not say."""
        status = self._peer.status() if self._peer.status is not None else None
        if status is not None and status >= FAILED:
            return refusal(status, self._peer)
        if status is not None:
            text = f"the camera answers ({status}), and OpenCV cannot read what it sends"
        else:
            text = f"no connection: {self._peer.reach() if self._peer.reach is not None else 'OpenCV fails'}"
        return SourceError(f"{self._peer.name}: {text}")

    def _open_device(self, mode: Mode) -> Any:
        cv2 = self._cv2
        capture = cv2.VideoCapture(self._target.location, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceOpenError(f"{self._peer.name}: OpenCV cannot open the camera: busy, or not permitted")
        for key, value in (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*mode.fourcc.ljust(4))),
            (cv2.CAP_PROP_FRAME_WIDTH, mode.size_wh[0]),
            (cv2.CAP_PROP_FRAME_HEIGHT, mode.size_wh[1]),
            (cv2.CAP_PROP_FPS, float(mode.fps)),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            capture.set(key, value)
        given = capture.get(cv2.CAP_PROP_FPS)
        if self._options.fps and given and abs(given / self._options.fps - 1) > _SAME_RATE:
            capture.release()
            raise SourceRefusedError(
                f"{self._peer.name}: {self._options.fps:g} pictures a second expected, "
                f"the camera gives {given:g}"
            )
        self._notes.append(f"{mode} FPS")
        return capture

    def _shaped(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Scale and turn; a device has its size from its mode."""
        cv2 = self._cv2
        turns = {"cw": cv2.ROTATE_90_CLOCKWISE, "180": cv2.ROTATE_180, "ccw": cv2.ROTATE_90_COUNTERCLOCKWISE}
        scales = self._target.mode is None
        size = scaled_wh(self._options, (image.shape[1], image.shape[0])) if scales else None
        shaped: Any = image if size is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if self._options.flip in turns:
            shaped = cv2.rotate(shaped, turns[self._options.flip])
        elif self._options.flip != "none":
            shaped = cv2.flip(shaped, 1 if self._options.flip == "h" else 0)
        return shaped  # type: ignore[no-any-return]
