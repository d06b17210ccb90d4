"""A cfg and its weights to an ONNX file.

Owns the road from two files to one and what is told on the way. Each step is elsewhere: reading (``cfg``,
``network``, ``weights``), writing layers (``to_onnx``), names (``names``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo import __version__
from edgeyolo.class_names import names_for
from edgeyolo.darknet.architectures import architecture
from edgeyolo.darknet.cfg import Cfg, read_cfg
from edgeyolo.darknet.network import Network, Parameters, network_from_cfg
from edgeyolo.darknet.onnx_file import write_onnx
from edgeyolo.darknet.to_onnx import DetectorResize, class_count, onnx_from_network
from edgeyolo.darknet.weights import load_parameters, random_parameters
from edgeyolo.errors import ConfigError, WeightsError
from edgeyolo.files import sha256_of

if TYPE_CHECKING:
    import onnx

__all__ = ["ConvertOptions", "ConvertReport", "convert"]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """How a network is written; the defaults are those of the command line.

    Args:
        input_wh: Network input in pixels, or None for the cfg's.
        batch: Batch size, or None for a dynamic one.
        outputs: ``decoded`` boxes and scores, or the ``raw`` tensor of each head.
        names: File of class names, or None.
        random_seed: Make parameters up in place of reading weights.
        opset: ONNX opset, 13 to 21.
        resize: ``letterbox`` or ``stretch``; None as the Darknet of the cfg does it.
    """

    input_wh: tuple[int, int] | None = None
    batch: int | None = 1
    outputs: str = "decoded"
    names: Path | None = None
    random_seed: int | None = None
    opset: int = 16
    resize: DetectorResize | None = None


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """What was written.

    Args:
        network: Its layers.
        outputs: Name and shape of each output, the batch first (-1 where dynamic).
        nodes: Nodes of the graph.
        size_bytes: Of the file.
    """

    network: Network
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    nodes: int
    size_bytes: int


def convert(
    cfg: Path | str,
    weights: Path | str | None,
    output: Path | str,
    options: ConvertOptions | None = None,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> ConvertReport:
    """Convert a Darknet model to ONNX.

    Args:
        cfg: A ``.cfg`` file, or the name of an architecture that is built in (``yolov3``).
        weights: Its ``.weights`` file; None with ``options.random_seed``.
        output: The ``.onnx`` file, written whole or not at all.
        options: How.
        report: Takes each line that the user should be told: warnings of the cfg, where the names come from.

    Returns:
        What was written.

    Raises:
        ConfigError: No weights and no seed, or both; `output` is one of the sources; or an option that the
            model cannot take.
        CfgError: The cfg is wrong.
        WeightsError: The weights are wrong or do not fit the cfg.
        UnsupportedOpError: A layer that cannot be converted.
        OutputError: `output` cannot be written.
    """
    options = options or ConvertOptions()
    _refuse_overwriting(output, cfg, weights)
    network = network_from_cfg(_cfg(cfg), input_wh=options.input_wh)
    for warning in network.warnings:
        report(f"warning: {warning}")
    weights = _checked_weights(cfg, weights, options)
    detects = bool(network.heads)
    chosen = names_for(class_count(network), detects=detects, path=options.names)
    report(chosen.origin)
    if network.stretched and options.resize is None and detects:
        report(
            f"pictures are stretched to the network input, as the Darknet of this cfg does "
            f"({network.stretched}); --resize letterbox keeps their proportions"
        )
    model = _model(network, weights, chosen.names, options, _provenance(cfg, weights, options))
    size = write_onnx(model, output)
    return ConvertReport(
        network=network,
        outputs=tuple((item.name, _shape(item)) for item in model.graph.output),
        nodes=len(model.graph.node),
        size_bytes=size,
    )


def _cfg(cfg: Path | str) -> Cfg:
    """Read a file where there is one or the text looks like a path; else look the name up."""
    path = Path(cfg)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return read_cfg(path)
    return architecture(str(cfg))


def _refuse_overwriting(output: Path | str, *sources: Path | str | None) -> None:
    for source in sources:
        if source is not None and Path(source).exists() and Path(source).resolve() == Path(output).resolve():
            raise ConfigError(
                f"-o {output}: a new file expected, and this is one to convert from", hint="-o OUT.onnx"
            )


def _checked_weights(cfg: Path | str, weights: Path | str | None, options: ConvertOptions) -> Path | None:
    if weights is not None and options.random_seed is not None:
        raise ConfigError("weights or --random-weights expected, both found", hint="leave one of them out")
    if weights is None and options.random_seed is None:
        name = Path(cfg).stem
        raise ConfigError(
            f"{cfg}: a cfg has no weights in it, and no .weights file was given",
            hint=f"edgeyolo convert {cfg} {name}.weights -o {name}.onnx   (edgeyolo fetch {name} gets known "
            "ones; --random-weights 0 makes some up, to try speed and tools)",
        )
    if weights is None:
        return None
    if not Path(weights).is_file():
        found = "a .weights file expected, no file found" if Path(weights).exists() else "no such file"
        raise WeightsError(
            f"{weights}: {found}", hint=f"edgeyolo fetch {Path(weights).stem} gets known weights"
        )
    return Path(weights)


def _provenance(cfg: Path | str, weights: Path | None, options: ConvertOptions) -> dict[str, str]:
    """Say by hash what the model is made from."""
    made_from = {"edgeyolo": __version__}
    if Path(cfg).is_file():
        made_from["cfg_sha256"] = sha256_of(cfg)
    else:
        made_from["architecture"] = str(cfg)
    if weights is not None:
        made_from["weights_sha256"] = sha256_of(weights)
    else:
        made_from["random_weights"] = f"seed {options.random_seed}"
    return made_from


def _model(
    network: Network,
    weights: Path | None,
    names: tuple[str, ...],
    options: ConvertOptions,
    provenance: dict[str, str],
) -> onnx.ModelProto:
    # The parameters end with this function, so that the file they are mapped from does not lie in memory
    # beside the model while that is written.
    parameters: Parameters
    if weights is not None:
        parameters = load_parameters(network, weights)
    else:
        parameters = random_parameters(network, options.random_seed or 0)
    return onnx_from_network(
        network,
        parameters,
        names=names,
        outputs=options.outputs,
        batch=options.batch,
        opset=options.opset,
        resize=options.resize,
        provenance=provenance,
    )


def _shape(item: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value or -1 for dim in item.type.tensor_type.shape.dim)
