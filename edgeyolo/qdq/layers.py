"""The layers that INT8 arithmetic can serve: nodes with constant weights, and the activation behind each.

Owns `Layer` and how one is recognised. Refuses to decide which of them become INT8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.qdq.bins import is_bin_mean
from edgeyolo.qdq.graph import GraphView, attributes_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Layer", "layers_of", "offset_name"]

_WEIGHTED_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Activations of one node that TensorRT fuses with the layer in front of them (developer guide, "Types of
# fusions"); ONNX Runtime needs them as well, to know which tensor a layer's output really is.
_ACTIVATIONS = frozenset(
    {
        "Relu", "LeakyRelu", "PRelu", "Clip", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish",
        "Tanh", "Softplus", "ThresholdedRelu", "Mish", "Gelu", "Erf",
    }
)  # fmt: skip
# x * f(x), by the nodes of f.
_GATED = {("Sigmoid",): "SiLU", ("Softplus", "Tanh"): "Mish", ("HardSigmoid",): "HardSwish"}


def offset_name(tensor: str) -> str:
    """Name the constant that is taken off a tensor with an offset."""
    return f"{tensor}_offset_value"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One node with weights, together with the activation that follows it.

    Args:
        name: The node's name, or its output's where it has none; the key in a scales file.
        op: ``Conv``, ``ConvTranspose``, ``Gemm`` or ``MatMul``.
        node: Index of the node.
        input: Tensor that it reads.
        weight: Its constant weights.
        bias: Its constant bias; None without one.
        raw_output: Tensor that the node itself makes.
        output: Tensor behind the activation; `raw_output` where there is none.
        activation: ``LeakyRelu`` and the like; ``SiLU``, ``Mish`` and ``HardSwish`` also in their
            parts; ``gate`` for another ``x * f(x)``; or None.
        gate: Tensor of ``sigmoid(x)`` where a SiLU is written as ``x * sigmoid(x)``; None for any other.
        slope: Negative slope of a LeakyRelu, 0 for Relu, None for anything else.
        channel_axis: Axis of the weights that counts output channels.
        groups: Convolution groups; equal to the input channels in a depthwise layer.
        channels: Output channels.
        macs: Multiply-adds for one image; 0 where a shape is unknown.
    """

    name: str
    op: str
    node: int
    input: str
    weight: str
    bias: str | None
    raw_output: str
    output: str
    activation: str | None
    gate: str | None
    slope: float | None
    channel_axis: int
    groups: int
    channels: int
    macs: int


def layers_of(view: GraphView) -> tuple[Layer, ...]:
    """Find every layer with constant float weights, in graph order.

    Returns:
        The layers; a node whose weights are computed in the graph is none.
    """
    found = (
        _layer(view, index, node) for index, node in enumerate(view.nodes) if node.op_type in _WEIGHTED_OPS
    )
    return tuple(layer for layer in found if layer is not None)


def _layer(view: GraphView, index: int, node: onnx.NodeProto) -> Layer | None:
    weights = view.constant(node.input[1])
    if weights is None or weights.dtype != np.float32 or view.is_constant(node.input[0]):
        return None
    if is_bin_mean(weights) or (node.op_type in ("Gemm", "MatMul") and weights.ndim != 2):
        return None
    attributes = attributes_of(node)
    if node.op_type == "Gemm" and (attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0):
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if bias is not None and not view.is_constant(bias):
        return None
    axis = _channel_axis(node.op_type, attributes)
    groups = int(attributes.get("group", 1))
    channels = weights.shape[axis] * (groups if node.op_type == "ConvTranspose" else 1)
    raw = node.output[0]
    output, activation, slope, gate = _activation(view, raw)
    output = _behind_offset(view, output)
    return Layer(
        name=node.name or raw,
        op=node.op_type,
        node=index,
        input=node.input[0],
        weight=node.input[1],
        bias=bias,
        raw_output=raw,
        output=output,
        activation=activation,
        gate=gate,
        slope=slope,
        channel_axis=axis,
        groups=groups,
        channels=channels,
        macs=_macs(view, node, weights.shape),
    )


def _channel_axis(op: str, attributes: dict[str, object]) -> int:
    if op == "Conv":
        return 0
    if op == "Gemm":
        return 0 if attributes.get("transB") else 1
    return 1


def _macs(view: GraphView, node: onnx.NodeProto, weight_shape: tuple[int, ...]) -> int:
    """Count multiply-adds for one image: each output element of a Conv costs one filter."""
    tensor = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    shape = view.shapes.get(tensor, ())
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(weight_shape)
    spatial = shape[2:]
    if not spatial or min(spatial) < 0:
        return 0
    return math.prod(weight_shape) * math.prod(spatial)


def _activation(view: GraphView, raw: str) -> tuple[str, str | None, float | None, str | None]:
    """Give the tensor behind the activation, its name, its negative slope and its gate."""
    reader = view.sole_reader(raw)
    if reader is not None and reader.op_type in _ACTIVATIONS:
        slope = None
        if reader.op_type == "LeakyRelu":
            slope = float(attributes_of(reader).get("alpha", 0.01))
        elif reader.op_type == "Relu":
            slope = 0.0
        return reader.output[0], reader.op_type, slope, None
    gated = _gated(view, raw)
    if gated is None:
        return raw, None, None, None
    product, gate, chain = gated
    name = _GATED.get(chain, "gate")
    return product, name, None, gate if name == "SiLU" and view.sole_reader(gate) is not None else None


def _behind_offset(view: GraphView, output: str) -> str:
    """Look through the subtraction of an offset (`edgeyolo.qdq.offsets`): it is a part of the activation."""
    reader = view.sole_reader(output)
    if reader is None or reader.op_type != "Sub":
        return output
    return str(reader.output[0]) if reader.input[1] == offset_name(reader.output[0]) else output


def _gated(view: GraphView, raw: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Find ``x * f(x)`` behind `raw`; give the product's tensor, that of ``f(x)`` and the nodes of f."""
    readers = view.consumers.get(raw, [])
    if len(readers) != 2 or raw in view.outputs:
        return None
    products = [view.nodes[i] for i in readers if view.nodes[i].op_type == "Mul"]
    if len(products) != 1:
        return None
    (product,) = products
    gate = other = str(product.input[1] if product.input[0] == raw else product.input[0])
    chain: list[str] = []
    for _ in range(3):  # Mish is Softplus, Tanh, Mul: the longest chain
        node = view.node_of(other)
        if node is None or node.op_type not in _ACTIVATIONS:
            return None
        chain.append(node.op_type)
        if node.input[0] == raw:
            return str(product.output[0]), gate, tuple(reversed(chain))
        other = node.input[0]
    return None
