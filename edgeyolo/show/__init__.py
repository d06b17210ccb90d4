"""Where results go: one class a kind of sink."""

from __future__ import annotations

from edgeyolo.show.images import ImageFileSink, ImageFolderSink
from edgeyolo.show.jsonl import JsonLinesSink
from edgeyolo.show.mqtt import MqttSink
from edgeyolo.show.mqtt_address import mqtt_address
from edgeyolo.show.per_camera import PerCamera
from edgeyolo.show.recorder import RecorderSink
from edgeyolo.show.summary import SummarySink
from edgeyolo.show.video import VideoSink
from edgeyolo.show.webhook import WebhookSink, webhook_address
from edgeyolo.show.window import WindowSink

__all__ = [
    "ImageFileSink",
    "ImageFolderSink",
    "JsonLinesSink",
    "MqttSink",
    "PerCamera",
    "RecorderSink",
    "SummarySink",
    "VideoSink",
    "WebhookSink",
    "WindowSink",
    "mqtt_address",
    "webhook_address",
]
