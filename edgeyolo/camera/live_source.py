"""What all live cameras have in common: which library reads them, and the newest picture as a frame.

Owns the choice between GStreamer and OpenCV, the check that a camera delivers what was asked, and the end of
an iteration from another thread. What is particular to a kind of camera is in its own small class.
"""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from edgeyolo.camera.address import NETWORK, STALL_TIMEOUT_S, Address
from edgeyolo.camera.ask import status_of
from edgeyolo.camera.faults import Peer
from edgeyolo.camera.grabber import Grabber, Shot
from edgeyolo.camera.opencv_grabber import OpenCvGrabber, OpenCvTarget
from edgeyolo.camera.pipelines import Recipe
from edgeyolo.camera.reach import why_unreachable
from edgeyolo.errors import MissingDependencyError, SourceError, SourceOpenError, SourceRefusedError
from edgeyolo.frames import Frame
from edgeyolo.gstreamer import apt_line, load_gst, missing_elements

__all__ = ["LiveSource"]

_REACH_S = 3.0


class LiveSource(abc.ABC):
    """A `edgeyolo.frames.Source` of a live camera; iterating connects anew.

    Args:
        address: Where it is.
        stall_timeout_s: Seconds without a picture that count as a fault.
    """

    live = True
    frame_count = None

    elements: tuple[str, ...] = ()
    """GStreamer's elements without which it cannot be read."""

    def __init__(self, address: Address, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self.address = address
        self._stall_timeout_s = stall_timeout_s
        self._closed = threading.Event()
        self._grabber: Grabber | None = None
        self._notes: tuple[str, ...] = ()
        self._fps: float | None = address.options.fps

    @property
    def name(self) -> str:
        """The address without credentials and options."""
        return self.address.name

    @property
    def fps(self) -> float | None:
        """What was asked for, or what the camera says once it is open."""
        return self._fps

    @property
    def notes(self) -> tuple[str, ...]:
        """Library, decoder and mode, and why."""
        return self._notes

    def __iter__(self) -> Iterator[Frame]:
        """Connect, and give the newest picture again and again.

        Raises:
            SourceRefusedError: The camera answers, and does not give what is asked for.
            FrameTimeoutError: No picture in time.
            SourceError: It cannot be reached, or fails.
            MissingDependencyError: What reads it is not installed.
        """
        self._closed = threading.Event()
        return self._frames(self._closed)

    def close(self) -> None:
        """Disconnect; twice is harmless."""
        self._closed.set()
        grabber = self._grabber
        if grabber is not None:
            grabber.close()

    @abc.abstractmethod
    def recipe(self) -> Recipe:
        """Give the pipeline; the camera may be asked what it can do."""

    def opencv_target(self) -> OpenCvTarget | None:
        """Give what OpenCV opens; None where OpenCV cannot read it."""
        return None

    def _frames(self, closed: threading.Event) -> Iterator[Frame]:
        if closed.is_set():
            return
        start_s, first = time.monotonic(), True
        grabber = self._open(closed)
        try:
            while not closed.is_set():
                shot = grabber.read()
                if shot is None:
                    return
                if first:
                    first = False
                    self._notes = grabber.notes
                    self._fps = self.address.options.fps or grabber.fps
                    self._check_size(shot)
                yield Frame(
                    image_bgr=shot.image_bgr,
                    source=self.name,
                    index=shot.number,
                    time_s=max(shot.captured_at_s - start_s, 0.0),
                    captured_at_s=shot.captured_at_s,
                )
        except SourceError as exc:
            # Whoever keeps the error would keep, by its traceback, the camera's handles open.
            raise exc.with_traceback(None) from None
        finally:
            grabber.close()

    def _open(self, closed: threading.Event) -> Grabber:
        backend, note = self._backend()
        peer = self._peer(closed)
        grabber: Grabber
        if isinstance(backend, OpenCvTarget):
            options = self.address.options
            grabber = OpenCvGrabber(backend, peer, options, note, stall_timeout_s=self._stall_timeout_s)
        else:
            from edgeyolo.camera.gst_grabber import GstGrabber

            grabber = GstGrabber(
                self.recipe(), peer, self.address.options, stall_timeout_s=self._stall_timeout_s
            )
        self._grabber = grabber
        if closed.is_set():  # `close` came while it was being opened
            grabber.close()
        return grabber

    def _backend(self) -> tuple[OpenCvTarget | None, str]:
        """Give what OpenCV is to read, with the reason; or None for GStreamer."""
        forced = self.address.options.backend
        target = self.opencv_target()
        if forced == "opencv" and target is not None:
            return self._able(target), "read by OpenCV, as asked"
        lack = _lack(self.elements)
        if lack is None:
            return None, ""
        if forced == "gstreamer" or target is None:
            raise MissingDependencyError(f"{self.name}: {lack}", hint=apt_line(self.elements))
        return self._able(target), f"read by OpenCV, for {lack}"

    def _able(self, target: OpenCvTarget) -> OpenCvTarget:
        if target.lack is not None:
            raise SourceOpenError(f"{self.name}: {target.lack}", hint=target.remedy)
        return target

    def _peer(self, closed: threading.Event) -> Peer:
        address = self.address
        peer = Peer(name=self.name, secrets=(address.given,), has_login=address.user is not None)
        if address.scheme not in NETWORK:
            return peer
        reach = partial(why_unreachable, address, timeout_s=_REACH_S, cancel=closed)
        return replace(peer, reach=reach, status=partial(status_of, address, timeout_s=_REACH_S))

    def _check_size(self, shot: Shot) -> None:
        """Never another size in silence, whatever a driver made of the request."""
        options = self.address.options
        height, width = shot.image_bgr.shape[:2]
        if options.flip in ("cw", "ccw"):
            width, height = height, width
        if options.width not in (None, width) or options.height not in (None, height):
            raise SourceRefusedError(
                f"{self.name}: width {options.width or 'any'} and height {options.height or 'any'} expected, "
                f"the camera gives {width}x{height}"
            )


def _lack(elements: tuple[str, ...]) -> str | None:
    """Say what GStreamer lacks to read a camera; None where nothing is missing."""
    try:
        load_gst()
    except MissingDependencyError as exc:
        return exc.message
    missing = missing_elements(elements)
    return f"GStreamer is here without {', '.join(missing)}" if missing else None
