"""The weights and biases that INT8 wants: equalised between layers, biases corrected.

Owns the arithmetic that `edgeyolo.scales.Scales` describes with `channel_factors` and `bias_shift`. Refuses
to choose either (`edgeyolo.calibrate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.errors import CalibrationError
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.plan import Layer, QuantPlan
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["adjusted_weights", "model_with_weights"]


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
    changed: dict[str, npt.NDArray[np.float64]] = {}

    def value(name: str) -> npt.NDArray[np.float64]:
        if name not in changed:
            changed[name] = np.asarray(view.constant(name), np.float64)
        return changed[name]

    for layer in plan.layers:
        if layer.output in scales.channel_factors:
            factors = _factors(scales, layer.output, layer.channels)
            changed[layer.weight] = value(layer.weight) / _along(factors, value(layer.weight).ndim, 0)
            if layer.bias is not None:
                changed[layer.bias] = value(layer.bias) / factors
    for layer in plan.layers:
        if layer.input in scales.channel_factors:
            shape = value(layer.weight).shape
            factors = _factors(scales, layer.input, shape[1] * layer.groups)
            changed[layer.weight] = value(layer.weight) * _input_factors(factors, shape, layer)
    for layer in plan.layers:
        if layer.bias is not None and layer.name in scales.bias_shift:
            changed[layer.bias] = value(layer.bias) + np.asarray(scales.bias_shift[layer.name])
    return {name: np.asarray(array, np.float32) for name, array in changed.items()}


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
