"""Which few layers to leave in float: those that bring most agreement for their multiply-adds.

Owns the ranking, the budget and the words for each layer left. Refuses to go beyond the budget.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeyolo.qdq.plan import Layer, QuantPlan
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    from edgeyolo.calibrate.search import Simulator

__all__ = ["LeftFloat", "leave_float"]

_RANKING_IMAGES = 12  # a layer's own effect is measured on these, the effect of all so far on every image
_RANKING_MACS = 1e12  # work that ranking may cost; a large network measures only its noisiest layers
_ENOUGH = 0.005  # a layer that does not take this share off the error is not worth a float layer


@dataclass
class LeftFloat:
    """What was left in float.

    Args:
        layers: Layer name to the reason.
        log: What was measured and decided.
        error: Error at the outputs with these layers in float.
        agreement: Agreement with them.
    """

    layers: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    error: float = 0.0
    agreement: float = 0.0


def leave_float(
    plan: QuantPlan,
    scales: Scales,
    simulate: Callable[[Scales], Simulator],
    noise: Mapping[str, float],
    *,
    target: float,
    budget: int,
) -> LeftFloat:
    """Leave layers in float until the agreement is reached or the budget is spent.

    Args:
        plan: Of the model.
        scales: Chosen so far.
        simulate: Gives a simulator for other scales.
        noise: Layer name to the noise of its own output, which says what is worth measuring.
        target: Agreement wanted.
        budget: Multiply-adds that may be float, for one image.

    Returns:
        The layers, fewest that do; the log tells the effect of each.
    """
    chosen = {group[0]: scales.tensors[group[0]].amax for group in plan.groups}

    def measure(names: Mapping[str, str]) -> tuple[float, Simulator]:
        tried = dataclasses.replace(scales, float_layers={**scales.float_layers, **names})
        simulator = simulate(tried)
        return sum(simulator.shares(chosen, range(len(simulator.images)))), simulator

    spent = sum(layer.macs for layer in plan.layers if layer.name in scales.float_layers)
    left = LeftFloat()
    left.error, simulator = measure({})
    left.agreement = simulator.agreement(chosen)
    fitting = [
        layer
        for layer in plan.layers
        if layer.name not in scales.float_layers and 0 < layer.macs <= budget - spent
    ]
    fitting.sort(key=lambda layer: -noise.get(layer.name, 0.0))
    few = range(min(_RANKING_IMAGES, len(simulator.images)))
    base = sum(simulator.shares(chosen, few))
    gains: list[tuple[float, Layer]] = []
    for layer in fitting[: _affordable(plan, len(few))]:
        tried = dataclasses.replace(scales, float_layers={**scales.float_layers, layer.name: ""})
        gains.append((base - sum(simulate(tried).shares(chosen, few)), layer))
    gains.sort(key=lambda entry: -entry[0] / entry[1].macs)
    for gain, layer in gains:
        if left.agreement >= target:
            break
        if gain < _ENOUGH * base or spent + layer.macs > budget:
            continue
        error, simulator = measure({**left.layers, layer.name: ""})
        if error >= left.error:
            continue
        share = layer.macs / plan.macs
        reason = f"error at the outputs {left.error:.4f} to {error:.4f} for {share:.2%} of the multiply-adds"
        left.layers[layer.name] = reason
        left.log.append(f"{layer.name} stays float: {reason}")
        left.error, spent = error, spent + layer.macs
        left.agreement = simulator.agreement(chosen)
    if left.layers:
        left.log.append(f"agreement with them {left.agreement:.3f}")
    return left


def _affordable(plan: QuantPlan, images: int) -> int:
    return max(8, int(_RANKING_MACS / max(plan.macs * images, 1)))
