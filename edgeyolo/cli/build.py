"""``edgeyolo build``: an ONNX file becomes an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from edgeyolo.build import BackendChoice
    from edgeyolo.spec import Precision

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(build)


def build(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="From convert or simplify.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.engine", help="The engine file.")],
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt or onnxruntime; auto is TensorRT where a device answers.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    calibration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For int8: what calibrate wrote for this model.")
    ] = None,
) -> None:
    """Build an engine and its sidecar, and prove that it loads here."""
    from edgeyolo.pipeline.build import BuildConfig, build_engine

    config = BuildConfig(
        model=model,
        output=output,
        backend=cast("BackendChoice", backend),  # build() refuses a wrong word, and knows the right ones
        precision=cast("Precision", precision),
        calibration=calibration,
    )
    info = build_engine(config, report=lambda line: typer.echo(line, err=True))
    width, height = info.spec.input_wh
    typer.echo(
        f"{output}: {info.backend} {info.precision}, {info.spec.task} {width}x{height}, sidecar {output}.json"
    )
    typer.echo(f"next: edgeyolo run {output} SOURCE", err=True)
