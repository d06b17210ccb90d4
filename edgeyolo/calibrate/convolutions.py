"""The derivatives of convolutions and of what else works on neighbourhoods: pooling, enlarging, matrices.

Owns these rules. Refuses to be called but through the table of `edgeyolo.calibrate.derivatives`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.backward import Backward, Given, Parts
from edgeyolo.qdq.graph import attributes_of

if TYPE_CHECKING:
    import onnx

__all__ = ["conv", "conv_transpose", "gemm", "max_pool", "resize"]


def conv(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
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


def conv_transpose(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Give the derivative by the input: the convolution that it is the transpose of."""
    attributes = attributes_of(node)
    if given[0] is None or node.input[1] not in b.constants or "output_shape" in attributes:
        return None
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    extra = {name: attributes[name] for name in ("strides", "dilations", "group") if name in attributes}
    return [b.add("Conv", [given[0], node.input[1]], pads=pads, **extra)]


def gemm(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Give the derivative by the input: a product with the transposed weights."""
    weights = b.constants.get(node.input[1])
    attributes = attributes_of(node) if node.op_type == "Gemm" else {}
    if given[0] is None or weights is None or weights.ndim != 2 or attributes.get("transA"):
        return None
    turned = weights if attributes.get("transB") else weights.T
    scaled = np.ascontiguousarray(turned * np.float32(attributes.get("alpha", 1.0)))
    return [b.add("MatMul", [given[0], b.constant(scaled)])]


def max_pool(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
    """Hand each derivative to the place that the maximum came from.

    Where windows do not overlap, places that hold the same maximum share it. ONNX Runtime takes ten times as
    long for a pooling that tells the places.
    """
    shape, after = b.shapes.get(node.input[0]), b.shapes.get(node.output[0])
    if given[0] is None or shape is None or after is None:
        return None
    kernel = list(attributes_of(node)["kernel_shape"])
    if _apart(node, kernel) and shape == (
        *after[:2],
        *(k * n for k, n in zip(kernel, after[2:], strict=True)),
    ):
        times = b.constant(np.array([1, 1, *kernel], np.float32))
        largest = b.add("Resize", [node.output[0], "", times], mode="nearest")
        holds = b.mask("Equal", node.input[0], largest)
        share = b.add("AveragePool", [holds], kernel_shape=kernel, strides=kernel)
        each = b.add("Div", [given[0], b.add("Mul", [share, b.number(np.prod(kernel))])])
        return [b.add("Mul", [b.add("Resize", [each, "", times], mode="nearest"), holds])]
    if len(node.output) == 1:
        node.output.append(f"{node.output[0]}_places")
    flat = b.constant(np.array([-1], np.int64))
    parts = [b.constant(np.zeros(int(np.prod(shape)), np.float32))]
    parts += [b.add("Reshape", [name, flat]) for name in (node.output[1], given[0])]
    scattered = b.add("ScatterElements", parts, axis=0, reduction="add")
    return [b.add("Reshape", [scattered, b.constant(np.array(shape, np.int64))])]


def _apart(node: onnx.NodeProto, kernel: list[int]) -> bool:
    """Tell whether the windows of a pooling lie side by side."""
    attributes = attributes_of(node)
    plain = not any(attributes.get("pads", ())) and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    dilated = any(step != 1 for step in attributes.get("dilations", ()))
    return plain and not dilated and list(attributes.get("strides", ())) == kernel and len(kernel) == 2


def resize(b: Backward, node: onnx.NodeProto, given: Given) -> Parts:
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
