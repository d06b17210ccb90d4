"""The element type and shape of every tensor of a model, inferred without copying its weights.

Owns that inference: on YOLOv3 onnx's own, given the whole model, copies a quarter of a gigabyte twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["shell_of", "tensor_shapes", "tensor_types"]

_SMALL_BYTES = 4096  # shapes and axes, which the inference must see


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Give the ``TensorProto.DataType`` of every tensor, constants included.

    Raises:
        GraphError: onnx cannot infer the types.
    """
    found = {value.name: value.type.tensor_type.elem_type for value in _inferred(model)}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def tensor_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Give the shape of every tensor that has one, 0 for a size that is not known.

    Raises:
        GraphError: onnx cannot infer the shapes.
    """
    tensors = {value.name: value.type.tensor_type for value in _inferred(model)}
    return {
        name: tuple(dim.dim_value for dim in tensor.shape.dim)
        for name, tensor in tensors.items()
        if tensor.HasField("shape")
    }


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    onnx = require("onnx", why="to infer a model's types")
    light = shell_of(model)
    light.graph.node.extend(model.graph.node)
    inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= _SMALL_BYTES:
            light.graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            make = onnx.helper.make_tensor_value_info
            light.graph.input.append(make(tensor.name, tensor.data_type, tensor.dims))
    try:
        graph = onnx.shape_inference.infer_shapes(light).graph
    except Exception as exc:  # onnx raises its own InferenceError
        raise GraphError(f"the types of this graph cannot be inferred: {exc}") from exc
    return [*graph.input, *graph.output, *graph.value_info]


def shell_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy all of a model but nodes, weights and inferred shapes."""
    shell = type(model)()
    for field, value in model.ListFields():
        if field.name != "graph":
            _copy(shell, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name not in ("node", "initializer", "value_info"):
            _copy(shell.graph, field.name, value)
    return shell


def _copy(target: object, name: str, value: object) -> None:
    """Set a protobuf field: a scalar, a message or a list of either."""
    found = getattr(target, name)
    if hasattr(found, "MergeFrom") or hasattr(found, "extend"):
        found.MergeFrom(value)
    else:
        setattr(target, name, value)
