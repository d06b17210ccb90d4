"""Which tensors carry a scale, and which of them must share one.

Owns the walk from every layer's input back through the operators that only move values, and the union-find
over what it meets. Refuses to place nodes (`edgeyolo.qdq.placement`) and to know a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.layers import Layer, layers_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Layer", "QuantPlan", "Residual", "quant_plan", "sources_of"]

# Operators that move values and make none outside the range of their inputs: quantising before or behind
# them is the same. TensorRT's own calibrator gives them one scale (seen in the caches that it writes: a
# maxpool, an upsample and a route have the scale of their inputs).
_MOVERS = frozenset(
    {
        "Concat", "DepthToSpace", "Dropout", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape",
        "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Residual:
    """An Add whose result is quantised.

    Args:
        node: Index of the Add.
        skip: The operand that comes past the layers: TensorRT fuses Conv + Add where this one is INT8.
        branch: The operand that the layers make.
        output: The sum.
    """

    node: int
    skip: str
    branch: str
    output: str


@dataclass(frozen=True, kw_only=True)
class QuantPlan:
    """What can be INT8 in a model.

    Args:
        layers: Every layer with constant weights, in graph order.
        groups: Tensors that share one scale, each group in graph order, groups in graph order. A tensor that
            shares with none is a group of one.
        sources: For every group (by its first tensor), the tensors whose values fill it: those that no
            mover makes. Their histograms together are the group's.
        residuals: The Adds whose result is quantised.
        made_of: For every tensor of a group that a mover or such an Add makes, what goes into it, in graph
            order.
        inputs: What is given to the model: the picture.
    """

    layers: tuple[Layer, ...]
    groups: tuple[tuple[str, ...], ...]
    sources: Mapping[str, tuple[str, ...]]
    residuals: tuple[Residual, ...]
    made_of: Mapping[str, tuple[str, ...]]
    inputs: tuple[str, ...]

    @property
    def group_of(self) -> dict[str, str]:
        """Map every tensor to the first tensor of its group, which names the group."""
        return {tensor: group[0] for group in self.groups for tensor in group}

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers for one image."""
        return sum(layer.macs for layer in self.layers)

    def share(self, layers: Iterable[Layer]) -> float:
        """Give the part of the multiply-adds that some of the layers have, 0..1."""
        return sum(layer.macs for layer in layers) / (self.macs or 1)


def quant_plan(view: GraphView) -> QuantPlan:
    """Plan INT8 for a float model.

    Returns:
        The plan; the same for every target, because all targets share one set of scales.

    Raises:
        GraphError: No layer with constant weights.
    """
    layers = layers_of(view)
    if not layers and any(item.data_type == item.FLOAT16 for item in view.model.graph.initializer):
        raise GraphError(
            "layers with FP32 weights expected, FP16 weights found: rounding those again would cost accuracy",
            hint="export the model in FP32 (half=False); build makes FP16 of it where that is asked for",
        )
    if not layers:
        raise GraphError(
            "no Conv, ConvTranspose, Gemm or MatMul with constant float weights: nothing to make INT8",
            hint="edgeyolo inspect MODEL.onnx",
        )
    union = _Union()
    for layer in layers:
        _walk(view, layer.input, union)
    residuals = _residuals(view, union)
    for layer in layers:
        if layer.activation is not None and layer.output in union:
            union.find(layer.raw_output)  # a group of its own: ONNX Runtime's kernels end in front of it
    order = {name: i for i, name in enumerate([*view.inputs, *(o for n in view.nodes for o in n.output)])}
    groups = union.groups(order)
    return QuantPlan(
        layers=layers,
        groups=groups,
        sources={group[0]: tuple(sources_of(view, group)) for group in groups},
        residuals=tuple(residuals),
        made_of=_made_of(view, groups, residuals),
        inputs=tuple(view.inputs),
    )


def _made_of(
    view: GraphView, groups: Iterable[tuple[str, ...]], residuals: Iterable[Residual]
) -> dict[str, tuple[str, ...]]:
    sums = {residual.output: (residual.skip, residual.branch) for residual in residuals}
    known = {name for group in groups for name in group}
    found: dict[str, tuple[str, ...]] = {}
    for node in view.nodes:
        for name in node.output:
            if name in sums:
                found[name] = sums[name]
            elif name in known and _moves(node):
                found[name] = tuple(_data_inputs(view, node))
    return found


def sources_of(view: GraphView, tensors: Iterable[str]) -> list[str]:
    """Keep the tensors that no mover makes."""
    return [name for name in tensors if not _moved(view, name)]


def _moved(view: GraphView, tensor: str) -> bool:
    node = view.node_of(tensor)
    return node is not None and _moves(node)


def _moves(node: onnx.NodeProto) -> bool:
    if node.op_type == "Pad":
        # Reflected and edge padding move values, and so does a constant 0; another constant would be a new
        # value, but the zero is what exporters write, and a small constant does not reach past the range.
        return True
    return node.op_type in _MOVERS


def _data_inputs(view: GraphView, node: onnx.NodeProto) -> list[str]:
    names = node.input if node.op_type == "Concat" else node.input[:1]
    return [name for name in names if name and not view.is_constant(name)]


class _Union:
    """Union-find over tensor names, and which of them were walked from."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self.walked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._parent

    def find(self, name: str) -> str:
        self._parent.setdefault(name, name)
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._parent[self.find(one)] = self.find(other)

    def groups(self, order: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
        members: dict[str, list[str]] = {}
        for name in sorted(self._parent, key=order.__getitem__):
            members.setdefault(self.find(name), []).append(name)
        return tuple(tuple(group) for group in members.values())


def _walk(view: GraphView, tensor: str, union: _Union) -> None:
    """Join `tensor` with everything that movers bring to it."""
    pending = [tensor]
    while pending:
        name = pending.pop()
        union.find(name)
        node = view.node_of(name)
        if name in union.walked or node is None or not _moves(node):
            continue
        union.walked.add(name)
        for source in _data_inputs(view, node):
            union.join(name, source)
            pending.append(source)


def _residuals(view: GraphView, union: _Union) -> list[Residual]:
    """Find the Adds behind quantised tensors, last first, because an operand can be the sum of another."""
    found = []
    for index in reversed(range(len(view.nodes))):
        node = view.nodes[index]
        if node.op_type != "Add" or node.output[0] not in union:
            continue
        first, second = node.input
        if view.is_constant(first) or view.is_constant(second):
            continue
        if view.shapes.get(first) != view.shapes.get(second):
            continue
        # The branch is made last, right in front of the Add; the skip operand has been there longer.
        late = view.producer.get(second, -1) >= view.producer.get(first, -1)
        skip, branch = (first, second) if late else (second, first)
        found.append(Residual(node=index, skip=skip, branch=branch, output=node.output[0]))
        for operand in (skip, branch):
            _walk(view, operand, union)
    return found[::-1]
