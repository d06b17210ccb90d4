"""``edgeyolo calibrate``: your pictures become INT8 scales, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from edgeyolo.cli.foreign import Anchors, Family, Names, PreprocessText, Size, StripNms

if TYPE_CHECKING:
    from edgeyolo.pipeline.calibration import Method, Target

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)


def calibrate(  # noqa: PLR0913 - one parameter an option
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", help="A float model, from convert, simplify or anywhere.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="Folder, glob, list file, COCO json, manifest or video; 100 to 500 pictures.",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="auto, entropy, mse, percentile or minmax.")] = "auto",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most N pictures, spread over all.")
    ] = None,
    every: Annotated[
        int | None, typer.Option(metavar="N", help="Every N-th frame of a video; one a second by default.")
    ] = None,
    target: Annotated[str, typer.Option(help="Whose Q/DQ placement: tensorrt or onnxruntime.")] = "tensorrt",
    target_agreement: Annotated[
        float | None, typer.Option(metavar="X", help="Least agreement with FP32, 0..1; exit 1 below it.")
    ] = None,
    max_float_macs: Annotated[
        float, typer.Option(metavar="X", help="Largest share of multiply-adds left in float, 0..1.")
    ] = 0.05,
    trt_version: Annotated[
        str, typer.Option(metavar="V", help="Header of tensorrt.cache: 8.6.1, 10.3.0, 8601 or 100300.")
    ] = "8601",
    from_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the scales of this TensorRT calibration cache.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    family: Family = None,
    anchors: Anchors = None,
    names: Names = None,
    preprocess: PreprocessText = None,
    size: Size = None,
    strip_nms: StripNms = False,
) -> None:
    """Choose INT8 scales with your own pictures, and report what they cost."""
    import json

    from edgeyolo.pipeline.adapt import options_from_text
    from edgeyolo.pipeline.calibrate import calibrate as run
    from edgeyolo.pipeline.calibration import CalibrateConfig

    config = CalibrateConfig(
        model=model,
        images=images,
        output=output,
        method=cast("Method", method),  # CalibrateConfig refuses a wrong word, and knows the right ones
        limit=limit,
        every=every,
        target=cast("Target", target),
        target_agreement=target_agreement,
        max_float_macs=max_float_macs,
        trt_version=trt_version,
        from_cache=from_cache,
        adapt=options_from_text(
            family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
        ),
        progress=True,
    )
    found = run(config)
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(found.lines()))
    if as_json:
        typer.echo(found.verdict, err=True)
    if not found.passed:
        raise typer.Exit(1)
