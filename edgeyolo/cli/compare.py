"""``edgeyolo compare``: how far two engines agree, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(  # noqa: PLR0913 - one parameter an option
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The engine that counts as right.")],
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="The engine under test.")],
    images: Annotated[str, typer.Option(metavar="DIR", help="Pictures, as for calibrate.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Draw the ten worst pictures there, side by side."
        ),
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(metavar="X", help="Exit 1 where the agreement is less, 0..1.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most N pictures, spread over all.")
    ] = None,
    conf: Annotated[float, typer.Option(metavar="X", help="Least score of a box that counts.")] = 0.25,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two engines on pictures that nobody labelled."""
    import json

    from edgeyolo.pipeline.compare import CompareConfig, compare_engines
    from edgeyolo.pipeline.steps import Steps

    config = CompareConfig(
        reference=reference,
        engine=engine,
        images=images,
        output=output,
        limit=limit,
        conf=conf,
        min_agreement=min_agreement,
    )
    steps = Steps(shown=True)
    steps.begin("comparing")
    found = compare_engines(config, progress=steps)
    steps.end()
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(found.lines()))
    for path in found.files:
        typer.echo(str(path), err=True)
    if not found.passed:
        raise typer.Exit(1)
