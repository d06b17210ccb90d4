"""What only ONNX Runtime reads of the scales, chosen last, since it goes by all the rest.

Owns the ranges in front of activations, and the choice of float layers that are INT8 there all the same.
Refuses to touch what other targets read.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.ranges import amax_in_front
from edgeyolo.qdq.placement import int8_layers
from edgeyolo.scales import Scales, TensorScale

if TYPE_CHECKING:
    from edgeyolo.calibrate.collect import Statistics
    from edgeyolo.calibrate.judge import PlannedModel
    from edgeyolo.qdq.plan import Layer, QuantPlan

__all__ = ["keep_wide_layers_in_int8", "with_ranges_in_front"]

# Multiply-adds for one value of the result from which INT8 pays whatever is around: 3x3 convolutions with 64
# to 512 channels are 2.5 to 4.2 times faster on AVX-512 VNNI. Around narrower ones see `int8_layers`.
_WIDE = 512
# How much more error is accepted for all multiply-adds in INT8, a share of it for a share of them. In
# yolov3-tiny 27 % of them cost 71 % more error and 7 % cost 6 %; in a YOLOv8n 2.7 % cost 28 %.
_WORTH = 3.0
_MOST = 2.5  # times the error that all together may become; yolov3-tiny's becomes 2.03 times as large


def with_ranges_in_front(plan: QuantPlan, statistics: Statistics, scales: Scales) -> Scales:
    """Choose the ranges in front of each LeakyRelu; a calibration cache keeps the old ones.

    Args:
        plan: Of the model.
        statistics: Collected from the model as `scales` have it.
        scales: Chosen so far.
    """
    amax = {group[0]: scales.tensors[group[0]].amax for group in plan.groups}
    found = amax_in_front(plan, statistics, amax)
    old = {name: scales.tensors[name] for name in found}
    new = {name: TensorScale(amax=value, method="mse behind the activation") for name, value in found.items()}
    return dataclasses.replace(scales, tensors={**scales.tensors, **new}, plain={**old, **scales.plain})


def keep_wide_layers_in_int8(
    model: PlannedModel,
    scales: Scales,
    error: Callable[[Scales], float],
    *,
    budget: int,
    dead: Collection[str],
) -> tuple[dict[str, str], list[str]]:
    """Choose the float layers that take too much with them on ONNX Runtime.

    A layer whose result a float layer reads is float there too (`edgeyolo.qdq.placement.int8_layers`). Where
    that is a wide one, the time that INT8 would save is gone: in yolov3-tiny three float layers of 4 % of the
    multiply-adds take 57 % with them, and it ran no faster than FP32.

    Args:
        model: The float model.
        scales: Chosen, complete.
        error: Gives the error of scales on ONNX Runtime's graph.
        budget: Multiply-adds of wide layers that may be taken along, for one image.
        dead: Groups whose range is not known: what reads them stays float.

    Returns:
        Layer name to the reason why it is INT8 there, and what was measured.
    """
    readers = _readers(model.plan, scales, dead)
    wide = _wide_layers(model, _in_int8(scales, *itertools.chain(*readers.values())))

    def taken_along(scales: Scales) -> int:
        int8 = {layer.name for layer in int8_layers(model.plan, "onnxruntime", scales)}
        return sum(macs for name, macs in wide.items() if name not in int8 | scales.float_layers.keys())

    chosen: dict[str, str] = {}
    log: list[str] = []
    before = first = error(scales) if taken_along(scales) > budget else 0.0
    while readers and (now := taken_along(scales)) > budget:
        left = {tensor: taken_along(_in_int8(scales, *layers)) for tensor, layers in readers.items()}
        tensor = min(readers, key=lambda each: left[each])
        layers = readers.pop(tensor)
        if left[tensor] == now:
            break
        tried = _in_int8(scales, *layers)
        after = error(tried)
        share = (now - left[tensor]) / model.plan.macs
        words = f"in float it would take {share:.1%} of the multiply-adds with it"
        names = " and ".join(layer.name for layer in layers)
        what = f"{names} in INT8 on ONNX Runtime: {words}; error there {before:.4f} to {after:.4f}"
        if after > min(before * (1 + _WORTH * share), first * _MOST):
            log.append(f"{what}, not kept")
        else:
            log.append(what)
            chosen.update(dict.fromkeys((layer.name for layer in layers), words))
            scales, before = tried, after
    return chosen, log


def _readers(plan: QuantPlan, scales: Scales, dead: Collection[str]) -> dict[str, list[Layer]]:
    """Give the float layers by what they read: while one of them is float, so is what makes that."""
    group_of = plan.group_of
    found: dict[str, list[Layer]] = {}
    for layer in plan.layers:
        if layer.name in scales.float_layers and group_of.get(layer.input) not in {None, *dead}:
            found.setdefault(layer.input, []).append(layer)
    return found


def _wide_layers(model: PlannedModel, scales: Scales) -> dict[str, int]:
    """Give the multiply-adds of the layers for which INT8 pays whatever is around."""
    return {
        layer.name: layer.macs
        for layer in int8_layers(model.plan, "onnxruntime", scales)
        if layer.groups == 1
        if np.asarray(model.view.constant(layer.weight)).size >= _WIDE * layer.channels
    }


def _in_int8(scales: Scales, *layers: Layer) -> Scales:
    names = {layer.name for layer in layers}
    left = {name: why for name, why in scales.float_layers.items() if name not in names}
    return dataclasses.replace(scales, float_layers=left)
