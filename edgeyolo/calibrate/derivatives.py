"""The derivative of each operator that stands between the layers of a detector.

Each rule takes the derivatives of the error by a node's outputs and adds nodes that compute those by its
inputs. Where it has none (an attribute that it does not know), it gives None, and the gradient stops there:
what is learnt from the rest is proved on pictures all the same.

Owns the table of rules and those that look at one value at a time or move values. Refuses to walk a graph
(`edgeyolo.calibrate.gradient`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.backward import Backward, Given, Parts, Rule
from edgeyolo.calibrate.convolutions import conv, conv_transpose, gemm, max_pool, resize
from edgeyolo.qdq.graph import attributes_of

if TYPE_CHECKING:
    import onnx

__all__ = ["DERIVATIVES"]

_STEEP = 1e30  # takes any value above 0 above 1


def _passes(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    return [given[0]]


def _reshapes(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    shape = b.shapes.get(node.input[0])
    if given[0] is None or shape is None:
        return None
    return [b.add("Reshape", [given[0], b.constant(np.array(shape, np.int64))])]


def _transpose(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    perm = attributes_of(node).get("perm")
    if given[0] is None or perm is None:
        return None
    return [b.add("Transpose", [given[0]], perm=np.argsort(perm).tolist())]


def _add(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    return [_part(b, node, name, given[0]) for name in node.input]


def _sub(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    first, second = node.input
    return [
        _part(b, node, first, given[0]),
        _part(b, node, second, b.add("Neg", [given[0]])) if b.wants(second) else None,
    ]


def _mul(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    first, second = node.input
    for slot, (x, gate) in enumerate(((first, second), (second, first))):
        if b.sigmoids.get(gate) == x:
            parts: list[str | None] = [None, None]
            parts[slot] = b.add("Mul", [given[0], _silu_slope(b, node.output[0], gate)])
            return parts
    return [
        _part(b, node, one, b.add("Mul", [given[0], other])) if b.wants(one) else None
        for one, other in ((first, second), (second, first))
    ]


def _silu_slope(b: Backward, z: str, s: str) -> str:
    """Give the slope of ``z = x s``, ``s`` the sigmoid of ``x``: ``z + s (1 - z)``.

    Both paths to ``x`` at once take half the operators, and ``x`` need not be kept.
    """
    return b.add("Add", [z, b.add("Mul", [s, b.add("Sub", [b.number(1), z])])])


def _div(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    first, second = node.input
    share = b.add("Div", [given[0], second])
    by_second = None
    if b.wants(second):
        by_second = _part(b, node, second, b.add("Neg", [b.add("Mul", [share, node.output[0]])]))
    return [_part(b, node, first, share), by_second]


def _part(b: Backward, node: onnx.NodeProto, tensor: str, given: str) -> str | None:
    return b.like(given, node.output[0], tensor) if b.wants(tensor) else None


def _elementwise(slope: Callable[[Backward, str, str], str]) -> Rule:
    """Make a rule of a function of one value, from its slope at input ``x`` and output ``y``."""

    def rule(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
        assert given[0] is not None
        return [b.add("Mul", [given[0], slope(b, node.input[0], node.output[0])])]

    return rule


def _sigmoid_slope(b: Backward, x: str, y: str) -> str:
    return b.add("Mul", [y, b.add("Sub", [b.number(1), y])])


def _tanh_slope(b: Backward, x: str, y: str) -> str:
    return b.add("Sub", [b.number(1), b.add("Mul", [y, y])])


def _between(b: Backward, x: str, low: float, high: float, slope: float) -> str:
    inside = b.add("Mul", [b.mask("Greater", x, b.number(low)), b.mask("Less", x, b.number(high))])
    return b.add("Mul", [inside, b.number(slope)])


def _hard_swish_slope(b: Backward, x: str, y: str) -> str:
    rising = b.add("Add", [b.add("Mul", [x, b.number(1 / 3)]), b.number(0.5)])
    between = b.add("Mul", [rising, _between(b, x, -3, 3, 1)])
    return b.add("Add", [between, b.mask("GreaterOrEqual", x, b.number(3))])


def _leaky(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    slope = attributes_of(node).get("alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
    if 0 <= slope <= 1:
        # Where the output is above 0 the input is, and ONNX Runtime fuses an input that nothing else reads.
        steep = b.add("Mul", [node.output[0], b.number(_STEEP)])
        factor = b.add("Clip", [steep, b.number(slope), b.number(1)])
    else:
        factor = b.mask("Greater", node.input[0], b.number(0))
        factor = b.add("Add", [b.add("Mul", [factor, b.number(1 - slope)]), b.number(slope)])
    return [b.add("Mul", [given[0], factor])]


def _hard_sigmoid(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    attributes = attributes_of(node)
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    slope = _between(b, node.input[0], -beta / alpha, (1 - beta) / alpha, alpha)
    return [b.add("Mul", [given[0], slope])]


def _clip(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    return [b.add("Mul", [given[0], b.mask("Equal", node.input[0], node.output[0])])]


def _pow(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    power = b.constants.get(node.input[1])
    if power is None or power.size != 1 or given[0] is None:
        return None
    value = float(power.ravel()[0])
    slope = b.add("Mul", [b.add("Pow", [node.input[0], b.number(value - 1)]), b.number(value)])
    return [b.add("Mul", [given[0], slope])]


def _softmax(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    y = node.output[0]
    axis = b.constant(np.array([attributes_of(node).get("axis", -1)], np.int64))
    weighted = b.add("Mul", [given[0], y])
    total = b.add("ReduceSum", [weighted, axis], keepdims=1)
    return [b.add("Sub", [weighted, b.add("Mul", [y, total])])]


def _reduce(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """ReduceSum, ReduceMean and GlobalAveragePool: every value that was summed has the same say."""
    before, after = b.shapes.get(node.input[0]), b.shapes.get(node.output[0])
    if before is None or after is None or given[0] is None:
        return None
    kept = after
    if len(after) != len(before):
        axes = attributes_of(node).get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in b.constants:
            axes = b.constants[node.input[1]].tolist()
        if axes is None:
            return None
        gone = {axis % len(before) for axis in axes}
        kept = tuple(1 if axis in gone else size for axis, size in enumerate(before))
    each = b.add("Reshape", [given[0], b.constant(np.array(kept, np.int64))])
    if node.op_type != "ReduceSum":
        each = b.add("Mul", [each, b.number(np.prod(kept) / np.prod(before))])
    return [b.add("Expand", [each, b.constant(np.array(before, np.int64))])]


def _concat(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    axis = attributes_of(node)["axis"]
    shapes = [_shape(b, name) for name in node.input]
    if given[0] is None or any(shape is None for shape in shapes):
        return None
    sizes = np.array([shape[axis] for shape in shapes if shape is not None], np.int64)
    return b.add_many("Split", [given[0], b.constant(sizes)], len(sizes), axis=axis)


def _shape(b: Backward, name: str) -> tuple[int, ...] | None:
    return b.constants[name].shape if name in b.constants else b.shapes.get(name)


def _split(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    axis = attributes_of(node).get("axis", 0)
    parts = []
    for name, part in zip(node.output, given, strict=True):
        shape = b.shapes.get(name)
        if part is None and shape is None:
            return None
        parts.append(part or b.constant(np.zeros(shape or (), np.float32)))
    return [b.add("Concat", parts, axis=axis)]


def _slice(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    shape = b.shapes.get(node.input[0])
    values = [b.constants.get(name) for name in node.input[1:] if name]
    if given[0] is None or shape is None or len(values) < 3 or any(value is None for value in values):
        return None
    starts, ends, axes, *steps = [value.tolist() for value in values if value is not None]
    if steps and any(step != 1 for step in steps[0]):
        return None
    pads = np.zeros((2, len(shape)), np.int64)
    for start, end, axis in zip(starts, ends, axes, strict=True):
        first, last, _ = slice(start, end).indices(shape[axis])
        pads[:, axis] = first, shape[axis] - last
    return [b.add("Pad", [given[0], b.constant(pads.reshape(-1))])]


DERIVATIVES: Mapping[str, Rule] = {
    **dict.fromkeys(("Identity", "Dropout"), _passes),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshapes),
    **dict.fromkeys(("LeakyRelu", "Relu"), _leaky),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "GlobalAveragePool"), _reduce),
    **dict.fromkeys(("Gemm", "MatMul"), gemm),
    "Transpose": _transpose,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Neg": lambda b, node, given: [b.add("Neg", [given[0] or ""])],
    "Exp": _elementwise(lambda b, x, y: y),
    "Log": _elementwise(lambda b, x, y: b.add("Reciprocal", [x])),
    "Sqrt": _elementwise(lambda b, x, y: b.add("Div", [b.number(0.5), y])),
    "Sigmoid": _elementwise(_sigmoid_slope),
    "Tanh": _elementwise(_tanh_slope),
    "Softplus": _elementwise(lambda b, x, y: b.add("Sigmoid", [x])),
    "HardSwish": _elementwise(_hard_swish_slope),
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "Pow": _pow,
    "Softmax": _softmax,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "Resize": resize,
}
"""Operator to its rule."""
