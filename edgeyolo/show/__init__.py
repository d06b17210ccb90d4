"""Where results go: one class a kind of sink."""

from __future__ import annotations

from edgeyolo.show.images import ImageFileSink, ImageFolderSink
from edgeyolo.show.jsonl import JsonLinesSink
from edgeyolo.show.recorder import RecorderSink
from edgeyolo.show.summary import SummarySink
from edgeyolo.show.video import VideoSink
from edgeyolo.show.window import WindowSink

__all__ = [
    "ImageFileSink",
    "ImageFolderSink",
    "JsonLinesSink",
    "RecorderSink",
    "SummarySink",
    "VideoSink",
    "WindowSink",
]
