"""A camera read by GStreamer: one pipeline from its start to its end.

Owns the pipeline's states, its bus and the end of both. Which elements are in it is ``pipelines``, which
stream is decoded ``gst_streams``, what a complaint means ``gst_faults``.

Every call that may block in a driver or a network (to start, to stop) runs in a thread of its own, so that
`close` is quick whatever the camera does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeyolo.camera.address import Options
from edgeyolo.camera.faults import Peer
from edgeyolo.camera.grabber import Shot
from edgeyolo.camera.gst_faults import ARGUS_REMEDY, Complaint, error_from, missing_plugin_error, parsed
from edgeyolo.camera.gst_samples import captured_at_s, image_from_sample
from edgeyolo.camera.gst_streams import Streams
from edgeyolo.camera.pipelines import BGR, Recipe
from edgeyolo.errors import EdgeYoloError, FrameTimeoutError, SourceError
from edgeyolo.gstreamer import load_gst

__all__ = ["GstGrabber"]

_log = logging.getLogger(__name__)

# How long one wait for a picture lasts before the bus and `close` are looked at; a picture ends it at once.
_SLICE_S = 0.1
# rtspsrc gives a camera that hangs 0.1 s to take leave; a stuck driver may take for ever.
_STOP_S = 0.6


@dataclass(frozen=True)
class _Running:
    """GStreamer's objects of one pipeline: nothing else holds them, so that they go when it is closed."""

    pipeline: Any
    sink: Any
    bus: Any
    streams: Streams
    starting: threading.Thread
    is_argus: bool


class GstGrabber:
    """A `edgeyolo.camera.grabber.Grabber` on GStreamer.

    Args:
        recipe: What to run.
        peer: The camera, for errors.
        options: For the decoding that is chosen once the stream is known.
        stall_timeout_s: Seconds without a picture that count as a fault.
    """

    def __init__(self, recipe: Recipe, peer: Peer, options: Options, *, stall_timeout_s: float) -> None:
        self._gst = load_gst()
        self._peer, self._stall_timeout_s = peer, stall_timeout_s
        self._notes = recipe.notes
        self._fps: float | None = None
        self._number = -1
        self._ended = False
        self._fault: EdgeYoloError | None = None
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._running: _Running | None = self._start(recipe, options)

    @property
    def notes(self) -> tuple[str, ...]:
        """How it is read."""
        return self._notes

    @property
    def fps(self) -> float | None:
        """Frames a second of the negotiated stream."""
        return self._fps

    def read(self) -> Shot | None:
        """Wait for the newest picture."""
        running = self._running
        deadline = time.monotonic() + self._stall_timeout_s
        while running is not None and not self._closed.is_set():
            began = time.monotonic()
            sample = running.sink.try_pull_sample(int(_SLICE_S * self._gst.SECOND))
            self._drain_bus(running)
            if self._closed.is_set():
                break
            if sample is not None:
                return self._shot(running, sample)
            if (fault := running.streams.fault or self._fault) is not None:
                raise fault
            if self._ended and self._number < 0:
                raise SourceError(f"{self._peer.name}: the stream ended before its first picture")
            if self._ended:
                break
            if time.monotonic() > deadline:
                raise self._timeout(running)
            if time.monotonic() - began < _SLICE_S / 2:  # a sink that is not started yet does not wait
                self._closed.wait(_SLICE_S / 5)
        return None

    def close(self) -> None:
        """Stop the pipeline; one that does not stop is left to a thread of its own."""
        self._closed.set()
        with self._closing:
            running, self._running = self._running, None
        if running is None:
            return
        running.streams.let_go()

        def stop() -> None:
            running.starting.join()  # a start that came after the stop would run on for ever
            running.pipeline.set_state(self._gst.State.NULL)

        stopping = _in_background(stop, "stop")
        stopping.join(_STOP_S)
        if stopping.is_alive():
            _log.warning("%s: the camera does not let go; it is left to itself", self._peer.name)

    def _start(self, recipe: Recipe, options: Options) -> _Running:
        pipeline = parsed(recipe.text, self._peer)
        sink, source = pipeline.get_by_name("sink"), pipeline.get_by_name("source")
        sink.set_property("caps", self._gst.Caps.from_string(BGR))
        sink.set_property("max-buffers", 1)
        sink.set_property("drop", True)
        for key, value in recipe.source.items():
            source.set_property(key, value)
        return _Running(
            pipeline=pipeline,
            sink=sink,
            bus=pipeline.get_bus(),
            streams=Streams(pipeline, self._peer.name, options),
            is_argus=source is not None and source.get_factory().get_name() == "nvarguscamerasrc",
            starting=_in_background(lambda: pipeline.set_state(self._gst.State.PLAYING), "start"),
        )

    def _shot(self, running: _Running, sample: Any) -> Shot:
        if self._number < 0:
            self._notes += tuple(running.streams.notes)
            good, above, below = sample.get_caps().get_structure(0).get_fraction("framerate")
            self._fps = above / below if good and above > 0 else None
        good, arrived = running.sink.get_property("stats").get_uint64("rendered")
        self._number = max(self._number + 1, arrived - 1 if good else 0)
        return Shot(image_from_sample(sample), self._number, captured_at_s(sample, running.pipeline))

    def _drain_bus(self, running: _Running) -> None:
        """Empty the bus, on which messages of no interest would pile up; keep the first fault."""
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.ELEMENT | self._gst.MessageType.EOS
        while (message := running.bus.pop_filtered(kinds)) is not None:
            if self._fault is None and not self._closed.is_set():
                self._take(running.streams, message)

    def _take(self, streams: Streams, message: Any) -> None:
        structure = message.get_structure()
        if message.type == self._gst.MessageType.ERROR:
            self._fault = streams.without_picture() or error_from(Complaint.of(message), self._peer)
        elif message.type == self._gst.MessageType.EOS:
            self._ended = True
        elif structure is not None and structure.get_name() == "missing-plugin" and not streams.linked:
            self._fault = missing_plugin_error(structure, name=self._peer.name)

    def _timeout(self, running: _Running) -> FrameTimeoutError:
        text = f"{self._peer.name}: no picture for {self._stall_timeout_s:g} s"
        if running.starting.is_alive():
            text += "; the camera's driver does not answer"
        elif self._number < 0:
            text += " since it was opened"
        hint = ARGUS_REMEDY if running.is_argus else None
        if self._number < 0 and running.streams.builds_on_key_frames:
            hint = "its key frames may be rare: one a second in the camera's settings, or --stall-timeout 20"
        return FrameTimeoutError(text, hint=hint)


def _in_background(call: Callable[[], object], what: str) -> threading.Thread:
    thread = threading.Thread(target=call, name=f"edgeyolo-gst-{what}", daemon=True)
    thread.start()
    return thread
