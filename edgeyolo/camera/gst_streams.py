"""The stream of a network camera that is decoded: which one, and how, is known once the camera has spoken.

Owns the choice of the stream and the link of its decoding into a running pipeline. Its handlers are called by
threads of GStreamer's; what goes wrong there is kept for the thread that reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeyolo.camera.address import Options
from edgeyolo.camera.decoders import CODECS, choose_decoder
from edgeyolo.camera.gst_samples import size_of
from edgeyolo.camera.pipelines import RTP_PARTS, decoding_text, scaled_wh
from edgeyolo.errors import EdgeYoloError, SourceRefusedError
from edgeyolo.gstreamer import load_gst

__all__ = ["Streams"]


class Streams:
    """Listens to an rtspsrc of the name ``source``, or to an element ``parse``, where a pipeline has one.

    Args:
        pipeline: With a sink of the name ``sink``.
        name: The camera's printable name.
        options: Of the address.
    """

    def __init__(self, pipeline: Any, name: str, options: Options) -> None:
        self.notes: list[str] = []
        self.fault: EdgeYoloError | None = None
        self.linked = False
        self.builds_on_key_frames = False
        self._name, self._options = name, options
        self._offered: set[str] = set()
        self._paced = False
        self._handlers: list[tuple[Any, int]] = []
        source, parse = pipeline.get_by_name("source"), pipeline.get_by_name("parse")
        if parse is not None:
            self._listen(parse, "pad-added", self._on_parsed)
            self._listen(parse, "no-more-pads", self._on_no_more)
            self._listen(pipeline, "deep-element-added", self._on_element)
        elif source is not None and source.get_factory().get_name() == "rtspsrc":
            self._listen(source, "select-stream", self._is_wanted)
            self._listen(source, "pad-added", self._on_packets)
            self._listen(source, "no-more-pads", self._on_no_more)

    def without_picture(self) -> SourceRefusedError | None:
        """Give the fault of a camera that offered streams and no picture among them."""
        if not self._offered or "video" in self._offered:
            return None
        return SourceRefusedError(
            f"{self._name}: a stream with a picture expected, {', '.join(sorted(self._offered))} found"
        )

    def let_go(self) -> None:
        """Stop listening."""
        while self._handlers:
            element, handler = self._handlers.pop()
            element.disconnect(handler)

    def _listen(self, element: Any, signal: str, handler: Callable[..., object]) -> None:
        self._handlers.append((element, element.connect(signal, handler)))

    def _is_wanted(self, _source: Any, _number: int, caps: Any) -> bool:
        """Tell rtspsrc to leave a camera's sound and metadata where they are."""
        media = caps.get_structure(0).get_string("media") or "video"
        self._offered.add(media)
        return media == "video"

    def _on_element(self, pipeline: Any, _bin: Any, element: Any) -> None:
        """Take an HLS playlist at its own rate: it comes in pieces of several seconds at once."""
        factory = element.get_factory()
        if factory is not None and factory.get_name().startswith("hlsdemux"):
            self._paced = True
            pipeline.get_by_name("sink").set_property("sync", True)
            self.notes.append("HLS: a picture is as old as the playlist is long, some seconds at the least")

    def _on_packets(self, source: Any, pad: Any) -> None:
        """Unpack the first stream with a picture; its size is known once the parser has seen some of it."""
        packets = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0)
        if self.linked or packets.get_string("media") != "video":
            return
        encoding = packets.get_string("encoding-name")
        self.linked = True
        if encoding not in RTP_PARTS:
            self.fault = self._unread(encoding)
            return
        part = self._add(source, RTP_PARTS[encoding])
        if part is not None:
            unpacked = part.get_static_pad("src")
            self._listen(unpacked, "notify::caps", self._on_unpacked)
            pad.link(part.get_static_pad("sink"))

    def _on_unpacked(self, pad: Any, _property: Any) -> None:
        caps = pad.get_current_caps()
        if caps is not None and not pad.is_linked():
            self._decode(pad, caps)

    def _on_parsed(self, _parse: Any, pad: Any) -> None:
        """Take the first stream that has a picture."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        if not self.linked and caps.get_structure(0).get_name().startswith(("video/", "image/")):
            self.linked = True
            self._decode(pad, caps)

    def _decode(self, pad: Any, caps: Any) -> None:
        try:
            text = self._decoding(caps.get_structure(0).get_name(), size_of(caps))
        except EdgeYoloError as exc:
            self.fault = exc
            return
        part = self._add(pad.get_parent_element(), text)
        if part is not None:
            sink = part.get_parent().get_by_name("sink")
            part.get_static_pad("src").link(sink.get_static_pad("sink"))
            pad.link(part.get_static_pad("sink"))

    @staticmethod
    def _add(neighbour: Any, text: str) -> Any:
        """Make a part and put it beside another; None where the pipeline is closed meanwhile."""
        pipeline = neighbour.get_parent()
        if pipeline is None:
            return None
        part = load_gst().parse_bin_from_description(text, True)
        pipeline.add(part)
        part.sync_state_with_parent()
        return part

    def _unread(self, found: str) -> SourceRefusedError:
        return SourceRefusedError(
            f"{self._name}: {', '.join(CODECS.values())} expected, a stream of {found} found",
            hint="set the camera to H.264",
        )

    def _decoding(self, media: str, size_wh: tuple[int, int] | None) -> str:
        if media not in CODECS:
            raise self._unread(media)
        self.builds_on_key_frames = media != "image/jpeg"
        decoder, note = choose_decoder(media, self._options.decoder)
        self.notes.append(note)
        target = scaled_wh(self._options, size_wh)
        if target is not None and size_wh is not None:
            self.notes.append(
                f"scaled to {target[0]}x{target[1]}, the camera sends {size_wh[0]}x{size_wh[1]}"
            )
        elif size_wh is None and (self._options.width or self._options.height):
            self.notes.append("scaled as asked, whatever the camera sends")
        return decoding_text(media, decoder, self._options, size_wh, paced=self._paced)

    def _on_no_more(self, _parse: Any) -> None:
        if not self.linked:
            self.fault = self.without_picture() or SourceRefusedError(
                f"{self._name}: a stream with a picture expected, none found"
            )
