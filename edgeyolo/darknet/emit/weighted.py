"""Layers with trained parameters to ONNX: convolutional, deconvolutional, connected, batchnorm.

Owns the folding of batch normalisation, in float64, into the weights before it.

Source: Darknet src/convolutional_layer.c, src/deconvolutional_layer.c, src/connected_layer.c,
src/batchnorm_layer.c; ``normalize_cpu`` (src/blas.c); ``fuse_conv_batchnorm`` (src/network.c of
AlexeyAB/darknet).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.dialect import Dialect
from edgeyolo.darknet.emit.activations import emit_activation
from edgeyolo.darknet.emit.builder import GraphBuilder
from edgeyolo.darknet.layers import BatchNorm, Connected, Convolutional, Deconvolutional

__all__ = ["Arrays", "emit_batchnorm", "emit_connected", "emit_convolutional", "emit_deconvolutional"]

Array = npt.NDArray[np.float32]
Arrays = Mapping[str, Array]


def emit_convolutional(
    graph: GraphBuilder, layer: Convolutional, tensor: str, arrays: Arrays, dialect: Dialect
) -> str:
    """Append a Conv with its batch normalisation folded, then the activation."""
    weights, biases = _folded(arrays, layer.batch_normalize, dialect, channel_axis=0)
    (pad_w, pad_h), (stride_w, stride_h) = layer.pad_wh, layer.stride_wh
    result = graph.node(
        "Conv",
        _with_parameters(graph, layer.name, tensor, weights, biases),
        layer.name,
        layer.out_shape,
        kernel_shape=[layer.size, layer.size],
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[layer.dilation, layer.dilation],
        group=layer.groups,
    )
    return emit_activation(graph, layer.activation, result, layer.name, layer.out_shape)


def emit_deconvolutional(
    graph: GraphBuilder, layer: Deconvolutional, tensor: str, arrays: Arrays, dialect: Dialect
) -> str:
    """Append a ConvTranspose with its batch normalisation folded, then the activation."""
    weights, biases = _folded(arrays, layer.batch_normalize, dialect, channel_axis=1)
    (pad_w, pad_h), (stride_w, stride_h) = layer.pad_wh, layer.stride_wh
    result = graph.node(
        "ConvTranspose",
        _with_parameters(graph, layer.name, tensor, weights, biases),
        layer.name,
        layer.out_shape,
        kernel_shape=[layer.size, layer.size],
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
    )
    return emit_activation(graph, layer.activation, result, layer.name, layer.out_shape)


def emit_connected(
    graph: GraphBuilder, layer: Connected, tensor: str, arrays: Arrays, dialect: Dialect
) -> str:
    """Append a Gemm on the flattened input, then the activation; the result is ``[B, output, 1, 1]``.

    A Conv whose kernel is the whole input would need no Flatten, and takes 15 times as long on ONNX Runtime
    where that input is a single pixel.
    """
    weights, biases = _folded(arrays, layer.batch_normalize, dialect, channel_axis=0)
    flat = graph.node("Flatten", (tensor,), f"{layer.name}_flat", (layer.in_shape.size,), axis=1)
    product = graph.node(
        "Gemm",
        _with_parameters(graph, layer.name, flat, weights, biases),
        f"{layer.name}_product",
        (layer.output,),
        transB=1,
    )
    result = graph.reshape(product, layer.name, layer.out_shape)
    return emit_activation(graph, layer.activation, result, layer.name, layer.out_shape)


def emit_batchnorm(
    graph: GraphBuilder, layer: BatchNorm, tensor: str, arrays: Arrays, dialect: Dialect
) -> str:
    """Append ``x * factor + shift``, which an engine fuses with its neighbours."""
    factor, shift = _factor_and_shift(arrays, dialect)
    scaled = graph.node(
        "Mul",
        (tensor, graph.constant(f"{layer.name}_factor", factor.reshape(-1, 1, 1))),
        f"{layer.name}_scaled",
        layer.out_shape,
    )
    shift_name = graph.constant(f"{layer.name}_shift", shift.reshape(-1, 1, 1))
    return graph.node("Add", (scaled, shift_name), layer.name, layer.out_shape)


def _with_parameters(
    graph: GraphBuilder, name: str, tensor: str, weights: Array, biases: Array
) -> tuple[str, str, str]:
    return (
        tensor,
        graph.constant(f"{name}_weights", weights),
        graph.constant(f"{name}_biases", biases),
    )


def _folded(
    arrays: Arrays, batch_normalize: bool, dialect: Dialect, *, channel_axis: int
) -> tuple[Array, Array]:
    """Give weights and biases that do what weights and batch normalisation did.

    Args:
        arrays: Darknet's arrays of the layer.
        batch_normalize: Whether there is anything to fold.
        dialect: Its divisor.
        channel_axis: Axis of the output channels in the weights.
    """
    if not batch_normalize:
        return arrays["weights"], arrays["biases"]
    factor, shift = _factor_and_shift(arrays, dialect)
    weights = arrays["weights"]
    along = [1] * weights.ndim
    along[channel_axis] = -1
    return (weights * factor.reshape(along)).astype(np.float32), shift.astype(np.float32)


def _factor_and_shift(
    arrays: Arrays, dialect: Dialect
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Turn a batch normalisation into ``factor * x + shift``, in float64."""
    factor = arrays["scales"].astype(np.float64) / dialect.deviation(arrays["rolling_variance"])
    return factor, arrays["biases"] - arrays["rolling_mean"] * factor
