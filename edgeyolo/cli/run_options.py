"""Options of ``edgeyolo run`` that say where results go, as types.

Owns their words, the environment variables that keep credentials out of ``ps``, and in which panel ``--help``
shows them. What they mean is ``edgeyolo.pipeline.sinks``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "JsonlKeep",
    "JsonlRotate",
    "MaxSize",
    "Mqtt",
    "Segment",
    "Webhook",
    "WebhookPictures",
    "WebhookSecretFile",
]

_FILES, _MESSAGES = "Recordings and JSON lines", "Messages"

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
