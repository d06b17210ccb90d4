"""A foreign graph to extend: nodes behind it, new outputs, and what is then dead removed.

Owns how a node is appended and named, in operators that mean the same from opset 11 to 21. Refuses to touch
a weight: every initializer that is still used keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.view import open_inputs
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["GraphEdit"]

_AXES_ARE_INPUTS = 13  # of ReduceSum, from this opset on
_PREFIX = "edgeyolo_"
_OUTPUTS = ("boxes", "scores")


class GraphEdit:
    """Appends nodes to a model, in place.

    Args:
        model: The foreign model; tensors that bear the names of the new outputs are renamed first.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._onnx = require("onnx", why="to write an ONNX model")
        self._helper = require("onnx.helper", why="to write an ONNX model")
        self._numpy_helper = require("onnx.numpy_helper", why="to write an ONNX model")
        self.model = model
        self._count = 0

    def node(self, op_type: str, inputs: Sequence[str], what: str, **attributes: int | Sequence[int]) -> str:
        """Append a node of one output; `what` is the telling part of its name."""
        name = self._name(what)
        self.model.graph.node.append(
            self._helper.make_node(op_type, list(inputs), [name], name=name, **attributes)
        )
        return name

    def constant(self, value: npt.ArrayLike, what: str, dtype: npt.DTypeLike = np.float32) -> str:
        """Store an array."""
        name = self._name(what)
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.model.graph.initializer.append(self._numpy_helper.from_array(array, name))
        return name

    def float32(self, tensor: str, dtype: str) -> str:
        """Give a tensor as float32: the decode is in float whatever the body computes in."""
        if dtype == "float":
            return tensor
        return self.node("Cast", (tensor,), "float32", to=self._onnx.TensorProto.FLOAT)

    def cut(self, tensor: str, axis: int, begin: int, end: int, what: str) -> str:
        """Cut ``begin:end`` out of an axis."""
        limits = [self.constant([item], f"{what}_limit", np.int64) for item in (begin, end, axis)]
        return self.node("Slice", (tensor, *limits), what)

    def rows(self, tensor: str, axis: int, what: str) -> str:
        """Give ``[B, N, X]`` of a tensor that has its X on `axis`, 1 or 2."""
        return tensor if axis == 2 else self.node("Transpose", (tensor,), what, perm=[0, 2, 1])

    def join(self, tensors: Sequence[str], axis: int, what: str) -> str:
        """Concatenate; of one tensor there is nothing to do."""
        return self.node("Concat", tensors, what, axis=axis) if len(tensors) > 1 else tensors[0]

    def multiply(self, tensor: str, factor: npt.ArrayLike, what: str) -> str:
        """Multiply by a constant."""
        return self.node("Mul", (tensor, self.constant(factor, f"{what}_factor")), what)

    def sum_last(self, tensor: str, what: str) -> str:
        """Sum over the last axis, which goes."""
        opset = next(item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx"))
        if opset < _AXES_ARE_INPUTS:
            return self.node("ReduceSum", (tensor,), what, axes=[-1], keepdims=0)
        return self.node("ReduceSum", (tensor, self.constant([-1], "last", np.int64)), what, keepdims=0)

    def xyxy(self, boxes: str, axis: int) -> str:
        """Turn ``cxcywh`` on `axis` into ``xyxy``."""
        return self.corners(self.cut(boxes, axis, 0, 2, "center"), self.cut(boxes, axis, 2, 4, "size"), axis)

    def corners(self, center: str, size: str, axis: int) -> str:
        """Give ``center - size / 2`` and ``center + size / 2`` along `axis`."""
        half = self.multiply(size, 0.5, "half")
        low = self.node("Sub", (center, half), "x0y0")
        high = self.node("Add", (center, half), "x1y1")
        return self.node("Concat", (low, high), "xyxy", axis=axis)

    def finish(self, boxes: str, scores: str, count: int, classes: int, batch: int | None) -> None:
        """Make two tensors the only outputs, under the names of the contract, and drop what is dead."""
        graph = self.model.graph
        self._free_names()
        del graph.output[:]
        for name, tensor, width in zip(_OUTPUTS, (boxes, scores), (4, classes), strict=True):
            source = tensor if tensor not in _OUTPUTS else f"{tensor}_of_the_model"
            graph.node.append(self._helper.make_node("Identity", [source], [name], name=name))
            graph.output.append(
                self._helper.make_tensor_value_info(
                    name, self._onnx.TensorProto.FLOAT, ["batch" if batch is None else batch, count, width]
                )
            )
        self._drop_dead()

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{_PREFIX}{self._count}_{what}"

    def _free_names(self) -> None:
        """Rename the model's own tensors and nodes called ``boxes`` and ``scores``."""
        for graph in _graphs(self.model.graph):
            for node in graph.node:
                node.name = f"{node.name}_of_the_model" if node.name in _OUTPUTS else node.name
                for names in (node.input, node.output):
                    names[:] = [f"{name}_of_the_model" if name in _OUTPUTS else name for name in names]
            for item in (*graph.initializer, *graph.value_info, *graph.input):
                item.name = f"{item.name}_of_the_model" if item.name in _OUTPUTS else item.name

    def _drop_dead(self) -> None:
        graph = self.model.graph
        wanted = {item.name for item in graph.output}
        kept = []
        for node in reversed(graph.node):
            if wanted.isdisjoint(node.output):
                continue
            kept.append(node)
            wanted.update(node.input)
            for inner in _graphs_of(node):
                wanted.update(name for part in inner.node for name in part.input)
                wanted.update(item.name for item in inner.output)
        _replace(graph.node, kept[::-1])
        inputs = {item.name for item in open_inputs(self.model)}
        _replace(graph.initializer, [item for item in graph.initializer if item.name in wanted])
        stored = {item.name for item in graph.initializer}
        _replace(graph.input, [item for item in graph.input if item.name in inputs | stored])
        made = {name for node in graph.node for name in node.output}
        _replace(graph.value_info, [item for item in graph.value_info if item.name in made])


def _replace(field: object, items: Sequence[object]) -> None:
    """Replace a repeated protobuf field where something left it; weights are not copied otherwise."""
    if len(items) != len(field):  # type: ignore[arg-type]
        copies = [type(item)() for item in items]
        for copy, item in zip(copies, items, strict=True):
            copy.CopyFrom(item)  # type: ignore[attr-defined]
        del field[:]  # type: ignore[attr-defined]
        field.extend(copies)  # type: ignore[attr-defined]


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        yield from _graphs_of(node)


def _graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Give the graphs inside an If, a Loop or a Scan."""
    for attribute in node.attribute:
        for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _graphs(inner)
