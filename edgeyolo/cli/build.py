"""``edgeyolo build``: an ONNX file becomes an engine, or a folder for trtexec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from edgeyolo.cli.foreign import Anchors, Family, Names, PreprocessText, Size, StripNms

if TYPE_CHECKING:
    from edgeyolo.build import BackendChoice
    from edgeyolo.spec import Precision

__all__ = ["register"]

_TENSORRT = "TensorRT"
_INT8 = "INT8"
_NMS = "Suppression"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(build)


def build(  # noqa: PLR0913 - options of a command
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="From convert, simplify or anywhere.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.engine", help="The engine file.")],
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt or onnxruntime; auto is TensorRT where a device answers.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What calibrate wrote for this model.", rich_help_panel=_INT8),
    ] = None,
    implicit: Annotated[
        bool,
        typer.Option("--implicit", help="Scales as a cache, TensorRT <= 10 and DLA.", rich_help_panel=_INT8),
    ] = False,
    on_device: Annotated[
        str | None,
        typer.Option(
            "--calibrate-on-device",
            metavar="IMAGES",
            help="TensorRT's own calibrator on these pictures.",
            rich_help_panel=_INT8,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Most pictures for that.", rich_help_panel=_INT8, min=1)
    ] = None,
    batches: Annotated[
        str | None,
        typer.Option(metavar="MIN,OPT,MAX", help="For a dynamic batch.", rich_help_panel=_TENSORRT),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(metavar="MIB", help="Most memory a tactic may use.", rich_help_panel=_TENSORRT),
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(help="0 (fast build) to 5 (long search).", rich_help_panel=_TENSORRT)
    ] = None,
    timing_cache: Annotated[
        bool, typer.Option(help="Keep what was measured.", rich_help_panel=_TENSORRT)
    ] = True,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="2:4 sparse kernels.", rich_help_panel=_TENSORRT)
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="Loads in later versions.", rich_help_panel=_TENSORRT),
    ] = False,
    dla: Annotated[
        int | None, typer.Option(metavar="N", help="Run on this DLA core.", rich_help_panel=_TENSORRT)
    ] = None,
    gpu_fallback: Annotated[
        bool,
        typer.Option(
            "--gpu-fallback", help="What DLA cannot run goes to the GPU.", rich_help_panel=_TENSORRT
        ),
    ] = False,
    trtexec: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="8.2, 8.5, ...: write a folder with all that trtexec of that version needs.",
            rich_help_panel=_TENSORRT,
        ),
    ] = None,
    nms: Annotated[
        str, typer.Option(help="host, or graph: the engine suppresses boxes itself.", rich_help_panel=_NMS)
    ] = "host",
    nms_iou: Annotated[
        float | None, typer.Option(help="Overlap of two boxes of one object; 0.45.", rich_help_panel=_NMS)
    ] = None,
    nms_conf: Annotated[
        float | None, typer.Option(help="Least score that takes part; 0.01.", rich_help_panel=_NMS)
    ] = None,
    family: Family = None,
    anchors: Anchors = None,
    names: Names = None,
    preprocess: PreprocessText = None,
    size: Size = None,
    strip_nms: StripNms = False,
) -> None:
    """Build an engine and its sidecar, and prove that it loads here."""
    from edgeyolo.pipeline.adapt import options_from_text
    from edgeyolo.pipeline.build import (
        Batches,
        BuildConfig,
        TensorRTOptions,
        build_engine,
        nms_from_options,
    )
    from edgeyolo.pipeline.trtexec import write_trtexec_folder

    options = TensorRTOptions(
        batches=None if batches is None else Batches.parse(batches),
        workspace_mib=workspace,
        timing_cache=timing_cache,
        optimization_level=optimization_level,
        sparse=sparse,
        version_compatible=version_compatible,
        dla_core=dla,
        gpu_fallback=gpu_fallback,
    )
    config = BuildConfig(
        model=model,
        output=output,
        backend=cast("BackendChoice", backend),  # build() refuses a wrong word, and knows the right ones
        precision=cast("Precision", precision),
        calibration=calibration,
        implicit=implicit,
        calibrate_on_device=on_device,
        limit=limit,
        tensorrt=options,
        nms=nms_from_options(nms, iou=nms_iou, conf=nms_conf),
        adapt=options_from_text(
            family=family, anchors=anchors, names=names, preprocess=preprocess, size=size, strip_nms=strip_nms
        ),
        words=_words(
            implicit=implicit,
            calibrate_on_device=on_device,
            limit=limit,
            batches=batches,
            workspace=workspace,
            optimization_level=optimization_level,
            no_timing_cache=not timing_cache,
            sparse=sparse,
            version_compatible=version_compatible,
            dla=dla,
            gpu_fallback=gpu_fallback,
            nms=None if nms == "host" else nms,
            nms_iou=nms_iou,
            nms_conf=nms_conf,
        ),
    )
    if trtexec is not None:
        folder = write_trtexec_folder(config, trtexec, report=lambda line: typer.echo(line, err=True))
        typer.echo(f"{output}: {', '.join(folder.files)}")
        typer.echo(folder.command)
        return
    info = build_engine(config, report=lambda line: typer.echo(line, err=True))
    width, height = info.spec.input_wh
    typer.echo(
        f"{output}: {info.backend} {info.precision}, {info.spec.task} {width}x{height}, sidecar {output}.json"
    )
    if info.spec.outputs != "raw":  # raw heads are for a decoder of your own: `run` has none
        typer.echo(f"next: edgeyolo run {output} SOURCE", err=True)


def _words(**options: Any) -> tuple[str, ...]:
    """Give options as they stand on a command line; what was not given is left out."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return tuple(words)
