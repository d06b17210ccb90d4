"""``edgeyolo adapt``: a YOLO of another origin is brought to the graph contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeyolo.cli.foreign import Anchors, Family, Names, PreprocessText, Size, StripNms

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adapt)


def adapt(  # noqa: PLR0913  one argument an option
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A detector from any exporter.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="The ONNX file.")],
    family: Family = None,
    anchors: Anchors = None,
    names: Names = None,
    preprocess: PreprocessText = None,
    size: Size = None,
    strip_nms: StripNms = False,
) -> None:
    """Recognise a YOLO by the structure of its graph and bring it to the form the other commands take."""
    from edgeyolo.pipeline.adapt import adapt as adapt_file
    from edgeyolo.pipeline.adapt import options_from_text, reasoning

    options = options_from_text(
        family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
    )
    for line in reasoning(output, adapt_file(model, output, options)):
        typer.echo(line)
    typer.echo(f"next: edgeyolo build {output} -o {output.with_suffix('.engine')}", err=True)
