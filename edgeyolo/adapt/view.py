"""A foreign ONNX graph to read: shapes, producers, and what lies between two points of it.

Owns the questions that recognition asks, which are of structure only. Refuses to change a graph (`edit`) and
to know a family of detectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.adapt.sample import sample
from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["LAYOUT", "WEIGHTED", "GraphView", "Leaf", "Shape", "Tensor", "open_inputs"]

Shape = tuple[int | None, ...]

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""The layers with weights: what lies behind the last of them is a detector's head."""

LAYOUT = frozenset(
    {
        "Cast", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
        "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators that move values and do not change them, but for the rounding of INT8."""

_CUTS = frozenset({"Gather", "SequenceAt", "Slice", "Split", "SplitToSequence"})
_ACTIVATIONS = frozenset({"HardSigmoid", "Sigmoid", "Softmax"})
# Operators whose inputs after the first say where and how, and carry no values of the picture.
_ONE_DATA_INPUT = LAYOUT | _CUTS | {"Clip", "Expand", "Pad", "ReduceMax", "Resize", "Tile", "TopK"}


class Tensor(NamedTuple):
    """An input or an output of the graph; None is a dimension that is not fixed."""

    name: str
    shape: Shape
    dtype: str


class Leaf(NamedTuple):
    """A part of the last Concat: its tensor, how wide it is on the axis asked for, and which axis that is."""

    tensor: str
    width: int
    axis: int


class GraphView:
    """A model with its shapes inferred.

    Args:
        model: Complete; it is read only.

    Raises:
        GraphError: Its shapes contradict each other, or it has not one picture as input.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        onnx = require("onnx", why="to read an ONNX model")
        self._numpy_helper = require("onnx.numpy_helper", why="to read an ONNX model")
        self._data_type = onnx.TensorProto.DataType
        try:
            inferred = require("onnx.shape_inference", why="to read an ONNX model").infer_shapes(
                model, data_prop=True
            )
        except Exception as exc:  # onnx's own InferenceError is a RuntimeError in some releases
            raise GraphError(f"the shapes of the graph contradict each other: {exc}") from exc
        graph = inferred.graph
        self.model = model
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self._infos = {item.name: item for item in (*graph.value_info, *graph.input, *graph.output)}
        self.input = self._tensor(open_inputs(model)[0].name)
        self._sample: dict[str, npt.NDArray[np.generic]] | None = None
        self._measured: dict[str, Shape] = {}
        outputs = [self._tensor(item.name) for item in graph.output]
        made = [name for node in graph.node for name in node.output if name]
        if unknown := [name for name in made if not _is_known(self.shape(name))]:
            self._sample = sample(model, open_inputs(model)[0], unknown)
            self._measured = {name: value.shape for name, value in self._sample.items()}
        self.outputs = tuple(_filled(output, self._measured.get(output.name)) for output in outputs)
        self._measured |= {output.name: output.shape for output in self.outputs}

    @property
    def input_wh(self) -> tuple[int, int]:
        """Width and height of the network input."""
        height, width = self.input.shape[2:]
        assert height is not None  # the input was made static before
        assert width is not None
        return width, height

    @property
    def batch(self) -> int | None:
        """Batch size; None where it is dynamic."""
        return self.input.shape[0]

    def values(self, output: str) -> npt.NDArray[np.generic] | None:
        """Give an output's values for a picture of noise; None where the graph does not run here."""
        if self._sample is None:
            self._sample = sample(self.model, open_inputs(self.model)[0], ())
        return self._sample.get(output)

    def rows(self, output: str, axis: int) -> npt.NDArray[np.generic] | None:
        """Give those values as ``[B, N, X]`` of an output that has its X on `axis`, 1 or 2."""
        values = self.values(output)
        return values if values is None or axis == 2 else values.swapaxes(1, 2)

    def shape(self, name: str) -> Shape | None:
        """Give a tensor's shape, or None where even its rank is unknown."""
        if name in self._measured:
            return self._measured[name]
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        info = self._infos.get(name)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        return tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in info.type.tensor_type.shape.dim
        )

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Give the node that makes a tensor; None for inputs and initializers."""
        return self._producers.get(name)

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Give the node that reads a tensor; None where several do, or none."""
        readers = [node for node in self.model.graph.node if name in node.input]
        return readers[0] if len(readers) == 1 else None

    def constant(self, name: str) -> npt.NDArray[np.generic] | None:
        """Give the values of an initializer or a Constant node."""
        if name in self._initializers:
            array: npt.NDArray[np.generic] = self._numpy_helper.to_array(self._initializers[name])
            return array
        node = self.producer(name)
        if node is None or node.op_type != "Constant" or node.attribute[0].name != "value":
            return None
        values: npt.NDArray[np.generic] = self._numpy_helper.to_array(node.attribute[0].t)
        return values

    def is_constant(self, name: str) -> bool:
        """Say whether a tensor depends on no input."""
        node = self.producer(name)
        if node is None:
            return name in self._initializers
        return all(self.is_constant(part) for part in node.input if part)

    def initializers(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Give every stored tensor of at most 1024 values: anchors, strides and the like."""
        for name, tensor in self._initializers.items():
            if np.prod(tensor.dims, dtype=np.int64) <= 1024:
                yield name, self._numpy_helper.to_array(tensor)

    def nodes_of(self, *op_types: str) -> list[onnx.NodeProto]:
        """Give the nodes of some operators in graph order."""
        return [node for node in self.model.graph.node if node.op_type in op_types]

    def behind(self, name: str, *, past: Collection[str] = LAYOUT) -> onnx.NodeProto | None:
        """Give the first node towards the input that is none of `past`."""
        node = self.producer(name)
        while node is not None and node.op_type in past:
            node = self.producer(node.input[0])
        return node

    def head_ops(self, name: str) -> set[str]:
        """Give the operators between a tensor and the weighted layers before it."""
        found: set[str] = set()
        todo, seen = [name], {name}
        while todo:
            node = self.producer(todo.pop())
            if node is None or node.op_type in WEIGHTED | {"Constant"}:
                continue
            found.add(node.op_type)
            inputs = node.input[:1] if node.op_type in _ONE_DATA_INPUT else node.input
            fresh = [part for part in inputs if part and part not in seen]
            seen.update(fresh)
            todo += fresh
        return found

    def is_logit(self, name: str) -> bool:
        """Say whether all of a tensor comes from weighted layers without an activation."""
        origins = self._origins(name)
        return bool(origins) and all(node is not None and self._is_weighted(node) for node in origins)

    def is_cut(self, name: str) -> bool:
        """Say whether a tensor was cut out of a larger one."""
        node = self.behind(name)
        return node is not None and node.op_type in _CUTS

    def is_activated(self, name: str) -> bool:
        """Say whether all of a tensor is the result of an activation, moved, cut and joined at most."""
        origins = self._origins(name)
        return bool(origins) and all(node is not None and node.op_type in _ACTIVATIONS for node in origins)

    def _origins(self, name: str) -> list[onnx.NodeProto | None]:
        """Give the nodes that made the values of a tensor; None for an input or an initializer.

        What was cut out of a Concat may be any of its parts, so all of them count.
        """
        node = self.behind(name, past=LAYOUT | _CUTS | {"Clip"})
        if node is None or node.op_type != "Concat":
            return [node]
        return [origin for part in node.input for origin in self._origins(part)]

    def _is_weighted(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Add":
            # A Linear layer is a MatMul and an Add of its bias.
            open_parts = [part for part in node.input if not self.is_constant(part)]
            inner = self.behind(open_parts[0]) if len(open_parts) == 1 else None
            return inner is not None and inner.op_type in WEIGHTED
        return node.op_type in WEIGHTED

    def leaves(self, name: str, axis: int) -> list[Leaf]:
        """Give the tensors that a tensor was put together from along an axis.

        Concats of another axis (several heads in one tensor) are followed into their first part, and what
        only moves values is passed through where the axis survives it.
        """
        node, shape = self.producer(name), self.shape(name)
        width = shape[axis] if shape and len(shape) > axis else None
        here = [Leaf(name, width, axis)] if width is not None else []
        if node is None:
            return here
        if node.op_type == "Concat":
            along = next(item.i for item in node.attribute if item.name == "axis")
            along += len(shape) if along < 0 and shape else 0
            parts = list(node.input) if along == axis else list(node.input[:1])
            nested = [self.leaves(part, axis) for part in parts]
            return [leaf for part in nested for leaf in part] if all(nested) else here
        before = self._axis_before(node, axis, shape)
        if before is None:
            return here
        return self.leaves(node.input[0], before) or here

    def _axis_before(self, node: onnx.NodeProto, axis: int, shape: Shape | None) -> int | None:
        """Follow an axis through an operator that only moves values; None where it does not survive."""
        if node.op_type in {"Cast", "Dropout", "Identity"}:
            return axis
        if node.op_type == "Transpose":
            perm = next((list(item.ints) for item in node.attribute if item.name == "perm"), [])
            return perm[axis] if perm else None
        if node.op_type in LAYOUT:
            before = self.shape(node.input[0])
            if before is None or shape is None:
                return None
            if axis == len(shape) - 1 and before[-1] == shape[-1]:
                return len(before) - 1
            if before[1 : axis + 1] == shape[1 : axis + 1] and len(before) > axis:
                return axis
        return None

    def _tensor(self, name: str) -> Tensor:
        tensor_type = self._infos[name].type.tensor_type
        shape: Shape = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in tensor_type.shape.dim
        )
        return Tensor(name, shape, self._data_type.Name(tensor_type.elem_type).lower())


def open_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Give the inputs that a caller must feed: old exporters list the weights among them."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [item for item in model.graph.input if item.name not in stored]


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and None not in shape[1:]


def _filled(output: Tensor, measured: Shape | None) -> Tensor:
    if measured is None:
        return output
    batch = output.shape[0] if output.shape else None
    return output._replace(shape=(batch, *measured[1:]))
