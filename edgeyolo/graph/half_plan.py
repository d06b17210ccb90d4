"""Which nodes of a graph compute in FP16, and why the others do not.

Owns the choice: the body of the net in half precision; the decode behind its last layers, the inputs and the
outputs in FP32. Refuses to rewrite a graph (`edgeyolo.graph.fp16`).

A coordinate of 400 pixels has steps of 0.25 in FP16, so boxes are decoded in FP32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.graph.tensor_types import tensor_types
from edgeyolo.optional import require
from edgeyolo.qdq.bins import is_bin_mean

if TYPE_CHECKING:
    import onnx

__all__ = ["FP32_INPUTS", "LARGEST_HALF", "HalfPlan", "decode_nodes", "half_plan", "reasons"]

_MOST_BINS = 256
LARGEST_HALF = 65504.0  # IEEE 754 binary16
# The layers with weights: what lies behind the last of them is decode.
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Operators whose float inputs and outputs all have one type that may be FP16 (ONNX operator schemas).
_HALF = _WEIGHTED | frozenset(
    {
        "Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "DepthToSpace",
        "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand", "Flatten", "Gather",
        "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
        "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log", "Max", "MaxPool",
        "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "QuantizeLinear", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Selu", "Sigmoid",
        "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze",
        "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Upsample", "Where",
    }
)  # fmt: skip
# Inputs that stay FP32 whatever the first is: the schema of Resize has float scales only.
FP32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


@dataclass(frozen=True, kw_only=True)
class HalfPlan:
    """What computes in which type.

    Args:
        half: Index of every node that computes in FP16.
        decode: Names of the nodes behind the last weighted layers that compute floats.
        kept: Name of every other node that stays in FP32 to the reason.
    """

    half: frozenset[int]
    decode: tuple[str, ...]
    kept: dict[str, str] = field(default_factory=dict)


def decode_nodes(model: onnx.ModelProto) -> frozenset[int]:
    """Find the nodes behind which no layer with weights comes and that are none themselves.

    Args:
        model: Any model; for a detector this is the decode of its heads, for a classifier its softmax.

    Returns:
        Indexes of nodes; empty where the model has no weighted layer at all.
    """
    nodes = list(model.graph.node)
    means = _bin_means(model)
    feeds: set[str] = set()  # tensors that a weighted layer is made from
    behind = set(range(len(nodes)))
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        weighted = node.op_type in _WEIGHTED and means.isdisjoint(node.input)
        if weighted or feeds.intersection(node.output):
            behind.discard(index)
            feeds.update(node.input)
    return frozenset(behind) if len(behind) < len(nodes) else frozenset()


def _bin_means(model: onnx.ModelProto) -> set[str]:
    """Give the constants that make a layer the mean of a distribution, which is decode."""
    array = require("onnx.numpy_helper", why="to read a model's weights").to_array
    small = (item for item in model.graph.initializer if np.prod(item.dims, dtype=np.int64) <= _MOST_BINS)
    return {item.name for item in small if is_bin_mean(array(item))}


def half_plan(model: onnx.ModelProto, *, keep: Collection[str] = ()) -> HalfPlan:
    """Choose the nodes that compute in FP16.

    Args:
        model: A float model, or one with Q/DQ nodes.
        keep: Names of nodes that shall stay in FP32.
    """
    decode = decode_nodes(model)
    if not any(node.op_type in _WEIGHTED for node in model.graph.node):
        return HalfPlan(half=frozenset(), decode=())
    too_large = _too_large(model)
    kept: dict[str, str] = {}
    half = set()
    for index, node in enumerate(model.graph.node):
        if index in decode:
            continue
        name = node.name or node.output[0]
        large = [tensor for tensor in node.input if tensor in too_large]
        if name in keep:
            kept[name] = "asked for"
        elif node.op_type not in _HALF:
            kept[name] = f"{node.op_type} is not computed in FP16"
        elif large:
            kept[name] = (
                f"{large[0]} has a value of {too_large[large[0]]:.3g}, FP16 ends at {LARGEST_HALF:.0f}"
            )
        else:
            half.add(index)
    return HalfPlan(half=frozenset(half), decode=_float_names(model, decode), kept=kept)


def reasons(plan: HalfPlan) -> str:
    """Give the kept nodes in one line, for a user.

    Examples:
        >>> reasons(HalfPlan(half=frozenset(), decode=("a", "b"), kept={"c": "asked for"}))
        '2 nodes of the decode; c: asked for'
    """
    common = Counter(plan.kept.values())
    named = [f"{name}: {why}" for name, why in plan.kept.items() if common[why] == 1]
    counted = [f"{count} nodes: {why}" for why, count in common.items() if count > 1]
    return "; ".join([f"{len(plan.decode)} nodes of the decode", *counted, *named])


def _float_names(model: onnx.ModelProto, nodes: Collection[int]) -> tuple[str, ...]:
    """Name those of some nodes that compute floats: shapes and indexes have no precision to keep."""
    types, full = tensor_types(model), require("onnx", why="to read a model's types").TensorProto.FLOAT
    chosen = [model.graph.node[index] for index in sorted(nodes)]
    return tuple(node.name or node.output[0] for node in chosen if types.get(node.output[0]) == full)


def _too_large(model: onnx.ModelProto) -> dict[str, float]:
    """Find the float constants that FP16 cannot hold."""
    helper = require("onnx.numpy_helper", why="to read a model's weights")
    types = require("onnx", why="to read a model's weights").TensorProto
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type == types.FLOAT:
            largest = float(np.abs(helper.to_array(tensor)).max(initial=0.0))
            if not largest <= LARGEST_HALF:
                found[tensor.name] = largest
    return found
