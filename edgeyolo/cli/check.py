"""``edgeyolo check``: would NVIDIA's parser and compiler take it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeyolo.cli.foreign import Anchors, Family, Names, PreprocessText, Size, StripNms

if TYPE_CHECKING:
    from edgeyolo.build.check import CheckReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(  # noqa: PLR0913 - one parameter an option
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="Any ONNX file.")],
    board: Annotated[
        str | None, typer.Option("--for", metavar="BOARD", help="orin-nano, orin-nx, xavier-nx, thor, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    family: Family = None,
    anchors: Anchors = None,
    names: Names = None,
    preprocess: PreprocessText = None,
    size: Size = None,
    strip_nms: StripNms = False,
) -> None:
    """Parse and compile a model with NVIDIA's own compiler, no GPU needed; exit code 1 if refused.

    A detector of another origin is checked in the form that build makes of it.
    """
    import dataclasses
    import json

    from edgeyolo.boards import board_named
    from edgeyolo.pipeline.adapt import options_from_text
    from edgeyolo.pipeline.check import check_any

    options = options_from_text(
        family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
    )
    report = check_any(
        model,
        options,
        board=None if board is None else board_named(board),
        report=lambda line: typer.echo(line, err=True),
    )
    if as_json:
        typer.echo(json.dumps({"passed": report.passed, **dataclasses.asdict(report)}, indent=2))
    else:
        _print(report)
    raise typer.Exit(0 if report.passed else 1)


def _print(report: CheckReport) -> None:
    asked = report.compiled or not report.passed  # else the compiler lacks a kernel that TensorRT has
    for what, done in (("parses", report.parsed), ("compiles", report.compiled))[: 2 if asked else 1]:
        typer.echo(f"{report.model}: {what if done else 'REFUSED, not ' + what} ({report.compiler})")
    for tensor in (*report.inputs, *report.outputs):
        side = "input " if tensor in report.inputs else "output"
        typer.echo(f"  {side} {tensor.name} {tensor.dtype} {list(tensor.shape)}")
    memory = report.memory
    typer.echo(
        f"  memory about {memory.weights_mib + memory.activations_mib:.0f} MiB at batch 1: weights "
        f"{memory.weights_mib:.0f}, activations {memory.activations_mib:.0f}; CUDA and TensorRT come on top"
    )
    for finding in report.findings:
        typer.echo(f"{finding.level}: {finding.text}")
        if finding.hint:
            typer.echo(f"  try: {finding.hint}")
    typer.echo(report.disclaimer)
