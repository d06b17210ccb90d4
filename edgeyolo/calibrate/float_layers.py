"""Which few layers to leave in float: those that bring most agreement for their multiply-adds.

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

_RANKING_IMAGES = 16  # a layer's own effect is measured on these, the effect of all so far on every image
_RANKING_MACS = 1e12  # work that ranking may cost; a large network measures only its noisiest layers
ENOUGH = 0.005  # a layer that does not take this share off the error is not worth a float layer


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
    images: int = _RANKING_IMAGES,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LeftFloat:
    """Leave layers in float until the agreement is reached or the budget is spent.

    Candidates are layers, and the layers that read one tensor all together: only where every reader is float
    is the tensor not rounded at all.

    Args:
        plan: Of the model.
        scales: Chosen so far.
        simulate: Gives a simulator for other scales.
        noise: Layer name to the noise of its own output, which says what is worth measuring.
        target: Agreement wanted.
        budget: Multiply-adds that may be float, for one image.
        enough: Share of the error that a candidate must take off.
        images: A candidate's own effect is measured on so many.
        most: Measure only so many candidates, those with the noisiest outputs.
        progress: Called with candidates measured and candidates in all.

    Returns:
        The layers, fewest that do; the log tells the effect of each.
    """
    return _Chooser(plan, scales, simulate, noise, budget, progress).choose(target, enough, images, most)


class _Chooser:
    """What is left in float so far, and what that did."""

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
        self._left = LeftFloat()
        self._measured: list[tuple[Layer, ...]] = []  # beside those that are left in float already
        self._free = budget - sum(layer.macs for layer in plan.layers if layer.name in scales.float_layers)

    def choose(self, target: float, enough: float, images: int, most: int | None) -> LeftFloat:
        """Take the best candidates for their price, each proved on every image beside those before it."""
        left = self._left
        simulator = self._with(())
        everything = range(len(simulator.images))
        shares = simulator.shares(self._amax, everything)
        left.error, left.agreement = sum(shares), simulator.agreement(self._amax)
        if left.agreement >= target:
            return left
        queue = self._ranked(simulator, everything[:images], enough, self._candidates(images)[:most])
        while queue and left.agreement < target:
            _, layers = queue.pop(0)
            new = [layer for layer in layers if layer.name not in left.layers]
            macs = sum(layer.macs for layer in new)
            if not new or macs > self._free:
                continue
            simulator = self._with(new)
            tried = simulator.shares(self._amax, everything)
            worth = (left.error - sum(tried)) / max(left.error, 1e-12)
            if worth < enough or not better_on_both_halves(tried, shares):
                continue  # what it would bring alone, another has brought already
            if queue and worth / macs < queue[0][0] and layers not in self._measured:
                self._measured.append(layers)  # beside those before it, it brings less than the next may
                queue = sorted([*queue, (worth / macs, layers)], key=lambda entry: -entry[0])
                continue
            self._measured.clear()
            self._take(new, macs, sum(tried))
            shares, left.agreement = tried, simulator.agreement(self._amax)
        if left.layers:
            left.log.append(f"agreement with them {left.agreement:.3f}")
        return left

    def _take(self, layers: Sequence[Layer], macs: int, error: float) -> None:
        left = self._left
        names = " and ".join(layer.name for layer in layers)
        together = f"with {names}: " if len(layers) > 1 else ""
        reason = f"error at the outputs {left.error:.4f} to {error:.4f} for {macs / self._plan.macs:.2%} of "
        left.log.append(f"{names} {'stay' if together else 'stays'} float: {reason}the multiply-adds")
        left.layers.update({layer.name: f"{together}{reason}the multiply-adds" for layer in layers})
        left.error = error
        self._free -= macs

    def _ranked(
        self, simulator: Simulator, few: range, enough: float, candidates: Sequence[tuple[Layer, ...]]
    ) -> list[tuple[float, tuple[Layer, ...]]]:
        """Measure the error of the network in which a candidate alone is INT8; most for its price first.

        The other way round, what a candidate in float takes off the error of the INT8 network, is a small
        difference of two large errors: every rounding behind it falls out otherwise, which hides all but the
        worst layers.
        """
        base = sum(simulator.shares(self._amax, few))
        gains = []
        for done, layers in enumerate(candidates, 1):
            error = sum(self._alone(layers).shares(self._amax, few))
            gains.append((error / max(base, 1e-12), layers))
            if self._progress is not None:
                self._progress(done, len(candidates))
        worth = [
            (gain / sum(layer.macs for layer in layers), layers) for gain, layers in gains if gain >= enough
        ]
        return sorted(worth, key=lambda entry: -entry[0])

    def _candidates(self, images: int) -> list[tuple[Layer, ...]]:
        """Give what fits into the budget, noisiest first, as many as the work for ranking allows."""
        readers: dict[str, list[Layer]] = {}
        for layer in self._plan.layers:
            if layer.name not in self._scales.float_layers and layer.macs:
                readers.setdefault(layer.input, []).append(layer)
        every: list[tuple[Layer, ...]] = [(layer,) for group in readers.values() for layer in group]
        every += [tuple(group) for group in readers.values() if len(group) > 1]
        fitting = [layers for layers in every if sum(layer.macs for layer in layers) <= self._free]
        fitting.sort(key=lambda layers: -max(self._noise.get(layer.name, 0.0) for layer in layers))
        return fitting[: max(8, int(_RANKING_MACS / max(self._plan.macs * images, 1)))]

    def _alone(self, layers: Sequence[Layer]) -> Simulator:
        names = {layer.name: "" for layer in self._plan.layers if layer not in layers}
        return self._simulate(dataclasses.replace(self._scales, float_layers=names))

    def _with(self, layers: Sequence[Layer]) -> Simulator:
        names = {**self._scales.float_layers, **self._left.layers, **{layer.name: "" for layer in layers}}
        return self._simulate(dataclasses.replace(self._scales, float_layers=names))
