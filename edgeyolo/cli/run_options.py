"""Options of ``edgeyolo run``, as types.

Owns their words, the environment variables that keep credentials out of ``ps``, and in which panel ``--help``
shows them. What they mean is ``edgeyolo.pipeline.run``, ``sinks`` and ``watch``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Classes", "Conf", "Engine", "Events", "EventsEditable", "EventsState", "Every", "Frames", "Iou", "Jsonl",
    "JsonlKeep", "JsonlRotate", "MaxSize", "Mqtt", "Nms", "Retries", "Save", "Segment", "Show", "Sources",
    "StallTimeout", "Track", "Trust", "Web", "WebClients", "WebFps", "WebHost", "WebTokenFile", "Webhook",
    "WebhookPictures", "WebhookSecretFile",
]  # fmt: skip

_FILES, _MESSAGES, _PAGE = "Recordings and JSON lines", "Messages", "Web page"
_DETECTION, _CAMERAS, _WATCHING = "Detection", "Cameras", "Zones, lines, tracking"

Engine = Annotated[Path, typer.Argument(metavar="ENGINE", help="From build, or an ONNX file.")]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Images ('glob*.jpg', a folder), a video, test:// (a synthetic scene), or a camera: "
        "0 or v4l2:// (USB), csi://0, rtsp://, http:// (MJPEG, HLS), gst:PIPELINE. Or NAME=URI.",
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(metavar="F.mp4|DIR", help="F.mp4 is an H.264 video; a folder gets one picture a frame."),
]
Jsonl = Annotated[Path | None, typer.Option(metavar="F|-", help="One JSON line a frame; - is stdout.")]
Show = Annotated[bool, typer.Option("--show", help="Open a window.")]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Stop after so many frames of each source.")]

Conf = Annotated[
    float | None,
    typer.Option(help="Least score of a box, 0..1.", show_default="0.25", rich_help_panel=_DETECTION),
]
Iou = Annotated[
    float | None,
    typer.Option(
        help="Overlap of two boxes of one object, 0..1.", show_default="0.45", rich_help_panel=_DETECTION
    ),
]
Nms = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="class, agnostic (across classes), soft or none.",
        show_default="class; none where the model's boxes are final",
        rich_help_panel=_DETECTION,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        "--class",
        metavar="A,B",
        help="Names or ids to report; all by default.",
        rich_help_panel=_DETECTION,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run an engine whose hash is not its sidecar's.", rich_help_panel=_DETECTION
    ),
]

StallTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Without a frame for so long, connect to a camera again.",
        rich_help_panel=_CAMERAS,
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Give a camera up after so many failures in a row.",
        show_default="never",
        rich_help_panel=_CAMERAS,
    ),
]

Events = Annotated[
    Path | None,
    typer.Option(
        metavar="F.toml",
        help="Zones and lines: who enters, dwells, leaves, crosses.",
        rich_help_panel=_WATCHING,
    ),
]
EventsState = Annotated[
    Path | None,
    typer.Option(metavar="F", help="Keep their counters here from run to run.", rich_help_panel=_WATCHING),
]
EventsEditable = Annotated[
    bool,
    typer.Option(
        "--events-editable",
        help="The page may draw zones and lines, and save them.",
        rich_help_panel=_WATCHING,
    ),
]
Track = Annotated[
    bool,
    typer.Option("--track", help="Number objects, the same from frame to frame.", rich_help_panel=_WATCHING),
]
Every = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Detect in every Nth frame; boxes are followed in between.",
        rich_help_panel=_WATCHING,
    ),
]

Web = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Serve a page; beyond this machine a token is asked for.",
        rich_help_panel=_PAGE,
    ),
]
WebTokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="F", help="The page's token.", show_default="$EDGEYOLO_WEB_TOKEN", rich_help_panel=_PAGE
    ),
]
WebHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="The page has this name, as behind a proxy.", rich_help_panel=_PAGE),
]
WebClients = Annotated[int, typer.Option(help="Streams of the page at a time.", rich_help_panel=_PAGE)]
WebFps = Annotated[float, typer.Option(help="Pictures a second of the page, at most.", rich_help_panel=_PAGE)]

Segment = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Cut the video: 10m gives F-20261129T081500Z.mp4 and so on, each playable by itself.",
        rich_help_panel=_FILES,
    ),
]
MaxSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Delete the oldest segments beyond it: 20G.", rich_help_panel=_FILES),
]
JsonlRotate = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Begin another file at this size: 100M.", rich_help_panel=_FILES),
]
JsonlKeep = Annotated[
    int, typer.Option(metavar="N", help="Earlier files to keep: F.1 to F.N.", rich_help_panel=_FILES)
]
Mqtt = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Detections, events and status to a broker: mqtt[s]://[USER:PASSWORD@]HOST[:PORT]/PREFIX",
        envvar="EDGEYOLO_MQTT",
        rich_help_panel=_MESSAGES,
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="POST each event as JSON.", envvar="EDGEYOLO_WEBHOOK", rich_help_panel=_MESSAGES
    ),
]
WebhookSecretFile = Annotated[
    Path | None,
    typer.Option(metavar="F", help="Sign each post with this secret (HMAC).", rich_help_panel=_MESSAGES),
]
WebhookPictures = Annotated[
    bool,
    typer.Option("--webhook-pictures", help="Post the picture of an event, too.", rich_help_panel=_MESSAGES),
]
