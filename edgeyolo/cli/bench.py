"""``edgeyolo bench``: how fast an engine runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from edgeyolo.vision.nms import Suppression

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="From build; its sidecar beside it.")],
    source: Annotated[str, typer.Option(metavar="URI", help="As for run.")] = "test://",
    frames: Annotated[int, typer.Option(help="Frames to measure.")] = 200,
    layers: Annotated[bool, typer.Option("--layers", help="Each layer's time too (TensorRT).")] = False,
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
    """Measure every stage (p50, p90, p99), frames a second, memory and the time to load."""
    import dataclasses
    import json

    from edgeyolo.pipeline.bench import bench as measure

    report = measure(
        engine,
        source=source,
        frames=frames,
        layers=layers,
        nms=cast("Suppression | None", nms),  # Detector refuses a wrong word, and knows the right ones
    )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
    else:
        typer.echo("\n".join(report.lines()))
