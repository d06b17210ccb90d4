"""The derivative of each operator that stands between the layers of a detector.

Each rule takes the derivatives of the error by a node's outputs and adds nodes that compute those by its
inputs. Where it has none (an attribute that it does not know), it gives None, and the gradient stops there:
what is learnt from the rest is proved on pictures all the same.

Owns the rules and the class that they write nodes with. Refuses to walk a graph
(`edgeyolo.calibrate.gradient`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.optional import require
from edgeyolo.qdq.graph import attributes_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["DERIVATIVES", "Backward"]

Given = Sequence["str | None"]
Parts = Sequence["str | None"] | None
Rule = Callable[["Backward", "onnx.NodeProto", Given], Parts]

_PREFIX = "edgeyolo/gradient/node"


class Backward:
    """Adds nodes and constants behind a graph.

    Args:
        model: The graph; grows.
        constants: Its constants by name; grow.
        shapes: Of its tensors.
    """

    def __init__(
        self, model: Any, constants: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._helper = require("onnx.helper", why="to differentiate a model")
        self.model = model
        self.constants = dict(constants)
        self.shapes = shapes
        self._count = 0

    def wants(self, tensor: str) -> bool:
        """Tell whether the derivative by a tensor is of use."""
        raise NotImplementedError

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output; give its name."""
        return self.add_many(op, inputs, 1, **attributes)[0]

    def add_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs; give their names."""
        self._count += 1
        names = [f"{_PREFIX}/{self._count}/{op}/{index}" for index in range(count)]
        self.model.graph.node.append(self._helper.make_node(op, list(inputs), names, **attributes))
        return names

    def constant(self, value: npt.NDArray[Any] | np.generic) -> str:
        """Add a constant; give its name."""
        array = np.asarray(value)
        text = "x".join(map(str, array.ravel()[:16])) if array.size <= 16 else f"n{len(self.constants)}"
        name = f"{_PREFIX}/constant/{array.dtype}/{array.shape}/{text}"
        self.constants.setdefault(name, array)
        return name

    def number(self, value: float) -> str:
        """Add a float; give its name."""
        return self.constant(np.float32(value))

    def like(self, given: str, made: str, wanted: str) -> str | None:
        """Sum over what an operator broadcast: from the shape of its output to that of an input."""
        before, after = self.shapes.get(wanted), self.shapes.get(made)
        if before is None or after is None:
            return None
        if before == after:
            return given
        padded = (1,) * (len(after) - len(before)) + before
        axes = [axis for axis, (one, many) in enumerate(zip(padded, after, strict=True)) if one != many]
        summed = self.add("ReduceSum", [given, self.constant(np.array(axes, np.int64))], keepdims=1)
        return self.add("Reshape", [summed, self.constant(np.array(before, np.int64))])


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
    return [
        _part(b, node, one, b.add("Mul", [given[0], other])) if b.wants(one) else None
        for one, other in ((first, second), (second, first))
    ]


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
    inside = b.add("And", [b.add("Greater", [x, b.number(low)]), b.add("Less", [x, b.number(high)])])
    return b.add("Where", [inside, b.number(slope), b.number(0)])


def _hard_swish_slope(b: Backward, x: str, y: str) -> str:
    rising = b.add("Add", [b.add("Div", [x, b.number(3)]), b.number(0.5)])
    above = b.add("Where", [b.add("Less", [x, b.number(3)]), rising, b.number(1)])
    return b.add("Where", [b.add("Greater", [x, b.number(-3)]), above, b.number(0)])


def _leaky(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    slope = attributes_of(node).get("alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
    above = b.add("Greater", [node.input[0], b.number(0)])
    below = b.add("Mul", [given[0], b.number(slope)])
    return [b.add("Where", [above, given[0], below])]


def _hard_sigmoid(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    attributes = attributes_of(node)
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    slope = _between(b, node.input[0], -beta / alpha, (1 - beta) / alpha, alpha)
    return [b.add("Mul", [given[0], slope])]


def _clip(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    assert given[0] is not None
    kept = b.add("Equal", [node.input[0], node.output[0]])
    return [b.add("Where", [kept, given[0], b.number(0)])]


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


def _conv(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Give the derivative by the input: a convolution with the flipped, transposed weights.

    With a stride it is a transposed convolution.
    """
    weights, before = b.constants.get(node.input[1]), b.shapes.get(node.input[0])
    after = b.shapes.get(node.output[0])
    if weights is None or given[0] is None or before is None or after is None or len(before) != 4:
        return None
    attributes = attributes_of(node)
    groups = int(attributes.get("group", 1))
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    reach = [d * (k - 1) for d, k in zip(dilations, weights.shape[2:], strict=True)]
    pads = _pads(attributes, before[2:], after[2:], strides, reach)
    opposite = [r - p for r, p in zip([*reach, *reach], pads, strict=True)]
    if list(strides) == [1, 1] and min(opposite) >= 0:
        out, per_group, height, width = weights.shape
        grouped = weights.reshape(groups, out // groups, per_group, height, width)
        turned = grouped.transpose(0, 2, 1, 3, 4)[..., ::-1, ::-1]
        flipped = turned.reshape(groups * per_group, out // groups, height, width)
        extra = {"pads": opposite, "dilations": list(dilations), "group": groups}
        return [b.add("Conv", [given[0], b.constant(np.ascontiguousarray(flipped))], **extra)]
    sides = zip(before[2:], after[2:], strides, reach, pads[:2], pads[2:], strict=True)
    missing = [size - ((n - 1) * s + r + 1 - p - q) for size, n, s, r, p, q in sides]
    return [
        b.add(
            "ConvTranspose",
            [given[0], node.input[1]],
            strides=list(strides),
            dilations=list(dilations),
            pads=pads,
            output_padding=missing,
            group=groups,
        )
    ]


def _pads(
    attributes: Mapping[str, Any],
    before: Sequence[int],
    after: Sequence[int],
    strides: Sequence[int],
    reach: Sequence[int],
) -> list[int]:
    """Give the padding of a convolution or pooling, begins first, also where the graph says SAME."""
    mode = attributes.get("auto_pad", b"NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if not mode.startswith("SAME"):
        return list(attributes.get("pads", [0, 0, 0, 0]))
    sides = zip(before, after, strides, reach, strict=True)
    total = [max((n - 1) * s + r + 1 - size, 0) for size, n, s, r in sides]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    return [*less, *more] if mode == "SAME_UPPER" else [*more, *less]


def _conv_transpose(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Give the derivative by the input: the convolution that it is the transpose of."""
    attributes = attributes_of(node)
    if given[0] is None or node.input[1] not in b.constants or "output_shape" in attributes:
        return None
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    extra = {name: attributes[name] for name in ("strides", "dilations", "group") if name in attributes}
    return [b.add("Conv", [given[0], node.input[1]], pads=pads, **extra)]


def _gemm(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    weights = b.constants.get(node.input[1])
    attributes = attributes_of(node) if node.op_type == "Gemm" else {}
    if given[0] is None or weights is None or weights.ndim != 2 or attributes.get("transA"):
        return None
    turned = weights if attributes.get("transB") else weights.T
    scaled = np.ascontiguousarray(turned * np.float32(attributes.get("alpha", 1.0)))
    return [b.add("MatMul", [given[0], b.constant(scaled)])]


def _max_pool(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Hand each derivative to the place that the maximum came from."""
    shape = b.shapes.get(node.input[0])
    if given[0] is None or shape is None:
        return None
    if len(node.output) == 1:
        node.output.append(f"{node.output[0]}_places")
    flat = b.constant(np.array([-1], np.int64))
    parts = [b.constant(np.zeros(int(np.prod(shape)), np.float32))]
    parts += [b.add("Reshape", [name, flat]) for name in (node.output[1], given[0])]
    scattered = b.add("ScatterElements", parts, axis=0, reduction="add")
    return [b.add("Reshape", [scattered, b.constant(np.array(shape, np.int64))])]


def _resize(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Sum over the copies that nearest enlarging by a whole number made."""
    before, after = b.shapes.get(node.input[0]), b.shapes.get(node.output[0])
    mode = attributes_of(node).get("mode", b"nearest")
    if given[0] is None or before is None or after is None or len(before) != 4 or mode != b"nearest":
        return None
    times = [large // small for small, large in zip(before, after, strict=True)]
    if tuple(t * size for t, size in zip(times, before, strict=True)) != after or times[:2] != [1, 1]:
        return None
    mean = b.add("AveragePool", [given[0]], kernel_shape=times[2:], strides=times[2:])
    return [b.add("Mul", [mean, b.number(times[2] * times[3])])]


DERIVATIVES: Mapping[str, Rule] = {
    **dict.fromkeys(("Identity", "Dropout"), _passes),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshapes),
    **dict.fromkeys(("LeakyRelu", "Relu"), _leaky),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "GlobalAveragePool"), _reduce),
    **dict.fromkeys(("Gemm", "MatMul"), _gemm),
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
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
"""Operator to its rule."""
