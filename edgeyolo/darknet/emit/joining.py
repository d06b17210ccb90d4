"""Layers that read other layers to ONNX: route, shortcut, scale_channels, sam.

Source: Darknet src/route_layer.c, src/shortcut_layer.c; src/scale_channels_layer.c, src/sam_layer.c,
``shortcut_multilayer_cpu`` (src/blas.c) and ``fuse_conv_batchnorm`` (src/network.c) of AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.emit.activations import emit_activation
from edgeyolo.darknet.emit.builder import GraphBuilder
from edgeyolo.darknet.emit.weighted import Arrays
from edgeyolo.darknet.layers import Route, Sam, ScaleChannels, Shape, Shortcut

__all__ = ["emit_route", "emit_sam", "emit_scale_channels", "emit_shortcut"]

# AlexeyAB/darknet, `fuse_conv_batchnorm` (src/network.c): the floor of a relu-normalised weight (`lrelu`) and
# what is added to the sum.
_RELU_FLOOR = 0.001
_SUM_EPSILON = 0.0001


def emit_route(graph: GraphBuilder, layer: Route, tensors: Sequence[str]) -> str:
    """Append a Slice for each input that gives one of several groups, then a Concat of more than one."""
    parts = list(tensors)
    if layer.groups > 1:
        for i, (tensor, shape) in enumerate(zip(tensors, layer.in_shapes, strict=True)):
            size = shape.c // layer.groups
            begin = size * layer.group_id
            parts[i] = _channels(graph, tensor, f"{layer.name}_group{i}", begin, begin + size)
    if len(parts) == 1:
        return parts[0]
    return graph.node("Concat", parts, layer.name, layer.out_shape, axis=1)


def emit_shortcut(graph: GraphBuilder, layer: Shortcut, tensors: Sequence[str], arrays: Arrays) -> str:
    """Append one Add an input after the first, weighted where the cfg says so, then the activation."""
    terms = [_fitted(graph, layer, i, tensor) for i, tensor in enumerate(tensors)]
    if layer.fusion != "none":
        factors = _normalized(arrays["weights"], layer.normalization)
        terms = [
            graph.node(
                "Mul",
                (term, graph.constant(f"{layer.name}_weight{i}", factors[i].reshape(-1, 1, 1))),
                f"{layer.name}_weighted{i}",
                layer.out_shape,
            )
            for i, term in enumerate(terms)
        ]
    total = terms[0]
    for i, term in enumerate(terms[1:], start=1):
        name = layer.name if i == len(terms) - 1 else f"{layer.name}_sum{i}"
        total = graph.node("Add", (total, term), name, layer.out_shape)
    return emit_activation(graph, layer.activation, total, layer.name, layer.out_shape)


def emit_scale_channels(graph: GraphBuilder, layer: ScaleChannels, tensors: Sequence[str]) -> str:
    """Append a broadcasting Mul, then the activation."""
    factors, scaled = tensors
    result = graph.node("Mul", (scaled, factors), layer.name, layer.out_shape)
    return emit_activation(graph, layer.activation, result, layer.name, layer.out_shape)


def emit_sam(graph: GraphBuilder, layer: Sam, tensors: Sequence[str]) -> str:
    """Append a Mul, then the activation."""
    result = graph.node("Mul", tensors, layer.name, layer.out_shape)
    return emit_activation(graph, layer.activation, result, layer.name, layer.out_shape)


def _channels(graph: GraphBuilder, tensor: str, name: str, begin: int, end: int) -> str:
    return graph.slice(tensor, name, (1,), (begin,), (end,))


def _fitted(graph: GraphBuilder, layer: Shortcut, i: int, tensor: str) -> str:
    """Make input `i` as large as the output: pixels and channels that are too many left out, zeros added.

    Raises:
        UnsupportedOpError: A smaller layer, spread over every second pixel or so of a larger one.
    """
    shape, target, name = layer.in_shapes[i], layer.out_shape, f"{layer.name}_from{i}"
    if shape == target:
        return tensor
    if max(target.w // shape.w, target.h // shape.h) > 1:
        raise graph.refusal(
            layer, f"adds a layer of {shape} to a larger one of {target}", hint="put an [upsample] before it"
        )
    steps = (1, max(1, shape.h // target.h), max(1, shape.w // target.w))
    common = Shape(*map(min, shape, target))
    if common != shape:
        ends = [(count - 1) * step + 1 for count, step in zip(common, steps, strict=True)]
        cut = name if common == target else f"{name}_cut"
        tensor = graph.slice(tensor, cut, (1, 2, 3), (0, 0, 0), ends, steps)
    if common != target:
        missing = [wanted - found for wanted, found in zip(target, common, strict=True)]
        tensor = graph.node(
            "Pad", (tensor, graph.shared([0] * 5 + missing, np.int64)), name, target, mode="constant"
        )
    return tensor


def _normalized(weights: npt.NDArray[np.float32], normalization: str) -> npt.NDArray[np.float64]:
    """Give the factor of each input, ``(n, 1)`` or ``(n, c)``, in float64."""
    factors = weights.astype(np.float64).reshape(len(weights), -1)
    if normalization == "none":
        return factors
    if normalization == "relu":
        factors = np.maximum(factors, _RELU_FLOOR)
    else:
        factors = np.exp(factors - factors.max(axis=0))
    normalized: npt.NDArray[np.float64] = factors / (factors.sum(axis=0) + _SUM_EPSILON)
    return normalized
