"""A camera read by GStreamer: one pipeline from its start to its end.

Owns the pipeline's states, its bus and the end of both. Which elements are in it is ``pipelines``; what a
complaint means is ``gst_faults``.

Every call that may block in a driver or a network (to start, to stop) runs in a thread of its own, so that
`close` is quick whatever the camera does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from edgeyolo.camera.address import Options
from edgeyolo.camera.decoders import CODECS, choose_decoder
from edgeyolo.camera.faults import Peer
from edgeyolo.camera.grabber import Shot
from edgeyolo.camera.gst_faults import ARGUS_REMEDY, Complaint, error_from, missing_plugin_error, parsed
from edgeyolo.camera.gst_samples import captured_at_s, image_from_sample, size_of
from edgeyolo.camera.gstreamer import load_gst
from edgeyolo.camera.pipelines import BGR, Recipe, decoding_text, scaled_wh
from edgeyolo.errors import EdgeYoloError, FrameTimeoutError, SourceError, SourceRefusedError

__all__ = ["GstGrabber"]

_log = logging.getLogger(__name__)

# How long one wait for a picture lasts before the bus and `close` are looked at; a picture ends it at once.
_SLICE_S = 0.1
# rtspsrc gives a camera that hangs 0.1 s to take leave; a stuck driver may take for ever.
_STOP_S = 0.6


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
        self._peer, self._name, self._options = peer, peer.name, options
        self._stall_timeout_s = stall_timeout_s
        self._notes = list(recipe.notes)
        self._fps: float | None = None
        self._number = -1
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._fault: EdgeYoloError | None = None
        self._decoding = False
        self._offered: set[str] = set()
        self._ended = False
        self._paced = False
        self._pipeline = parsed(recipe.text, peer)
        self._sink = self._pipeline.get_by_name("sink")
        self._bus = self._pipeline.get_bus()
        self._handlers: list[tuple[Any, int]] = []
        self._prepare(recipe)
        self._starting = _in_background(lambda: self._pipeline.set_state(self._gst.State.PLAYING), "start")

    @property
    def notes(self) -> tuple[str, ...]:
        """How it is read."""
        return tuple(self._notes)

    @property
    def fps(self) -> float | None:
        """Frames a second of the negotiated stream."""
        return self._fps

    def read(self) -> Shot | None:
        """Wait for the newest picture."""
        deadline = time.monotonic() + self._stall_timeout_s
        while not self._closed.is_set():
            began = time.monotonic()
            sample = self._sink.try_pull_sample(int(_SLICE_S * self._gst.SECOND))
            if sample is not None and not self._closed.is_set():
                self._drain_bus()
                return self._shot(sample)
            self._look_for_faults()
            if self._ended:
                return None
            if time.monotonic() > deadline:
                raise self._timeout()
            if (
                time.monotonic() - began < _SLICE_S / 2
            ):  # not started yet, or at its end: the sink does not wait
                self._closed.wait(_SLICE_S / 5)
        return None

    def close(self) -> None:
        """Stop the pipeline; one that does not stop is left to a thread of its own."""
        self._closed.set()
        with self._closing:
            if self._pipeline is None:
                return
            pipeline, self._pipeline = self._pipeline, None
        for element, handler in self._handlers:
            element.disconnect(handler)
        self._handlers.clear()
        stopping = _in_background(lambda: pipeline.set_state(self._gst.State.NULL), "stop")
        stopping.join(_STOP_S)
        if stopping.is_alive():
            _log.warning("%s: the camera does not let go; it is left to itself", self._name)

    def _prepare(self, recipe: Recipe) -> None:
        self._sink.set_property("caps", self._gst.Caps.from_string(BGR))
        self._sink.set_property("max-buffers", 1)
        self._sink.set_property("drop", True)
        source = self._pipeline.get_by_name("source")
        for key, value in recipe.source.items():
            source.set_property(key, value)
        parse = self._pipeline.get_by_name("parse")
        if parse is not None:
            self._listen(parse, "pad-added", self._on_stream)
            self._listen(parse, "no-more-pads", self._on_no_more_streams)
            self._listen(self._pipeline, "deep-element-added", self._on_element)
        if source is not None and source.get_factory().get_name() == "rtspsrc":
            self._listen(source, "select-stream", self._is_wanted)

    def _listen(self, element: Any, signal: str, handler: Callable[..., object]) -> None:
        self._handlers.append((element, element.connect(signal, handler)))

    def _on_element(self, _pipeline: Any, _bin: Any, element: Any) -> None:
        """Take an HLS playlist at its own rate: it comes in pieces of several seconds at once."""
        factory = element.get_factory()
        if factory is not None and factory.get_name().startswith("hlsdemux"):
            self._paced = True
            self._sink.set_property("sync", True)
            self._notes.append("HLS: a picture is as old as the playlist is long, some seconds at the least")

    def _on_stream(self, _parse: Any, pad: Any) -> None:
        """Link the decoding of the first stream that has a picture; called by a thread of GStreamer's."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        media = caps.get_structure(0).get_name()
        if self._decoding or self._closed.is_set() or not media.startswith(("video/", "image/")):
            return
        try:
            self._decoding = True
            self._decode(media, pad, size_of(caps))
        except EdgeYoloError as exc:
            self._fault = exc

    def _decode(self, media: str, pad: Any, size_wh: tuple[int, int] | None) -> None:
        if media not in CODECS:
            raise SourceRefusedError(
                f"{self._name}: {', '.join(CODECS.values())} expected, a stream of {media} found",
                hint="set the camera to H.264",
            )
        decoder, note = choose_decoder(media, self._options.decoder)
        self._notes.append(note)
        target = scaled_wh(self._options, size_wh)
        if target is not None and size_wh is not None:
            self._notes.append(
                f"scaled to {target[0]}x{target[1]}, the camera sends {size_wh[0]}x{size_wh[1]}"
            )
        elif size_wh is None and (self._options.width or self._options.height):
            self._notes.append("scaled as asked, whatever the camera sends")
        text = decoding_text(media, decoder, self._options, size_wh, paced=self._paced)
        part = self._gst.parse_bin_from_description(text, True)
        pipeline = self._pipeline
        if pipeline is None:
            return
        pipeline.add(part)
        part.get_static_pad("src").link(self._sink.get_static_pad("sink"))
        part.sync_state_with_parent()
        pad.link(part.get_static_pad("sink"))

    def _is_wanted(self, _source: Any, _number: int, caps: Any) -> bool:
        """Tell rtspsrc to leave a camera's sound and metadata where they are."""
        media = caps.get_structure(0).get_string("media") or "video"
        self._offered.add(media)
        return media == "video"

    def _on_no_more_streams(self, _parse: Any) -> None:
        if not self._decoding:
            self._fault = self._no_picture()

    def _no_picture(self) -> SourceRefusedError:
        found = ", ".join(sorted(self._offered)) or "none"
        return SourceRefusedError(f"{self._name}: a stream with a picture expected, {found} found")

    def _shot(self, sample: Any) -> Shot:
        pipeline = self._pipeline
        if pipeline is None:
            raise SourceError(f"{self._name}: closed")
        if self._number < 0:
            self._note_stream(sample.get_caps().get_structure(0))
        good, arrived = self._sink.get_property("stats").get_uint64("rendered")
        self._number = max(self._number + 1, arrived - 1 if good else 0)
        return Shot(image_from_sample(sample), self._number, captured_at_s(sample, pipeline))

    def _note_stream(self, structure: Any) -> None:
        good, above, below = structure.get_fraction("framerate")
        if good and above > 0:
            self._fps = above / below

    def _drain_bus(self) -> None:
        """Empty the bus, on which messages of no interest would pile up; keep the first fault."""
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.ELEMENT | self._gst.MessageType.EOS
        while (message := self._bus.pop_filtered(kinds)) is not None:
            self._take(message)

    def _look_for_faults(self) -> None:
        self._drain_bus()
        if self._fault is not None and not self._closed.is_set():
            raise self._fault
        if self._ended and self._number < 0:
            raise SourceError(f"{self._name}: the stream ended before its first picture")

    def _take(self, message: Any) -> None:
        if self._fault is not None or self._closed.is_set():
            return
        structure = message.get_structure()
        if message.type == self._gst.MessageType.ERROR:
            deaf = self._offered and "video" not in self._offered
            self._fault = self._no_picture() if deaf else error_from(Complaint.of(message), self._peer)
        elif message.type == self._gst.MessageType.EOS:
            self._ended = True
        elif structure is not None and structure.get_name() == "missing-plugin" and not self._decoding:
            self._fault = missing_plugin_error(structure, name=self._name)

    def _timeout(self) -> FrameTimeoutError:
        text = f"{self._name}: no picture for {self._stall_timeout_s:g} s"
        if self._starting.is_alive():
            text += "; the camera's driver does not answer"
        elif self._number < 0:
            text += " since it was opened"
        source = self._pipeline and self._pipeline.get_by_name("source")
        argus = source and source.get_factory().get_name() == "nvarguscamerasrc"
        return FrameTimeoutError(text, hint=ARGUS_REMEDY if argus else None)


def _in_background(call: Callable[[], object], what: str) -> threading.Thread:
    thread = threading.Thread(target=call, name=f"edgeyolo-gst-{what}", daemon=True)
    thread.start()
    return thread
