"""The operators of a foreign graph: of an opset that the project takes, all of them in the graph itself.

Owns the raise of opset 11 and 12 to 13, which INT8 needs, by onnx's own converter, the check that it left the
weights alone, the writing out of a model's own functions, and stored tensors under a second name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSETS", "with_opset", "without_aliases", "without_functions"]

OPSETS = range(11, 22)
_PER_CHANNEL = 13
"""The first opset whose QuantizeLinear has one scale a channel, and whose axes are inputs everywhere."""


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write out the functions that PyTorch's exporter may leave in a model: what they hold is looked at."""
    if not model.functions:
        return model
    inlined: onnx.ModelProto = require("onnx.inliner", why="to read an ONNX model").inline_local_functions(
        model
    )
    return inlined


def without_aliases(model: onnx.ModelProto) -> None:
    """Let layers read their stored tensors directly, in place.

    PyTorch's exporter stores equal tensors once and gives the others as Identity nodes: a bias of zeros, as a
    rule. A layer whose bias a node makes is none with constant weights, and would be left out of INT8.
    """
    stored = {item.name for item in model.graph.initializer}
    aliases: dict[str, str] = {}
    for node in model.graph.node:
        node.input[:] = [aliases.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in stored:
            aliases[node.output[0]] = node.input[0]


def with_opset(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Give the model in opset 13 or later, and what was done.

    Args:
        model: The foreign model; returned as it is where nothing has to be done.

    Raises:
        GraphError: An opset outside 11 to 21.
    """
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise GraphError(
            f"opset {OPSETS[0]} to {OPSETS[-1]} expected, {opset} found", hint="export with opset 16"
        )
    if opset >= _PER_CHANNEL:
        return model, []
    try:
        raised = require("onnx.version_converter", why="to raise an opset").convert_version(
            model, _PER_CHANNEL
        )
    except Exception as exc:  # noqa: BLE001  an operator it does not know, such as a plugin: float still works
        return model, [f"opset {opset} stays, so INT8 is not to be had: {exc}"]
    if not _weights(model) <= _weights(raised):
        return model, [f"opset {opset} stays, so INT8 is not to be had: onnx's converter changes weights"]
    # Whether the converter carries these over depends on onnx's release.
    del raised.metadata_props[:]
    raised.metadata_props.extend(model.metadata_props)
    raised.doc_string = model.doc_string
    return raised, [f"opset {opset} is raised to {_PER_CHANNEL}, which INT8 needs"]


def _weights(model: onnx.ModelProto) -> set[tuple[str, int, bytes]]:
    """Give name, type and values of every stored tensor that is a layer's weight."""
    array = require("onnx.numpy_helper", why="to read an ONNX model").to_array
    used = {
        name
        for node in model.graph.node
        if node.op_type in {"Conv", "ConvTranspose", "Gemm", "MatMul"}
        for name in node.input[1:]
    }
    stored = (item for item in model.graph.initializer if item.name in used)
    return {(item.name, item.data_type, array(item).tobytes()) for item in stored}
