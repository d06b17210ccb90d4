"""A pipeline of the user's own: ``gst:videotestsrc ! videoscale``, whatever GStreamer can do."""

from __future__ import annotations

import re

from edgeyolo.camera.address import STALL_TIMEOUT_S, Address, Options
from edgeyolo.camera.credentials import scrub
from edgeyolo.camera.faults import Peer
from edgeyolo.camera.gst_faults import parsed
from edgeyolo.camera.live_source import LiveSource
from edgeyolo.camera.pipelines import LEAKY, SINK, Recipe
from edgeyolo.errors import SourceOpenError

__all__ = ["LaunchSource"]

_MOST_SHOWN = 120


class LaunchSource(LiveSource):
    """A `edgeyolo.frames.Source` of a pipeline in GStreamer's own text.

    It gets a conversion to BGR and an appsink at its end, unless it ends in ``appsink name=sink``, which is
    then taken: what comes there must be able to be BGR.

    Args:
        uri: ``gst:`` and the text.
        stall_timeout_s: Seconds without a picture that count as a fault.

    Raises:
        SourceOpenError: GStreamer does not take the text.
        MissingDependencyError: GStreamer is not here.
    """

    def __init__(self, uri: str, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        text = uri.partition(":")[2].strip()
        shown = scrub(text)
        if len(shown) > _MOST_SHOWN:
            shown = shown[: _MOST_SHOWN - 1] + "…"
        address = Address(given=uri, scheme="gst", location=text, name=f"gst:{shown}", options=Options())
        super().__init__(address, stall_timeout_s=stall_timeout_s)
        own_sink = re.search(r"\bappsink\b", text) is not None
        self._text = text if own_sink else f"{text} ! {LEAKY} ! videoconvert ! {SINK}"
        self._check(own_sink)

    def recipe(self) -> Recipe:
        """Give the text."""
        return Recipe(text=self._text)

    def _check(self, own_sink: bool) -> None:
        pipeline = parsed(self._text, Peer(name=self.name, secrets=(self.address.given,)))
        if own_sink and pipeline.get_by_name("sink") is None:
            raise SourceOpenError(
                f"{self.name}: an appsink of the name 'sink' expected, one of another name found",
                hint=f"leave it out, or end in: {SINK}",
            )
