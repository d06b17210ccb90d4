"""``edgeyolo evaluate``: mean average precision on pictures with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from edgeyolo.vision.nms import Suppression

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(  # noqa: PLR0913 - one parameter an option
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="From build, or an ONNX file.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the pictures.")],
    annotations: Annotated[Path, typer.Option(metavar="COCO.json", help='COCO "instances" file.')],
    limit: Annotated[int | None, typer.Option(help="Only the first pictures.")] = None,
    iou: Annotated[
        float | None, typer.Option(help="Overlap of two boxes of one object, 0..1.", show_default="0.45")
    ] = None,
    nms: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="class, agnostic (across classes), soft or none.",
            show_default="class; none where the model's boxes are final",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure mean average precision (COCO), classes matched by name."""
    import json

    from edgeyolo.pipeline.evaluate import evaluate_engine

    report = evaluate_engine(
        engine,
        images,
        annotations,
        limit=limit,
        iou=iou,
        nms=cast("Suppression | None", nms),  # Detector refuses a wrong word, and knows the right ones
    )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        typer.echo("\n".join(report.lines()))
