"""The graph that a backend wants: the float model as it is, with Q/DQ nodes, in FP16, with suppression.

Owns that choice and the making of the graph from the model and its scales. Refuses to build an engine of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.calibrate.trt_cache import cache_from_amax
from edgeyolo.errors import CalibrationError, ConfigError, StaleScalesError
from edgeyolo.files import sha256_of
from edgeyolo.graph.fp16 import half_model
from edgeyolo.graph.half_plan import half_plan, reasons
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.graph.suppress import GraphNms, suppress_in_graph
from edgeyolo.qdq import GraphView, int8_model, quant_plan
from edgeyolo.qdq.placement import int8_layers
from edgeyolo.scales import Scales, read_scales
from edgeyolo.sidecar import Backend
from edgeyolo.spec import ModelSpec, Precision

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphFor", "Wanted", "cache_bytes", "checked_scales", "graph_for", "scales_path"]

SCALES_NAME, MANIFEST_NAME = "scales.json", "manifest.txt"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Who will run the graph, and how.

    Args:
        backend: Whose Q/DQ placement.
        precision: What it shall compute in.
        typed: The backend takes its types from the graph alone (TensorRT from 10.12 on).
        implicit: INT8 comes from a calibration cache, the graph stays float.
        nms: A suppression to put into the graph.
    """

    backend: Backend
    precision: Precision
    typed: bool = False
    implicit: bool = False
    nms: GraphNms | None = None


@dataclass(frozen=True, kw_only=True)
class GraphFor:
    """A graph that is ready for its backend.

    Args:
        path: The file; the model itself where nothing had to be changed.
        made_from: Role to sha256 of what it was made from.
        decode: Nodes that stay in FP32 where precision is a flag.
        notes: What a user should know.
    """

    path: Path
    made_from: dict[str, str]
    decode: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())


def graph_for(model: Path, wanted: Wanted, scales: Path | None, folder: Path) -> GraphFor:
    """Make the graph that a backend wants.

    Args:
        model: A model with the graph contract.
        wanted: Who will run it.
        scales: ``scales.json`` of this model; None where it has Q/DQ nodes already, or none are wanted.
        folder: Where a changed graph is written.

    Raises:
        CalibrationError: The scales cannot be read, or are another model's (`StaleScalesError`).
        GraphError: The graph cannot be changed in the way that is wanted.
        ConfigError: It is no detector, and a suppression is wanted.
        MismatchError: Its FP16 form computes something else.
    """
    made_from = {"onnx": sha256_of(model)}
    if scales is not None:
        made_from["scales"] = sha256_of(scales)
    as_it_is = scales is None and (wanted.backend == "onnxruntime" or wanted.precision == "fp32")
    if as_it_is and wanted.nms is None:
        return GraphFor(path=model, made_from=made_from)
    graph = read_onnx(model)
    decode = frozenset(half_plan(graph).decode)
    path, notes = model, []
    if scales is not None:
        checked = checked_scales(model, graph, scales)
        if not wanted.implicit:
            int8 = int8_model(graph, checked, wanted.backend)
            notes.append(_int8_note(graph, checked, wanted.backend))
            graph = int8
            path = folder / "int8.onnx"
    quantized = any(node.op_type == "QuantizeLinear" for node in graph.graph.node)
    fits = quantized == (wanted.precision == "int8")  # what does not fit is refused by the builder
    lowered = wanted.typed and not wanted.implicit and wanted.precision != "fp32"
    if lowered and fits and not _has_half(graph):
        graph, report = half_model(graph)
        path = folder / f"{wanted.precision}.onnx"
        worst = max(item.error for item in report.closeness)
        notes.append(f"FP16 in the graph: differs from FP32 by {worst:.1e} of an output's spread at most")
        notes.append(f"FP32 in the graph: {reasons(report.plan)}")
        if report.raised_scales:
            notes.append(f"{report.raised_scales} INT8 scales raised to the least that FP16 holds")
    if wanted.nms is not None:  # last: the proof of FP16 compares scores, and a choice among them jumps
        decode |= suppress_in_graph(graph, wanted.nms)
        path = folder / "suppressed.onnx"
    if path != model:
        write_onnx(graph, path)
    return GraphFor(path=path, made_from=made_from, decode=decode, notes=tuple(notes))


def scales_path(calibration: Path) -> Path:
    """Find the scales of a calibration: in its folder, or the file itself.

    Raises:
        CalibrationError: There are none.
    """
    path = calibration / SCALES_NAME if calibration.is_dir() else calibration
    if not path.is_file():
        raise CalibrationError(
            f"{calibration}: a folder with {SCALES_NAME}, or such a file, expected",
            hint=f"edgeyolo calibrate MODEL.onnx IMAGES -o {calibration}",
        )
    return path


def checked_scales(path: Path, model: onnx.ModelProto, scales: Path) -> Scales:
    """Read scales and prove that they belong to a model.

    Raises:
        CalibrationError: They cannot be read, or are another model's (`StaleScalesError`).
    """
    found = read_scales(scales)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    found.check(model_sha256=sha256_of(path), preprocess=spec.preprocess if spec else None)
    _check_manifest(found, scales.with_name(MANIFEST_NAME))
    return found


def cache_bytes(scales: Scales, version: int) -> bytes:
    """Give the calibration cache of scales.

    Args:
        scales: Of the model as it is.
        version: ``NV_TENSORRT_VERSION`` of who reads it.

    Raises:
        ConfigError: The release has no calibration caches.
    """
    if version >= 110_000:
        raise ConfigError(f"TensorRT {version} reads no calibration cache", hint="leave --implicit out")
    amax = {name: scale.amax for name, scale in {**scales.tensors, **scales.plain}.items()}
    return cache_from_amax(amax, version=version).to_bytes()


def _int8_note(model: onnx.ModelProto, scales: Scales, target: Backend) -> str:
    """Say how much of the network is INT8: a target may compute more in float than the scales say."""
    plan = quant_plan(GraphView(model))
    int8 = int8_layers(plan, target, scales)
    layers = f"{len(int8)} of {len(plan.layers)} layers"
    return f"INT8 on {target}: {layers}, {plan.share(int8):.1%} of the multiply-adds; the rest in float"


def _check_manifest(scales: Scales, manifest: Path) -> None:
    """Refuse scales beside a manifest that is not theirs: two calibrations were mixed in one folder."""
    expected = scales.provenance.manifest_sha256
    if not expected or not manifest.is_file():
        return
    found = sha256_of(manifest)
    if found != expected:
        raise StaleScalesError(
            f"{manifest}: these scales were made from another manifest: manifest_sha256 {expected[:12]}… "
            f"expected, {found[:12]}… found",
            hint="calibrate again, or keep scales.json apart from the other manifest",
        )


def _has_half(model: onnx.ModelProto) -> bool:
    return any(tensor.data_type == type(tensor).FLOAT16 for tensor in model.graph.initializer)
