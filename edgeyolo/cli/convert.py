"""``edgeyolo convert``: Darknet's cfg and weights become ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeyolo.errors import ConfigError

if TYPE_CHECKING:
    from edgeyolo.darknet.convert import ConvertReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(convert)


def convert(  # noqa: PLR0913  one argument an option
    cfg: Annotated[
        str, typer.Argument(metavar="CFG", help="A .cfg file, or a built-in name such as yolov3.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="The ONNX file.")],
    weights: Annotated[Path | None, typer.Argument(metavar="[WEIGHTS]", help="Its .weights file.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N|WxH", help="Network input in pixels; the cfg's by default.")
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", help="Pictures at once.")] = "1",
    outputs: Annotated[
        str, typer.Option(metavar="decoded|raw", help="Boxes and scores, or each head's tensor.")
    ] = "decoded",
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line; COCO's for 80 classes.")
    ] = None,
    random_weights: Annotated[
        int | None, typer.Option(metavar="SEED", help="Make weights up, to try speed and tools.")
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX opset, 13 to 21.")] = 16,
    resize: Annotated[
        str, typer.Option(metavar="auto|letterbox|stretch", help="Pictures; auto as the cfg's own Darknet.")
    ] = "auto",
) -> None:
    """Convert a Darknet cfg and its weights to ONNX."""
    from edgeyolo.darknet.convert import ConvertOptions
    from edgeyolo.darknet.convert import convert as convert_model

    options = ConvertOptions(
        input_wh=_size(size),
        batch=_batch(batch),
        outputs=outputs,
        names=names,
        random_seed=random_weights,
        opset=opset,
        resize=_resize(resize),
    )
    report = convert_model(cfg, weights, output, options, report=lambda line: typer.echo(line, err=True))
    _print(output, report)


def _size(text: str | None) -> tuple[int, int] | None:
    """Read ``416`` or ``640x384``; whether the network can take it, the network says."""
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--size: N or WxH in pixels expected, {text!r} found", hint="--size 640x384")
    return int(numbers[0]), int(numbers[-1])


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise ConfigError(f"--batch: a number or dynamic expected, {text!r} found", hint="--batch 1")
    return int(text)


def _resize(text: str) -> Literal["letterbox", "stretch"] | None:
    if text == "auto":
        return None
    kinds: dict[str, Literal["letterbox", "stretch"]] = {"letterbox": "letterbox", "stretch": "stretch"}
    if text not in kinds:
        raise ConfigError(
            f"--resize: auto, letterbox or stretch expected, {text!r} found", hint="--resize auto"
        )
    return kinds[text]


def _print(output: Path, report: ConvertReport) -> None:
    network = report.network
    typer.echo(
        f"{output}: {report.size_bytes / 1e6:.1f} MB, {len(network.layers)} layers as {report.nodes} nodes, "
        f"{2 * network.macs / 1e9:.2f} GFLOPs, {network.parameter_count / 1e6:.2f} M parameters"
    )
    for name, shape in report.outputs:
        text = "x".join("batch" if size == -1 else str(size) for size in shape)
        typer.echo(f"  output {name} {text}")
    typer.echo(f"next: edgeyolo simplify {output} -o {output.with_suffix('.simple.onnx')}", err=True)
