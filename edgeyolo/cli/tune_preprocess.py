"""``edgeyolo tune-preprocess``: which pictures a model of unknown origin expects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeyolo.cli.foreign import Anchors, Family, Names, PreprocessText, Size, StripNms

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune-preprocess")(tune_preprocess)


def tune_preprocess(  # noqa: PLR0913 - one parameter an option
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A detector from anywhere.")],
    images: Annotated[str, typer.Option(metavar="DIR", help="Pictures, as for calibrate.")],
    annotations: Annotated[
        Path | None, typer.Option(metavar="COCO.json", help="Rank by average precision.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.onnx", help="A copy with the best in its metadata."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Most pictures.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    family: Family = None,
    anchors: Anchors = None,
    names: Names = None,
    preprocess: PreprocessText = None,
    size: Size = None,
    strip_nms: StripNms = False,
) -> None:
    """Rank the usual ways of making pictures into a model's input, and write the best."""
    import json

    from edgeyolo.pipeline.adapt import options_from_text
    from edgeyolo.pipeline.tune import TuneConfig
    from edgeyolo.pipeline.tune import tune_preprocess as tune

    config = TuneConfig(
        model=model,
        images=images,
        annotations=annotations,
        output=output,
        limit=limit,
        adapt=options_from_text(
            family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
        ),
    )
    report = tune(config, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(report.to_json()) if as_json else "\n".join(report.lines()))
    if output is not None:
        typer.echo(f"next: edgeyolo build {output} -o {output.with_suffix('.engine')}", err=True)
