"""The weights and biases that INT8 wants: equalised between layers, fitted and rounded layer by layer.

Owns the arithmetic that `edgeyolo.scales.Scales` describes with `channel_factors`, `weight_amax`,
`weight_steps` and `bias_shift`, and the packed form of the steps. Refuses to choose any of them
(`edgeyolo.calibrate`).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.errors import CalibrationError
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.plan import Layer, QuantPlan
from edgeyolo.scales import LEVELS, Scales

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = [
    "adjusted_weights",
    "model_with_weights",
    "nearest_steps",
    "packed_steps",
    "unpacked_steps",
    "weight_scale",
]


def adjusted_weights(view: GraphView, plan: QuantPlan, scales: Scales) -> dict[str, npt.NDArray[np.float32]]:
    """Give every weight and bias that differs from the float model's.

    With factors ``f`` on a tensor, the layer that makes it has its output channels (weights and bias)
    divided by ``f`` and every layer that reads it has its input channels multiplied by ``f``: the float
    graph computes what it did, because a LeakyRelu or Relu between them passes a positive factor through.

    Returns:
        Initializer name to its new value.

    Raises:
        CalibrationError: A factor does not fit the layer that it names.
    """
    changed = _Changed(view)
    _equalise(changed, plan, scales)
    for layer in (layer for layer in plan.layers if layer.name not in scales.float_layers):
        if layer.bias is not None and layer.name in scales.bias_shift:
            changed[layer.bias] = changed[layer.bias] + np.asarray(scales.bias_shift[layer.name])
        if layer.name in scales.weight_steps:
            changed[layer.weight] = _stepped(changed[layer.weight], layer, scales)
    return {name: np.asarray(array, np.float32) for name, array in changed.items()}


class _Changed(dict[str, "npt.NDArray[np.float64]"]):
    """Constants that were changed; one that was not yet is the float model's."""

    def __init__(self, view: GraphView) -> None:
        super().__init__()
        self._view = view

    def __missing__(self, name: str) -> npt.NDArray[np.float64]:
        return np.asarray(self._view.constant(name), np.float64)


def _equalise(changed: _Changed, plan: QuantPlan, scales: Scales) -> None:
    for layer in plan.layers:
        if layer.output in scales.channel_factors:
            factors = _factors(scales, layer.output, layer.channels)
            weights = changed[layer.weight]
            changed[layer.weight] = weights / _along(factors, weights.ndim, 0)
            if layer.bias is not None:
                changed[layer.bias] = changed[layer.bias] / factors
    for layer in plan.layers:
        if layer.input in scales.channel_factors:
            weights = changed[layer.weight]
            factors = _factors(scales, layer.input, weights.shape[1] * layer.groups)
            changed[layer.weight] = weights * _input_factors(factors, weights.shape, layer)


def nearest_steps(weights: npt.NDArray[np.generic], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round the weights of a Conv to the nearest step of their output channel.

    Args:
        weights: Shape ``(out, ...)``.
        scale: Real value of a step, shape ``(out,)``.

    Returns:
        Steps, -127..127.
    """
    rounded = np.rint(np.asarray(weights, np.float64) / _along(np.float64(scale), weights.ndim, 0))
    return np.asarray(np.clip(rounded, -LEVELS, LEVELS), np.int16)


def packed_steps(steps: npt.NDArray[np.int16]) -> str:
    """Pack steps into text: int16, little endian, zlib, base64. Most are 0 or 1 and take two bits or so.

    Examples:
        >>> unpacked_steps(packed_steps(np.array([[0, -1], [300, 2]], np.int16)), (2, 2)).tolist()
        [[0, -1], [300, 2]]
    """
    return base64.b64encode(zlib.compress(np.asarray(steps, "<i2").tobytes())).decode("ascii")


def unpacked_steps(packed: str, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Give the steps that `packed_steps` packed.

    Raises:
        CalibrationError: They are not the steps of weights of this shape.
    """
    try:
        steps = np.frombuffer(zlib.decompress(base64.b64decode(packed, validate=True)), "<i2")
        return np.asarray(steps.reshape(shape), np.int16)
    except (binascii.Error, zlib.error, ValueError) as exc:
        raise CalibrationError(
            f"weight_steps: those of weights of shape {shape} expected, {exc}",
            hint="calibrate this model again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
        ) from exc


def weight_scale(
    weight: npt.NDArray[np.generic], layer: Layer, amax: tuple[float, ...] | None
) -> npt.NDArray[np.float32]:
    """Give one scale an output channel.

    Args:
        weight: The layer's weights.
        layer: The layer.
        amax: Largest magnitude kept a channel; None for the largest weight.

    Returns:
        Shape ``(channels along the axis,)``, positive; a channel of zeros gets the layer's largest scale,
        which holds its zeros as well as any.
    """
    if amax is None:
        other = tuple(axis for axis in range(weight.ndim) if axis != layer.channel_axis)
        found = np.abs(weight.astype(np.float64)).max(axis=other)
    else:
        found = np.asarray(amax, np.float64)
    found = np.where(found > 0, found, max(found.max(), 1e-6))
    return np.asarray(found / LEVELS, np.float32)


def _stepped(weights: npt.NDArray[np.float64], layer: Layer, scales: Scales) -> npt.NDArray[np.float64]:
    """Give the weights that stand on the steps of `scales`."""
    if layer.name not in scales.weight_amax:
        raise CalibrationError(
            f"weight_amax of {layer.name!r} expected beside its weight_steps, none found",
            hint="calibrate this model again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
        )
    scale = weight_scale(weights, layer, scales.weight_amax[layer.name])
    steps = nearest_steps(weights, scale) + unpacked_steps(scales.weight_steps[layer.name], weights.shape)
    return steps * _along(np.float64(scale), weights.ndim, 0)


def model_with_weights(view: GraphView, plan: QuantPlan, scales: Scales) -> onnx.ModelProto:
    """Give the float model with equalised weights and corrected biases, without any Q/DQ."""
    numpy_helper = require("onnx.numpy_helper", why="to write equalised weights")
    model = type(view.model)()
    model.CopyFrom(view.model)
    changed = adjusted_weights(view, plan, scales)
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
    return model


def _factors(scales: Scales, tensor: str, channels: int) -> npt.NDArray[np.float64]:
    factors = np.asarray(scales.channel_factors[tensor], np.float64)
    if factors.shape != (channels,):
        raise CalibrationError(
            f"channel_factors of {tensor!r}: {channels} expected, {len(factors)} found",
            hint="calibrate this model again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
        )
    return factors


def _along(factors: npt.NDArray[np.float64], ndim: int, axis: int) -> npt.NDArray[np.float64]:
    return factors.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _input_factors(
    factors: npt.NDArray[np.float64], shape: tuple[int, ...], reader: Layer
) -> npt.NDArray[np.float64]:
    """Spread factors of input channels over the weights of a grouped Conv, ``[out, in / groups, ...]``."""
    per_group = factors.reshape(reader.groups, -1)
    spread = np.repeat(per_group, shape[0] // reader.groups, axis=0)
    return spread.reshape(shape[0], shape[1], *[1] * (len(shape) - 2))
