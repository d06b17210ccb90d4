"""``edgeyolo simplify``: a smaller ONNX graph that is proved to compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simplify)


def simplify(
    model: Annotated[Path, typer.Argument(metavar="IN.onnx", help="Any ONNX model without Q/DQ nodes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="The simplified file.")],
) -> None:
    """Simplify an ONNX graph, and prove on random tensors that it still computes the same."""
    from edgeyolo.graph.simplify import simplify as simplify_model

    report = simplify_model(model, output)
    typer.echo(f"{output}: {report.before.total()} nodes became {report.after.total()}")
    for kind in sorted(report.before | report.after):
        before, after = report.before[kind], report.after[kind]
        typer.echo(
            f"  {kind:<24} {before:>5} {after:>5}{'' if before == after else f'  {after - before:+d}'}"
        )
    for item in report.differences:
        typer.echo(
            f"  output {item.output}: largest difference {item.largest:.2g} on {report.runs} random inputs "
            f"(values up to {item.range:.3g})"
        )
    typer.echo(f"next: edgeyolo build {output} -o {output.with_suffix('.engine')}", err=True)
