"""``edgeyolo adapt``: a YOLO of another origin is brought to the graph contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeyolo.pipeline.adapt import Adapted

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adapt)


def adapt(  # noqa: PLR0913  one argument an option
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A detector from any exporter.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="The ONNX file.")],
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which layout it is, where its structure misleads.")
    ] = None,
    anchors: Annotated[
        str | None, typer.Option(metavar="W,H,...", help="Anchors in pixels, finest head first.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line; else metadata or COCO's.")
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE,...", help="resize, channels, scale, mean, std, pad; mean=0.4/0.4/0.4"
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|WxH", help="Network input, where the graph leaves it open.")
    ] = None,
    strip_nms: Annotated[bool, typer.Option(help="Cut the suppression that the graph does itself.")] = False,
) -> None:
    """Recognise a YOLO by the structure of its graph and bring it to the form the other commands take."""
    from edgeyolo.pipeline.adapt import adapt as adapt_file
    from edgeyolo.pipeline.adapt import options_from_text

    options = options_from_text(
        family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
    )
    _print(output, adapt_file(model, output, options))


def _print(output: Path, adapted: Adapted) -> None:
    evidence, spec = adapted.evidence, adapted.spec
    width, height = spec.input_wh
    typer.echo(
        f"{output}: {evidence.family}, {evidence.classes} classes, {adapted.boxes} boxes at {width}x{height}"
    )
    for label, lines in (
        ("because", evidence.reasons),
        ("assumed", evidence.assumed),
        ("note", adapted.notes),
    ):
        for line in lines:
            typer.echo(f"  {label:8} {line}")
    typer.echo(f"next: edgeyolo build {output} -o {output.with_suffix('.engine')}", err=True)
