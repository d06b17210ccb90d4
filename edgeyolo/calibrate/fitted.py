"""Fitted weights for a whole model: from images to what `edgeyolo.scales.Scales` writes down.

Owns which images are looked at and the form of the result. Refuses to judge whether it pays
(`edgeyolo.calibrate.auto`); the algebra is `edgeyolo.calibrate.reconstruct`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.feed import Spread
from edgeyolo.calibrate.moments import collect_moments, layers_with_moments, passes
from edgeyolo.calibrate.reconstruct import fit
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.plan import QuantPlan
from edgeyolo.qdq.weights import model_with_weights, nearest_steps, packed_steps, weight_scale
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    import numpy.typing as npt

    Tensor = npt.NDArray[np.float32]

__all__ = ["with_fitted_weights"]

# Images, spread over all; each gives hundreds of equations for every weight. Large networks, whose layers
# have many positions, make do with fewer.
_MOST_IMAGES, _LEAST_IMAGES = 64, 16
_MACS = 2e12  # work that the forward passes may cost
# Output positions for each weight of a filter below which a layer is not fitted. Squeeze-and-excitation has
# one position an image: 18 images cannot tell what 128 weights do, and rounding weights to make up for each
# other there took a PicoDet's error from 0.0136 to 0.069; all its other layers brought it to 0.0103.
_LEAST_POSITIONS = 2


def with_fitted_weights(
    view: GraphView,
    plan: QuantPlan,
    scales: Scales,
    batches: Iterable[Tensor],
    images: int,
    *,
    progress: Callable[[int, int], None],
) -> Scales:
    """Fit every layer's weights and bias to the scale that its input has.

    Args:
        view: Of the float model.
        plan: Of that model.
        scales: For it; what they have of fitted weights is not used.
        batches: The calibration tensors, one image each; iterated several times.
        images: Their number.
        progress: Called with images done and images in all.

    Returns:
        The scales with `weight_amax`, `weight_steps` and `bias_shift` of every layer that can be fitted.
    """
    plain = dataclasses.replace(scales, weight_steps={}, bias_shift={}, weight_amax={})
    model = model_with_weights(view, plan, plain)
    equal = GraphView(model)
    layers = layers_with_moments(equal, plan, plain.float_layers)
    rounds = passes(equal, layers)
    affordable = int(_MACS / max(plan.macs * rounds, 1))
    every = max(1, images // max(_LEAST_IMAGES, min(_MOST_IMAGES, affordable)))
    total = rounds * len(range(0, images, every))
    steps_of_inputs = {layer.input: plain.tensors[layer.input].scale for layer in layers}
    moments = collect_moments(
        model, layers, steps_of_inputs, Spread(batches, every), progress=lambda done: progress(done, total)
    )
    amax, steps, shift = {}, {}, {}
    for layer in layers:
        seen = moments[layer.name]
        if seen.count < _LEAST_POSITIONS * (seen.qq.shape[1] - 1):
            continue
        weights, bias = (np.asarray(equal.constant(name)) for name in (layer.weight, layer.bias or ""))
        amax[layer.name] = _written(np.abs(weights).max(axis=(1, 2, 3)))
        step = weight_scale(weights, layer, amax[layer.name])
        fitted = fit(weights.astype(np.float64), bias.astype(np.float64), step, seen)
        steps[layer.name] = packed_steps(fitted.steps - nearest_steps(weights, step))
        shift[layer.name] = _written(fitted.bias - bias)
    return dataclasses.replace(plain, weight_amax=amax, weight_steps=steps, bias_shift=shift)


def _written(values: npt.NDArray[np.floating]) -> tuple[float, ...]:
    """Round to what is worth writing into a file."""
    return tuple(float(f"{value:.6g}") for value in values)
