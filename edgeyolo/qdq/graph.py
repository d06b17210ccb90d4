"""A read-only view of an ONNX graph: who makes a tensor, who reads it, which tensors are constants.

Owns look-ups and the refusal of graphs that carry quantisation already. Refuses to change a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

__all__ = ["GraphView", "attributes_of"]

_QUANTISED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


class GraphView:
    """Look-ups over a float ONNX model.

    Args:
        model: A checked model; read, never changed.

    Raises:
        GraphError: The model is quantised already.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        _refuse_quantised(self.nodes)
        self.producer: dict[str, int] = {}
        self.consumers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node.output:
                self.producer[name] = index
            for name in node.input:
                self.consumers.setdefault(name, []).append(index)
        self.outputs: list[str] = [value.name for value in model.graph.output]
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs: list[str] = [
            value.name for value in model.graph.input if value.name not in self._initializers
        ]
        self.shapes: Mapping[str, tuple[int, ...]] = _shapes(model)

    def node_of(self, tensor: str) -> onnx.NodeProto | None:
        """Give the node that makes `tensor`; None for an input or a constant."""
        index = self.producer.get(tensor)
        return None if index is None else self.nodes[index]

    def sole_reader(self, tensor: str) -> onnx.NodeProto | None:
        """Give the node that alone reads `tensor`; None where several do or it is a graph output."""
        readers = self.consumers.get(tensor, [])
        return self.nodes[readers[0]] if len(readers) == 1 and tensor not in self.outputs else None

    def is_constant(self, tensor: str) -> bool:
        """Tell whether `tensor` is an initializer or comes from a Constant node."""
        if tensor in self._initializers:
            return True
        node = self.node_of(tensor)
        return node is not None and node.op_type == "Constant"

    def constant(self, tensor: str) -> npt.NDArray[np.generic] | None:
        """Give the value of a constant tensor; None where it is not constant."""
        numpy_helper = require("onnx.numpy_helper", why="to read a model's weights")
        if tensor in self._initializers:
            array: npt.NDArray[np.generic] = numpy_helper.to_array(self._initializers[tensor])
            return array
        node = self.node_of(tensor)
        if node is None or node.op_type != "Constant":
            return None
        value = attributes_of(node).get("value")
        return None if value is None else numpy_helper.to_array(value)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Give a node's attributes as Python values."""
    helper = require("onnx.helper", why="to read an ONNX graph")
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _refuse_quantised(nodes: list[onnx.NodeProto]) -> None:
    for node in nodes:
        if node.op_type in _QUANTISED_OPS or node.op_type.startswith("QLinear"):
            raise GraphError(
                f"a float model expected, node {node.name or node.output[0]!r} is a {node.op_type}: "
                "the model is quantised already",
                hint="give the float model; EdgeYOLO writes the Q/DQ pairs itself",
            )


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Infer the shape of every tensor for one image; -1 stands for what is unknown even so.

    Exporters that leave the batch open compute the shapes behind the heads from it. They are known once it
    is 1 and the values of shapes are followed.
    """
    onnx = require("onnx", why="to infer the shapes of a model")
    light = _without_weights(model)
    for value in light.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    found = {}
    values = (inferred.graph.value_info, inferred.graph.input, inferred.graph.output)
    for value in (v for group in values for v in group):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            found[value.name] = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
    return found


def _without_weights(model: onnx.ModelProto) -> Any:
    """Copy a model with its big initializers as typed inputs, so that inference does not copy them again."""
    onnx = require("onnx", why="to infer the shapes of a model")
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    named = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= 4096:
            graph.initializer.append(tensor)
        elif tensor.name not in named:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light
