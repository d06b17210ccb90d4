"""One sink a camera, where a sink is for one camera: a video, a folder of pictures.

Owns who gets which result. The file loop of several cameras gives their results mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from edgeyolo.frames import NotedSink, Result, Sink

__all__ = ["PerCamera"]


class PerCamera:
    """A `edgeyolo.frames.Sink` made of one for each camera.

    Args:
        sinks: Camera to its sink.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)

    @property
    def wants_picture(self) -> bool:
        """Whether any of them does."""
        return any(sink.wants_picture for sink in self._sinks.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What they have to say."""
        noted = (sink for sink in self._sinks.values() if isinstance(sink, NotedSink))
        return tuple(note for sink in noted for note in sink.notes)

    def write(self, result: Result) -> None:
        """Give a result to its camera's sink."""
        self._sinks[result.frame.camera].write(result)

    def close(self) -> None:
        """Close all of them, whatever one of them says; twice is harmless."""
        with ExitStack() as stack:
            for sink in self._sinks.values():
                stack.callback(sink.close)
