"""What a file is: told by its content, with the facts that the next command needs.

Owns the recognition of EdgeYOLO's own kinds of file and the facts of each as plain JSON values; how they are
printed is in ``inspect_text``. Refuses to judge a file: a cfg that does not convert, or an engine that is not
its sidecar's, fails here with the same error as there.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import ConfigError, EdgeYoloError, ModelError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from edgeyolo.darknet.layers import Layer
    from edgeyolo.darknet.network import Network

__all__ = ["inspect", "with_layers"]

_KINDS = (
    "a Darknet cfg, Darknet weights, an ONNX model, scales.json, a TensorRT calibration cache, "
    "a manifest, an engine or its sidecar, rules of events"
)
_ONNX_START = b"\x08"  # protobuf: field 1, a varint; ModelProto.ir_version in every ONNX file
_WEIGHTS_HEADER_BYTES = 20


def inspect(target: str) -> dict[str, Any]:
    """Tell what a file or a built-in architecture is.

    Args:
        target: A path, or a name such as ``yolov3``.

    Returns:
        Plain JSON values: ``kind`` (``cfg``, ``weights``, ``onnx``, ``engine``, ``scales``, ``trt_cache``,
        ``manifest``, ``rules``) and ``name``, and then what that kind has.

    Raises:
        ConfigError: There is neither such a file nor such an architecture, or rules are wrong.
        ModelError: The file is none of the kinds, or one that is wrong.
        GraphError: An ONNX file that is none.
        EngineError: An engine without its sidecar, or with another's.
        CalibrationError: A scales file, a calibration cache or a manifest that is broken.
        MissingDependencyError: An ONNX file, and onnx is absent.

    Examples:
        >>> facts = inspect("darknet53")
        >>> facts["kind"], facts["input"], facts["parameters"], round(facts["gflops"], 2)
        ('cfg', [3, 256, 256], 41645640, 18.57)
    """
    from edgeyolo.pipeline.inspect_calibration import facts_of_calibration
    from edgeyolo.pipeline.inspect_rules import facts_of_rules
    from edgeyolo.sidecar import sidecar_path

    path = Path(target)
    if not path.exists():
        return _architecture(target)
    if path.is_dir():
        raise ModelError(f"{path}: {_KINDS} expected, a folder found", hint="give a file")
    if path.suffix == ".toml":
        return facts_of_rules(path)
    if path.suffix == ".engine" or sidecar_path(path).exists():
        return _engine(path)
    with path.open("rb") as file:
        head = file.read(4096)
    if path.suffix == ".json" and path.with_suffix("").is_file():
        return _engine(path.with_suffix(""))
    if (facts := facts_of_calibration(path, head)) is not None:
        return facts
    if _looks_like_cfg(head):
        return _cfg(path)
    if head.startswith(_ONNX_START) or path.suffix == ".onnx":
        return _onnx(path)
    return _weights(path, head)


def _architecture(target: str) -> dict[str, Any]:
    from edgeyolo.darknet.architectures import ARCHITECTURES, architecture
    from edgeyolo.darknet.network import network_from_cfg

    if target not in ARCHITECTURES:
        raise ConfigError(
            f"inspect: neither a file nor a built-in architecture: {target}",
            hint=f"give the path of {_KINDS}, or one of {', '.join(ARCHITECTURES)}",
        )
    return _facts_of_network(network_from_cfg(architecture(target)), "a built-in architecture")


def _cfg(path: Path) -> dict[str, Any]:
    from edgeyolo.darknet.cfg import read_cfg
    from edgeyolo.darknet.network import network_from_cfg

    return _facts_of_network(network_from_cfg(read_cfg(path)), "a Darknet cfg")


def _looks_like_cfg(head: bytes) -> bool:
    """Say whether the first line that is no comment is a section header."""
    for line in head.splitlines():
        text = line.strip()
        if text and not text.startswith((b"#", b";")):
            return text.startswith(b"[") and text.endswith(b"]")
    return False


def _facts_of_network(network: Network, what: str) -> dict[str, Any]:
    return {
        "kind": "cfg",
        "name": network.source,
        "what": what,
        "input": list(network.input_shape),
        "parameters": network.parameter_count,
        "weights_bytes": _WEIGHTS_HEADER_BYTES + 4 * network.parameter_count,
        "gflops": 2 * network.macs / 1e9,
        "heads": [_facts_of_head(head) for head in network.heads],
        "layers": [_facts_of_layer(layer) for layer in network.layers],
        "warnings": list(network.warnings),
    }


def _facts_of_head(head: Layer) -> dict[str, Any]:
    wanted = ("classes", "stride_wh", "anchors_wh", "scale_x_y", "new_coords")
    return {
        "layer": head.index,
        "kind": head.kind,
        **{key: getattr(head, key) for key in wanted if hasattr(head, key)},
    }


def _facts_of_layer(layer: Layer) -> dict[str, Any]:
    from edgeyolo.darknet.layers import Layer as Root

    common = {field.name for field in dataclasses.fields(Root)}
    own = {
        field.name: _plain(getattr(layer, field.name))
        for field in dataclasses.fields(layer)
        if field.name not in common
    }
    return {
        "index": layer.index,
        "kind": layer.kind,
        "inputs": list(layer.inputs),
        "in": [list(shape) for shape in layer.in_shapes],
        "out": list(layer.out_shape),
        "parameters": layer.parameter_count,
        "gflops": 2 * layer.macs / 1e9,
        "options": own,
    }


def _plain(value: Any) -> Any:
    """Turn an enum into its word."""
    return getattr(value, "value", value)


def _weights(path: Path, head: bytes) -> dict[str, Any]:
    from edgeyolo.darknet.architectures import ARCHITECTURES
    from edgeyolo.darknet.misfit import what_else
    from edgeyolo.darknet.weights import read_header

    try:
        header = read_header(path)
    except WeightsError as exc:
        if path.suffix == ".weights":
            raise
        other = what_else(head)
        found = other[0] if other else "something else"
        raise ModelError(f"{path}: {_KINDS} expected, {found} found", hint=other and other[1]) from exc
    return {
        "kind": "weights",
        "name": str(path),
        "what": "Darknet weights",
        "format": ".".join(map(str, header.version)),
        "pictures_seen": header.seen,
        "parameters": header.float_count,
        "fits": [name for name in ARCHITECTURES if _floats_of(name) == header.float_count],
        "cfg_beside": _cfg_beside(path, header.float_count),
    }


def _floats_of(name: str) -> int:
    from edgeyolo.darknet.architectures import architecture
    from edgeyolo.darknet.network import network_from_cfg

    return network_from_cfg(architecture(name)).parameter_count


def _cfg_beside(path: Path, floats: int) -> dict[str, Any] | None:
    """Compare with the cfg of the same name in the same folder, the usual way to keep the two."""
    beside = path.with_suffix(".cfg")
    if beside == path or not beside.is_file():
        return None
    expected = _cfg(beside)["parameters"]
    return {"name": str(beside), "parameters": expected, "fits": expected == floats}


def _onnx(path: Path) -> dict[str, Any]:
    from edgeyolo.graph.onnx_file import read_onnx
    from edgeyolo.spec import ModelSpec

    model = read_onnx(path)
    initializers = {tensor.name for tensor in model.graph.initializer}
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    nodes = list(_nodes(model.graph))
    return {
        "kind": "onnx",
        "name": str(path),
        "what": "an ONNX model",
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": [_facts_of_tensor(value) for value in model.graph.input if value.name not in initializers],
        "outputs": [_facts_of_tensor(value) for value in model.graph.output],
        "parameters": sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        "nodes": len(nodes),
        "ops": dict(Counter(node.op_type for node in nodes).most_common()),
        "spec": spec.to_json() if spec else None,
        "family": None if spec else _family(model),
    }


def _family(model: onnx.ModelProto) -> dict[str, Any]:
    """Tell the family of a model of another origin; where it has none, why."""
    from edgeyolo.adapt.adapt import evidence_of

    try:
        found = evidence_of(model)
    except EdgeYoloError as exc:
        return {"name": None, "why": exc.message, "hint": exc.hint}
    return {
        "name": found.family,
        "classes": found.classes,
        "strides": list(found.strides),
        "reasons": list(found.reasons),
        "assumed": list(found.assumed),
    }


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Give the nodes of a graph and of the graphs inside its If and Loop nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _facts_of_tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    from edgeyolo.optional import require

    tensor = value.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    dtype = require("onnx", why="to read an ONNX file").TensorProto.DataType.Name(tensor.elem_type)
    return {"name": value.name, "dtype": dtype.lower(), "shape": shape}


def with_layers(facts: dict[str, Any]) -> dict[str, Any]:
    """Add what TensorRT says of each layer of an engine; needs the device that the engine is for.

    Args:
        facts: From `inspect`.

    Raises:
        ConfigError: They are not of a TensorRT engine.
        EngineError: The engine does not load here, or TensorRT does not tell.
        MissingDependencyError: TensorRT, PyCUDA or the GPU is absent.
    """
    if facts["kind"] != "engine":
        raise ConfigError(f"--layers: a TensorRT engine expected, {facts['name']} is {facts['what']}")
    from edgeyolo.runtime import open_engine
    from edgeyolo.runtime.tensorrt_layers import layer_facts

    with open_engine(facts["name"]) as engine:
        return {**facts, "layers": [dataclasses.asdict(layer) for layer in layer_facts(engine)]}


def _engine(path: Path) -> dict[str, Any]:
    from edgeyolo.sidecar import read_sidecar

    info = read_sidecar(path)
    return {
        "kind": "engine",
        "name": str(path),
        "what": "an engine",
        "bytes": path.stat().st_size,
        **dataclasses.asdict(info),
    }
