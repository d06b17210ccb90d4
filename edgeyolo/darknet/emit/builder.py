"""A growing ONNX graph: nodes, constants, shapes, and the names they get.

Owns how a node, an initializer and a tensor's shape are written. Knows no Darknet layer. One rule of names:
a node that gives one tensor has that tensor's name, so that a profiler's line, a Q/DQ pair and a message all
point at the same Darknet layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.layers import Layer, Shape
from edgeyolo.errors import UnsupportedOpError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["BATCH_NAME", "GraphBuilder"]

BATCH_NAME = "batch"
"""Name of the dynamic batch dimension."""

Attribute = int | float | str | Sequence[int]


class GraphBuilder:
    """Builds one graph in place, in topological order.

    Args:
        source: Where the network comes from, for messages.
        opset: ONNX opset, 13 to 21.
        batch: Batch size, or None where it stays dynamic.
    """

    def __init__(self, *, source: str, opset: int, batch: int | None) -> None:
        self._onnx = require("onnx", why="to write an ONNX model")
        self._helper = require("onnx.helper", why="to write an ONNX model")
        self.source = source
        self.batch = batch
        self.model: onnx.ModelProto = self._onnx.ModelProto()
        self.model.producer_name = "edgeyolo"
        # The lowest IR version of the opset: old runtimes refuse a newer one than they know.
        self.model.ir_version = self._helper.find_min_ir_version_for([self._helper.make_opsetid("", opset)])
        self.model.opset_import.append(self._helper.make_opsetid("", opset))
        self._constants: dict[tuple[str, bytes], str] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._names: set[str] = set()

    def refusal(self, layer: Layer, what: str, *, hint: str) -> UnsupportedOpError:
        """Give the error for a layer that cannot be written, with its place in the cfg."""
        return UnsupportedOpError(f"{self.source}:{layer.line}: [{layer.kind}] {what}", hint=hint)

    def input(self, name: str, shape: Shape) -> str:
        """Declare the graph's input ``[B, C, H, W]``."""
        self.model.graph.input.append(self._value_info(name, tuple(shape)))
        return name

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare a tensor of the graph as output; `shape` has no batch."""
        self._shapes.pop(name, None)
        self.model.graph.output.append(self._value_info(name, tuple(shape)))

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Store an array under `name`; its bytes go straight into the model."""
        array = np.ascontiguousarray(value, dtype)
        tensor = self.model.graph.initializer.add()
        tensor.name = name
        tensor.data_type = self._helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(np.shape(value))
        # ONNX is little-endian; a no-op on every machine that we know.
        tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def shared(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Store a small array once, however many nodes use it; its name is its value."""
        array = np.asarray(value, dtype)
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._constants:
            text = "_".join(map(str, array.ravel()))  # shortest text that is still this very float32
            kind = "" if array.dtype == np.float32 else f"{array.dtype}_"
            self._constants[key] = self.constant(f"constant_{kind}{text}_{array.ndim}d", array, array.dtype)
        return self._constants[key]

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        name: str,
        shape: Sequence[int] | None = None,
        **attributes: Attribute,
    ) -> str:
        """Append a node that gives one tensor, named like the node.

        Args:
            op_type: ONNX operator.
            inputs: Tensor names; "" for an optional input that is left out.
            name: Name of the node and of its tensor.
            shape: Shape of the tensor without the batch; a later stage then needs no shape inference.
            **attributes: Of the operator.

        Returns:
            `name`.
        """
        self.nodes(op_type, inputs, name, (name,), attributes)
        if shape is not None:
            self._shapes[name] = tuple(shape)
        return name

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[str],
        name: str,
        outputs: Sequence[str],
        attributes: Mapping[str, Attribute],
    ) -> tuple[str, ...]:
        """Append a node that gives several tensors."""
        assert name not in self._names, f"two nodes called {name}"
        self._names.add(name)
        self.model.graph.node.append(
            self._helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes)
        )
        return tuple(outputs)

    def split(self, tensor: str, name: str, parts: Mapping[str, int], axis: int) -> tuple[str, ...]:
        """Split along an axis; `parts` gives each part's suffix and size."""
        outputs = tuple(f"{name}_{suffix}" for suffix in parts)
        sizes = self.shared(list(parts.values()), np.int64)
        return self.nodes("Split", (tensor, sizes), f"{name}_split", outputs, {"axis": axis})

    def reshape(self, tensor: str, name: str, shape: Sequence[int]) -> str:
        """Reshape to ``[B, *shape]``: the batch is a number where it is static and copied where it is not."""
        target = [self.batch if self.batch is not None else 0, *shape]
        return self.node("Reshape", (tensor, self.shared(target, np.int64)), name, shape)

    def slice(self, tensor: str, name: str, axes: Sequence[int], *limits: Sequence[int]) -> str:
        """Cut on each of `axes`; `limits` are its begins, its ends and, where not all are 1, its steps."""
        begins, ends, *steps = (self.shared(list(item), np.int64) for item in limits)
        return self.node("Slice", (tensor, begins, ends, self.shared(list(axes), np.int64), *steps), name)

    def finish(self, name: str, doc: str) -> onnx.ModelProto:
        """Name the graph, write the shapes of its tensors, give the model."""
        self.model.graph.name = name
        self.model.doc_string = doc
        for tensor, shape in self._shapes.items():
            self.model.graph.value_info.append(self._value_info(tensor, shape))
        return self.model

    def _value_info(self, name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        batch = BATCH_NAME if self.batch is None else self.batch
        float_type = self._onnx.TensorProto.FLOAT
        info: onnx.ValueInfoProto = self._helper.make_tensor_value_info(name, float_type, [batch, *shape])
        return info
