"""Options for a model of another origin, the same in every command that takes one.

Owns their names and help. What they mean is `edgeyolo.adapt.options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Anchors", "Family", "Names", "PreprocessText", "Size", "StripNms"]

_PANEL = "A model of another origin (see edgeyolo adapt)"

Family = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Which layout it is, where its structure misleads.", rich_help_panel=_PANEL
    ),
]
Anchors = Annotated[
    str | None,
    typer.Option(metavar="W,H,...", help="Anchors in pixels, finest head first.", rich_help_panel=_PANEL),
]
Names = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Class names, one a line; else metadata or COCO's.", rich_help_panel=_PANEL
    ),
]
PreprocessText = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="KEY=VALUE,...",
        help="resize, channels, scale, mean, std, pad; mean=0.4/0.4/0.4",
        rich_help_panel=_PANEL,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="N|WxH", help="Network input, where the graph leaves it open.", rich_help_panel=_PANEL
    ),
]
StripNms = Annotated[
    bool,
    typer.Option(
        "--strip-nms", help="Cut the suppression that the graph does itself.", rich_help_panel=_PANEL
    ),
]
