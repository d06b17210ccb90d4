"""``edgeyolo evaluate``: mean average precision on pictures with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="From build; its sidecar beside it.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the pictures.")],
    annotations: Annotated[Path, typer.Option(metavar="COCO.json", help='COCO "instances" file.')],
    limit: Annotated[int | None, typer.Option(help="Only the first pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure mean average precision (COCO), classes matched by name."""
    import json

    from edgeyolo.pipeline.evaluate import evaluate_engine

    report = evaluate_engine(engine, images, annotations, limit=limit)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        typer.echo("\n".join(report.lines()))
