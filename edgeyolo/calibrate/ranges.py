"""What the histograms propose: a range for every group at once.

Owns also the groups that are 0 on every image, for which no histogram proposes anything. Refuses to run a
model (`edgeyolo.calibrate.simulate`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from edgeyolo.calibrate.amax import mse, mse_below, percentile
from edgeyolo.calibrate.choice import group_counts
from edgeyolo.errors import DeadTensorError

if TYPE_CHECKING:
    from edgeyolo.calibrate.collect import Statistics
    from edgeyolo.qdq import QuantPlan

__all__ = ["STARTS", "amax_in_front", "dead_groups", "float_for_dead", "uniform_amax"]

STARTS = ("percentile 99.9", "percentile 99.95", "percentile 99.99", "mse")
"""Methods that `uniform_amax` knows."""


def uniform_amax(
    plan: QuantPlan, statistics: Statistics, method: str, dead: Collection[str]
) -> dict[str, float]:
    """Choose the range of every group by one method.

    Args:
        plan: Of the model.
        statistics: What was collected.
        method: One of `STARTS`.
        dead: `dead_groups`: nothing reads them in INT8, but the graph needs a number.

    Returns:
        Group to amax.
    """
    found = {}
    for group in plan.groups:
        if group[0] in dead:
            found[group[0]] = 1.0
            continue
        counts, width = group_counts(plan, statistics, group[0])
        percent = method.removeprefix("percentile ")
        found[group[0]] = mse(counts, width) if method == "mse" else percentile(counts, width, float(percent))
    return found


def amax_in_front(plan: QuantPlan, statistics: Statistics, amax: Mapping[str, float]) -> dict[str, float]:
    """Choose how far below 0 to round in front of each LeakyRelu, by the error that is left behind it.

    Only ONNX Runtime rounds there, from this far below 0 up to what is kept behind the activation. Below 0
    the activation makes the errors small, so to clip there costs little, and the step is that of both sides.
    Measured, error at the outputs of yolo-fastest-1.1-xl on ONNX Runtime: 0.0165, and 0.0209 with the range
    that holds what a symmetric one would.

    Args:
        plan: Of the model.
        statistics: Collected from the model as it will be: equalised, where it is.
        amax: Group to amax.

    Returns:
        Group in front of a LeakyRelu to the largest magnitude below 0 that is kept; those are left out that
        have nothing below 0.
    """
    group_of = plan.group_of
    alone = {group[0] for group in plan.groups if len(group) == 1}
    found = {}
    for layer in plan.layers:
        if layer.slope and layer.raw_output in alone and layer.output in group_of:
            high = amax[group_of[layer.output]]
            low = mse_below(statistics.histograms[layer.output], high=high, slope=layer.slope)
            if low > 0:
                found[layer.raw_output] = low
    return found


def dead_groups(plan: QuantPlan, statistics: Statistics) -> set[str]:
    """Name the groups that are 0 on every image."""
    found = set()
    for group in plan.groups:
        counts, width = group_counts(plan, statistics, group[0])
        if width == 0 or not counts[1:].any():
            found.add(group[0])
    return found


def float_for_dead(plan: QuantPlan, dead: set[str], images: int, max_float_macs: float) -> dict[str, str]:
    """Leave the layers that read a dead group in float: no range is known that would hold what may come.

    Raises:
        DeadTensorError: They are more than the budget holds.
    """
    group_of = plan.group_of
    readers = [layer for layer in plan.layers if group_of.get(layer.input) in dead]
    if sum(layer.macs for layer in readers) > max_float_macs * plan.macs:
        raise DeadTensorError(
            f"tensor {readers[0].input!r} is 0 on all {images} images, and {len(readers)} layers behind it "
            f"are more than {max_float_macs:.0%} of the multiply-adds",
            hint="more varied pictures; or the weights are broken: edgeyolo evaluate the float model",
        )
    return {layer.name: f"its input {layer.input!r} is 0 on all {images} images" for layer in readers}
