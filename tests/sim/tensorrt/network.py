"""The network, its tensors and layers."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto

from tests.sim.tensorrt.onnx_graph import Graph, Rules, layer_type
from tests.sim.tensorrt.pybind import kept

__all__ = ["Layer", "Network", "Tensor", "data_type"]

_DATA_TYPES = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32", TensorProto.BOOL: "BOOL", TensorProto.UINT8: "UINT8",
    TensorProto.INT64: "INT64", TensorProto.DOUBLE: "FLOAT", TensorProto.BFLOAT16: "BF16",
}  # fmt: skip


def data_type(simulation: Any, onnx_type: int) -> Any:
    """Give the `DataType` a tensor of the ONNX has in the network."""
    name = _DATA_TYPES.get(onnx_type, "FLOAT")
    if name == "INT64" and not Rules.of(simulation.version).int64:
        name = "INT32"
    return simulation.module.DataType.__members__[name]


class Tensor:
    """`ITensor`."""

    _simulation: Any
    _value: Any  # onnx.ValueInfoProto
    _network: Any

    def _made(self) -> None:
        self._range: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return str(self._value.name)

    @property
    def shape(self) -> Any:
        dims = self._value.type.tensor_type.shape.dim
        return self._simulation.module.Dims([d.dim_value if d.HasField("dim_value") else -1 for d in dims])

    @property
    def dtype(self) -> Any:
        return data_type(self._simulation, self._value.type.tensor_type.elem_type)

    @property
    def is_network_input(self) -> bool:
        return any(value.name == self.name for value in self._network._inputs())

    @property
    def is_network_output(self) -> bool:
        return any(value.name == self.name for value in self._network._outputs())

    @property
    def is_shape_tensor(self) -> bool:
        return False

    @property
    def is_execution_tensor(self) -> bool:
        return True

    @property
    def location(self) -> Any:
        return self._simulation.module.TensorLocation.DEVICE

    @property
    def dynamic_range(self) -> tuple[float, float] | None:
        return self._range

    def set_dynamic_range(self, min: float, max: float) -> bool:
        self._range = min, max
        self._network._ranges[self.name] = self._range
        return True

    def reset_dynamic_range(self) -> None:
        self._range = None
        self._network._ranges.pop(self.name, None)


class Layer:
    """`ILayer`: one a node, of a Split one an output; without the constants TensorRT makes of weights."""

    _simulation: Any
    _network: Any
    _index: int
    _part: int  # which layer of its node

    def _made(self) -> None:
        self._precision: Any = None
        self._output_types: dict[int, Any] = {}

    @property
    def name(self) -> str:
        own = self._node_name()
        return f"{own}_{2 * self._part - 1}" if self._part else own  # as onnx-tensorrt makes names unique

    @property
    def type(self) -> Any:
        members = self._simulation.module.LayerType.__members__
        return members[layer_type(self._node().op_type)]

    @property
    def metadata(self) -> str:
        return f"[ONNX Layer: {self._node_name()}]"

    @property
    def num_inputs(self) -> int:
        return len([name for name in self._node().input if name not in self._network._graph.constants])

    @property
    def num_outputs(self) -> int:
        return len(self._outputs())

    def get_output(self, index: int) -> Any:
        names = self._outputs()
        return self._network._named(names[index]) if 0 <= index < len(names) else None

    @property
    def precision(self) -> Any:
        return self._precision or self._simulation.module.DataType.FLOAT

    @precision.setter
    def precision(self, value: Any) -> None:
        self._precision = value

    @property
    def precision_is_set(self) -> bool:
        return self._precision is not None

    def reset_precision(self) -> None:
        self._precision = None

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._output_types[index] = dtype

    def get_output_type(self, index: int) -> Any:
        return self._output_types.get(index) or self.get_output(index).dtype

    def output_type_is_set(self, index: int) -> bool:
        return index in self._output_types

    def reset_output_type(self, index: int) -> None:
        self._output_types.pop(index, None)

    def _node_name(self) -> str:
        return str(self._network._graph.name_of(self._index))

    def _outputs(self) -> list[str]:
        names = list(self._node().output)
        return names[self._part : self._part + 1] if self._node().op_type == "Split" else names

    def _node(self) -> Any:
        return self._network._graph.model.graph.node[self._index]


class Network:
    """`INetworkDefinition`, filled by the parser alone."""

    _simulation: Any
    _flags: int
    _builder: Any
    _logger: Any

    def _made(self) -> None:
        self._graph: Graph | None = None
        self._layers: list[Any] = []
        self._ranges: dict[str, tuple[float, float]] = {}
        self._name = "Unnamed Network 0"

    def _has(self, flag: str) -> bool:
        member = self._simulation.module.NetworkDefinitionCreationFlag.__members__.get(flag)
        return member is not None and bool(self._flags >> int(member) & 1)

    def _strongly_typed(self) -> bool:
        return self._simulation.version >= (11,) or self._has("STRONGLY_TYPED")

    def _inputs(self) -> list[Any]:
        if self._graph is None:
            return []
        constants = self._graph.constants
        return [value for value in self._graph.model.graph.input if value.name not in constants]

    def _outputs(self) -> list[Any]:
        return [] if self._graph is None else list(self._graph.model.graph.output)

    def _fill(self, graph: Graph) -> None:
        self._graph = graph
        self._layers = [
            self._simulation.new("ILayer", network=self, index=index, part=part)
            for index, node in enumerate(graph.model.graph.node)
            for part in range(len(node.output) if node.op_type == "Split" else 1)
        ]
        self._name = graph.model.graph.name

    @property
    def builder(self) -> Any:
        return self._builder

    name = kept("_name")

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        return self._has(flag.name)

    @property
    def has_implicit_batch_dimension(self) -> bool:
        return self._implicit_batch()

    def _implicit_batch(self) -> bool:
        return self._simulation.version < (10,) and not self._has("EXPLICIT_BATCH")

    @property
    def has_explicit_precision(self) -> bool:
        return self._has("EXPLICIT_PRECISION")

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @property
    def num_inputs(self) -> int:
        return len(self._inputs())

    @property
    def num_outputs(self) -> int:
        return len(self._outputs())

    def get_input(self, index: int) -> Any:
        return self._tensor(self._inputs(), index)

    def get_output(self, index: int) -> Any:
        return self._tensor(self._outputs(), index)

    def get_layer(self, index: int) -> Any:
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Any:
        if not -len(self._layers) <= index < len(self._layers):
            raise IndexError("Out of bounds")
        return self._layers[index]

    def _named(self, name: str) -> Any:
        assert self._graph is not None
        value = onnx.ValueInfoProto(name=name)
        value.type.tensor_type.elem_type = self._graph.types.get(name, TensorProto.FLOAT)
        return self._simulation.new("ITensor", value=value, network=self)

    def _tensor(self, values: list[Any], index: int) -> Any:
        if not 0 <= index < len(values):
            return None
        return self._simulation.new("ITensor", value=values[index], network=self)
