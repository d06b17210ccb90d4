"""Which few layers to leave in float: those whose rounding costs most for their multiply-adds.

Owns the ranking, the budget and the words for each layer left. Refuses to go beyond the budget.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeyolo.calibrate.simulate import better_on_both_halves
from edgeyolo.qdq.plan import Layer, QuantPlan
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    from edgeyolo.calibrate.simulate import Simulator

__all__ = ["ENOUGH", "LeftFloat", "leave_float"]

_RANKING_IMAGES = range(4, 17)  # what a layer does alone is measured on so many, fewer in a large network
_RANKING_MACS = 1.5e12  # work that ranking may cost; a large network measures only its noisiest layers
_LEAST_LAYERS = 8  # measured all the same
ENOUGH = 0.002  # a layer that alone makes less than this share of the error is not worth a float layer


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


def leave_float(  # noqa: PLR0913 - options, keyword-only, each with a meaning of its own
    plan: QuantPlan,
    scales: Scales,
    simulate: Callable[[Scales], Simulator],
    noise: Mapping[str, float],
    *,
    target: float,
    budget: int,
    enough: float = ENOUGH,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LeftFloat:
    """Leave layers in float until the agreement is reached or the budget is spent.

    Args:
        plan: Of the model.
        scales: Chosen so far.
        simulate: Gives a simulator for other scales.
        noise: Layer name to the noise of its own output, which says what is worth measuring.
        target: Agreement wanted.
        budget: Multiply-adds that may be float, for one image.
        enough: Share of the error that a layer must make alone.
        most: Measure only so many layers, those with the noisiest outputs.
        progress: Called with layers measured and layers in all.

    Returns:
        The layers, fewest that do; the log tells the effect of each.
    """
    return _Chooser(plan, scales, simulate, noise, budget, progress).choose(target, enough, most)


@dataclass(frozen=True)
class _Candidate:
    """A layer, and the error of the network in which it alone is INT8."""

    layer: Layer
    error: float

    @property
    def price(self) -> float:
        return self.error / self.layer.macs


class _Chooser:
    """Measures layers, takes the dearest, and proves what it took."""

    def __init__(
        self,
        plan: QuantPlan,
        scales: Scales,
        simulate: Callable[[Scales], Simulator],
        noise: Mapping[str, float],
        budget: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._plan, self._scales, self._simulate, self._noise = plan, scales, simulate, noise
        self._amax = {group[0]: scales.tensors[group[0]].amax for group in plan.groups}
        self._progress = progress
        self._free = budget - sum(layer.macs for layer in plan.layers if layer.name in scales.float_layers)

    def choose(self, target: float, enough: float, most: int | None) -> LeftFloat:
        """Take the layers that cost most for their price, and prove them on every image."""
        simulator = self._with(())
        shares = self._shares(simulator)
        left = LeftFloat(error=sum(shares), agreement=simulator.agreement(self._amax))
        if left.agreement >= target:
            return left
        taken = self._affordable(self._ranked(enough * left.error, most))
        while taken:
            simulator = self._with(taken)
            tried = self._shares(simulator)
            if better_on_both_halves(tried, shares):
                taken, simulator = self._fewest(taken, simulator, target)
                return self._told(taken, left, simulator)
            taken = taken[: len(taken) // 2]
        return left

    def _ranked(self, least: float, most: int | None) -> list[_Candidate]:
        """Measure the error of the network in which a layer alone is INT8; most for its price first.

        The other way round, what a layer in float takes off the error of the INT8 network, is a small
        difference of two large errors: every rounding behind it falls out otherwise, which hides all but the
        worst layers.
        """
        layers, images = self._worth_measuring(most)
        found = []
        for done, layer in enumerate(layers, 1):
            names = {other.name: "" for other in self._plan.layers if other is not layer}
            simulator = self._simulate(dataclasses.replace(self._scales, float_layers=names))
            few = range(min(images, len(simulator.images)))
            error = sum(simulator.shares(self._amax, few)) * len(simulator.images) / len(few)
            found.append(_Candidate(layer, error))
            if self._progress is not None:
                self._progress(done, len(layers))
        return sorted((each for each in found if each.error > least), key=lambda each: -each.price)

    def _worth_measuring(self, most: int | None) -> tuple[list[Layer], int]:
        """Give what fits into the budget, noisiest first, and the images that there is time for."""
        layers = [
            layer
            for layer in self._plan.layers
            if layer.name not in self._scales.float_layers and 0 < layer.macs <= self._free
        ]
        layers.sort(key=lambda layer: -self._noise.get(layer.name, 0.0))
        passes = int(_RANKING_MACS / max(self._plan.macs, 1))
        layers = layers[:most][: max(_LEAST_LAYERS, passes // _RANKING_IMAGES[0])]
        images = 0 if most else passes // max(len(layers), 1)  # the worst show themselves on few
        return layers, max(_RANKING_IMAGES[0], min(_RANKING_IMAGES[-1], images))

    def _affordable(self, ranked: Sequence[_Candidate]) -> list[_Candidate]:
        taken, free = [], self._free
        for candidate in ranked:
            if candidate.layer.macs <= free:
                taken.append(candidate)
                free -= candidate.layer.macs
        return taken

    def _fewest(
        self, taken: list[_Candidate], simulator: Simulator, target: float
    ) -> tuple[list[_Candidate], Simulator]:
        """Give back what is not needed for the agreement wanted, if it is reached at all."""
        if simulator.agreement(self._amax) < target:
            return taken, simulator
        too_few, enough = 0, len(taken)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            tried = self._with(taken[:middle])
            if tried.agreement(self._amax) >= target:
                enough, simulator = middle, tried
            else:
                too_few = middle
        return taken[:enough], simulator

    def _told(self, taken: Sequence[_Candidate], before: LeftFloat, simulator: Simulator) -> LeftFloat:
        left = LeftFloat(error=sum(self._shares(simulator)), agreement=simulator.agreement(self._amax))
        for candidate in taken:
            share = candidate.layer.macs / self._plan.macs
            reason = f"alone in INT8 it makes an error of {candidate.error:.4f}, for {share:.2%} of the "
            left.layers[candidate.layer.name] = f"{reason}multiply-adds"
            left.log.append(f"{candidate.layer.name} stays float: {reason}multiply-adds")
        share = sum(candidate.layer.macs for candidate in taken) / self._plan.macs
        left.log.append(
            f"{len(taken)} layer{'s' * (len(taken) > 1)} in float, {share:.2%} of the multiply-adds: "
            f"error {before.error:.4f} to {left.error:.4f}, "
            f"agreement {before.agreement:.3f} to {left.agreement:.3f}"
        )
        return left

    def _shares(self, simulator: Simulator) -> list[float]:
        return simulator.shares(self._amax, range(len(simulator.images)))

    def _with(self, taken: Sequence[_Candidate]) -> Simulator:
        names = {**self._scales.float_layers, **{candidate.layer.name: "" for candidate in taken}}
        return self._simulate(dataclasses.replace(self._scales, float_layers=names))
