"""Scales of a whole model, and the story of how they were chosen: what every way of choosing hands on.

Owns the type `Choice` and the two ways that need no search: one method for all tensors, and a calibration
cache that exists already. The third is `edgeyolo.calibrate.auto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.amax import DEFAULT_PERCENTILE, Method, amax_by
from edgeyolo.calibrate.histogram import magnitudes
from edgeyolo.errors import CalibrationError, DeadTensorError
from edgeyolo.scales import LEVELS, Provenance, Scales, TensorScale

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.calibrate.collect import Statistics
    from edgeyolo.calibrate.trt_cache import Matched
    from edgeyolo.qdq import QuantPlan

__all__ = ["Choice", "choice_by_method", "choice_from_cache", "group_counts", "relative_error"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Scales and how they came about.

    Args:
        scales: The scales.
        log: What was tried, decided and why, one line a step.
        applied: What was done beside choosing a range for each tensor, in words; empty for nothing.
        layer_errors: Layer to its own effect on the network's outputs, where it was measured.
        error_unit: What `layer_errors` counts.
        unmatched: Names of a calibration cache that this model does not have.
        lacking: Tensors of this model that a calibration cache has no scale for.
    """

    scales: Scales
    log: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    layer_errors: Mapping[str, float] = field(default_factory=dict)
    error_unit: str = ""
    unmatched: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def choice_by_method(
    plan: QuantPlan, statistics: Statistics, method: Method, provenance: Provenance
) -> Choice:
    """Choose every scale by one method, from the histograms alone.

    Args:
        plan: Which tensors share a scale.
        statistics: What was collected.
        method: How.
        provenance: What the scales are made from.

    Raises:
        DeadTensorError: A tensor is 0 on every picture; the message names it.
    """
    tensors: dict[str, TensorScale] = {}
    errors: dict[str, float] = {}
    words = f"percentile {DEFAULT_PERCENTILE}" if method == "percentile" else method
    for group in plan.groups:
        counts, width = group_counts(plan, statistics, group[0])
        try:
            scale = TensorScale(amax=amax_by(method, counts, width), method=words)
        except DeadTensorError as exc:
            raise DeadTensorError(
                f"tensor {group[0]!r} is 0 on all {statistics.images} pictures",
                hint="more varied pictures; or the weights are broken: edgeyolo evaluate the float model",
            ) from exc
        tensors.update(dict.fromkeys(group, scale))
        errors[group[0]] = relative_error(counts, width, scale.amax)
    group_of = plan.group_of
    return Choice(
        scales=Scales(provenance=provenance, tensors=tensors),
        layer_errors={
            layer.name: errors[group_of[layer.input]] for layer in plan.layers if layer.input in group_of
        },
        error_unit="error of the layer's input, relative (root mean square)",
        log=(f"{len(plan.groups)} scales for {len(tensors)} tensors, each by {words} from its histogram",),
    )


def choice_from_cache(plan: QuantPlan, matched: Matched, provenance: Provenance, *, name: str) -> Choice:
    """Take the scales of a TensorRT calibration cache.

    A group's scale is the largest that the cache has for one of its tensors: that is what TensorRT wrote for
    all of them. A layer that reads a tensor without a scale stays float, and so does a residual sum.

    Args:
        plan: Which tensors share a scale.
        matched: The cache's entries that this model knows.
        provenance: What the scales belong to.
        name: What to call the cache.

    Raises:
        CalibrationError: Not one tensor of the model has a scale in the cache.
    """
    tensors: dict[str, TensorScale] = {}
    lacking: list[str] = []
    for group in plan.groups:
        amax = max((matched.amax.get(tensor, 0.0) for tensor in group), default=0.0)
        if amax > 0:
            tensors.update(dict.fromkeys(group, TensorScale(amax=amax, method=f"cache {name}")))
        else:
            lacking += group
    if not tensors:
        some = ", ".join(matched.unknown[:3])
        raise CalibrationError(
            f"{name}: not one of its tensors is in this model; it has {some} ..., the model has "
            f"{', '.join(matched.missing[:3])} ...",
            hint="a cache belongs to the ONNX file that it was made for; names must be the same",
        )
    kept_float = {
        layer.name: f"the cache has no scale for {layer.input!r}"
        for layer in plan.layers
        if layer.input in lacking
    }
    log = [f"{len(tensors)} of {len(tensors) + len(lacking)} tensors have a scale in {name}"]
    log += [f"no scale for {tensor!r}" for tensor in lacking]
    log += [f"not a tensor of this model: {tensor!r}" for tensor in matched.unknown]
    return Choice(
        scales=Scales(provenance=provenance, tensors=tensors, float_layers=kept_float),
        log=tuple(log),
        unmatched=matched.unknown,
        lacking=tuple(lacking),
    )


def relative_error(counts: npt.NDArray[np.int64], width: float, amax: float) -> float:
    """Give what rounding and clipping to int8 do to a tensor, from its histogram.

    Args:
        counts: Counts of magnitudes, shape ``(N,)``.
        width: Width of a bin.
        amax: Largest magnitude that is kept.

    Returns:
        Root mean square of the error over that of the values; 0 is exact, 1 loses everything.

    Examples:
        >>> counts = np.array([0, 0, 0, 1])  # one value in 3..4, and a step of 1
        >>> round(relative_error(counts, 1.0, 127.0), 4), round(relative_error(counts, 1.0, 1.75), 4)
        (0.0825, 0.5)
    """
    centres = (np.arange(len(counts)) + 0.5) * width
    clipped = np.maximum(centres - amax, 0.0)
    # A value that is kept is off by a uniform error of one step: variance step^2 / 12; zeros are exact.
    rounding = np.where((centres <= amax) & (np.arange(len(counts)) > 0), (amax / LEVELS) ** 2 / 12, 0.0)
    power = float(np.dot(counts, centres**2))
    return float(np.sqrt(np.dot(counts, clipped**2 + rounding) / power)) if power else 0.0


def group_counts(plan: QuantPlan, statistics: Statistics, group: str) -> tuple[npt.NDArray[np.int64], float]:
    """Give the histogram of the magnitudes of a group.

    Args:
        plan: Which tensors share a scale.
        statistics: What was collected.
        group: The group's first tensor.

    Returns:
        Counts and the width of a bin.
    """
    layer = next((layer for layer in plan.layers if layer.raw_output == group != layer.output), None)
    if layer is not None and layer.slope is not None:
        # In front of a LeakyRelu nothing was collected: its output tells.
        return magnitudes([statistics.histograms[layer.output]], slope=layer.slope)
    return magnitudes([statistics.histograms[name] for name in plan.sources[group]])
