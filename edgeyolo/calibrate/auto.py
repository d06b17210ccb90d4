"""``--method auto``: every step that may pay, each kept only where held-back images say that it does.

Owns the order of the steps and the decisions, and tells each of them. Refuses to do the steps' work
(`edgeyolo.calibrate.equalize`, `fitted`, `float_layers`, `learn` and `edgeyolo.qdq.offsets` do) and to
measure (`edgeyolo.calibrate.judge` does).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.calibrate.choice import Choice
from edgeyolo.calibrate.collect import Statistics, collect, taps_for
from edgeyolo.calibrate.equalize import channel_groups, equalizing_factors
from edgeyolo.calibrate.feed import Spread
from edgeyolo.calibrate.fitted import with_fitted_weights
from edgeyolo.calibrate.float_layers import ENOUGH, leave_float
from edgeyolo.calibrate.for_onnxruntime import keep_wide_layers_in_int8, with_ranges_in_front
from edgeyolo.calibrate.judge import Judge, PlannedModel
from edgeyolo.calibrate.learn import COST, learn_steps
from edgeyolo.calibrate.local import LocalModel
from edgeyolo.calibrate.looks import EachLook
from edgeyolo.calibrate.plain import learn_plain
from edgeyolo.calibrate.ranges import (
    STARTS,
    dead_groups,
    float_for_dead,
    uniform_amax,
)
from edgeyolo.calibrate.simulate import Simulator
from edgeyolo.qdq import GraphView
from edgeyolo.qdq.offsets import model_with_offsets, offset_floors
from edgeyolo.qdq.weights import model_with_weights
from edgeyolo.scales import LEVELS, Provenance, Scales, TensorScale

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

    Tensor = npt.NDArray[np.float32]

__all__ = ["AutoConfig", "choice_by_search"]

_LEARN_WORK = 6e12  # multiply-adds of learning ranges: a minute or two on two cores
# Multiply-adds that take as long as one value of an activation: a look took 240 ms with yolox_nano (0.52
# billion multiply-adds, 30 million values) and 213 ms with yolov3-tiny (2.8 billion, 15 million).
_VALUE = 90
_PASSES = 300  # images that learning looks at
_RATE = 0.03  # how far one step of it moves a range at first, relative
_PLAIN_PASSES = 200  # the same, for the ranges of a calibration cache
_LEAST_PASSES = 60
_ENOUGH_IMAGES = 64  # to see again what was seen on all of them
_ENOUGH_LOOKS, _MOST_TIMES = 256, 4  # at pictures that are too few to show the extremes
_AGAIN_MACS = 1e12  # work that looking again may cost
_FEW_IMAGES = 8  # where no more than a ranking is wanted
_BROKEN = 0.25  # a layer with this share of the whole error spoils every choice that is made beside it
_BROKEN_ROUNDS = 4
_BROKEN_MOST = 24  # layers looked at a round: what breaks a network is among its noisiest


def _no_progress(step: str, done: int, total: int) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """What `choice_by_search` aims at.

    Args:
        target_agreement: Agreement with the float model below which layers are left in float, 0..1.
        max_float_macs: Largest share of the multiply-adds that may stay float, 0..1.
        progress: Called with a step's name, what is done of it, and how much there is.
    """

    target_agreement: float = 0.95
    max_float_macs: float = 0.05
    progress: Callable[[str, int, int], None] = _no_progress


def choice_by_search(
    model: onnx.ModelProto,
    statistics: Statistics,
    batches: Iterable[Tensor],
    held_back: Sequence[Tensor],
    provenance: Provenance,
    config: AutoConfig,
) -> Choice:
    """Choose scales, equalisation, fitted weights and float layers by the error at the outputs.

    Args:
        model: The float model.
        statistics: Collected from `model`.
        batches: The calibration tensors, iterated several times.
        held_back: Tensors of one image each that decide; best not among `batches`.
        provenance: What the scales are made from.
        config: What to aim at.

    Returns:
        The choice; its log says what each step brought.

    Raises:
        DeadTensorError: The network's input is 0 on all images, or so much behind it that the float budget
            does not hold the layers that read it.
    """
    return _Search(model, statistics, batches, held_back, provenance, config).run()


class _Search:
    """The state that the steps hand on: the best scales so far, the graph that they are for, their error."""

    def __init__(
        self,
        model: onnx.ModelProto,
        statistics: Statistics,
        batches: Iterable[Tensor],
        held_back: Sequence[Tensor],
        provenance: Provenance,
        config: AutoConfig,
    ) -> None:
        self._statistics, self._batches, self._config = statistics, batches, config
        self._pictures, self._times = statistics.images, 1
        self._given = self._model = PlannedModel(model)
        self._judge = Judge(self._model, held_back, batches, statistics.images)
        self._log: list[str] = []
        self._applied: list[str] = []
        plan = self._model.plan
        self._dead = dead_groups(plan, statistics)
        float_layers = float_for_dead(plan, self._dead, statistics.images, config.max_float_macs)
        self._scales = self._first = Scales(provenance=provenance, tensors={}, float_layers=float_layers)
        self._best = float("inf")
        self._method = STARTS[0]

    def run(self) -> Choice:
        """Take the steps."""
        self._look_again()
        self._start(self._statistics, "as it is")
        plain = self._scales.tensors
        self._equalize()
        self._leave_broken()
        self._fit_weights()
        self._offset()
        self._leave_float()
        self._learn()
        if self._scales.channel_factors or self._scales.offsets:
            self._scales = dataclasses.replace(self._scales, plain=self._learn_plain(plain))
        self._choose_for_onnxruntime()
        return Choice(
            scales=self._scales,
            log=tuple(self._log),
            applied=tuple(self._applied),
            layer_errors=self._noise(self._judge.held_back),
            error_unit="noise over signal of the layer's output",
        )

    def _look_again(self) -> None:
        """See more extremes than a few pictures have: beyond those of a channel, INT8 clips."""
        affordable = int(_AGAIN_MACS / max(self._pictures * self._model.plan.macs, 1))
        self._times = max(1, min(_MOST_TIMES, _ENOUGH_LOOKS // self._pictures, affordable))
        if self._times > 1:
            self._statistics = self._collected("collecting, mirrored and enlarged")

    def _start(self, statistics: Statistics, words: str) -> None:
        """Begin with the best of the methods that treat all tensors alike."""
        plan = self._model.plan
        any_scales = self._scales_for(uniform_amax(plan, statistics, STARTS[0], self._dead), STARTS[0])
        simulator = self._judge.simulator(self._model, any_scales)
        found: dict[str, tuple[float, dict[str, float]]] = {}
        for done, method in enumerate(STARTS, 1):
            amax = uniform_amax(plan, statistics, method, self._dead)
            found[method] = simulator.error(amax), amax
            self._config.progress(f"methods, {words}", done, len(STARTS))
        method = min(found, key=lambda name: found[name][0])
        self._best, amax = found[method]
        self._method = method
        self._scales = self._scales_for(amax, method)
        tried = ", ".join(f"{name} {error:.4f}" for name, (error, _) in found.items())
        self._log.append(f"the network {words}: error {tried}; {method} is the start")

    def _equalize(self) -> None:
        groups = channel_groups(self._model.view, self._model.plan)
        if not groups:
            self._log.append("equalisation: no tensor between layers allows it")
            return
        before, error = self._scales, self._best
        factors = equalizing_factors(self._model.view, groups, self._statistics.channel_amax)
        self._scales = dataclasses.replace(before, channel_factors=factors)
        statistics = self._collected("collecting, equalised")
        self._start(statistics, "equalised")
        if self._best < error:
            self._statistics = statistics
            self._applied.append(f"equalisation of {len(groups)} channel groups")
            self._log.append(f"equalisation of {len(groups)} channel groups: {error:.4f} to {self._best:.4f}")
        else:
            self._log.append(f"equalisation: {error:.4f} to {self._best:.4f}, not kept")
            self._scales, self._best = before, error

    def _collected(self, step: str, most: int | None = None) -> Statistics:
        """Look at the activations of the model, equalised where it is, on so many images at most."""
        model = model_with_weights(self._model.view, self._model.plan, self._scales)
        every = max(1, self._pictures // (most or self._pictures))
        total = len(range(0, self._pictures, every)) * self._times
        return collect(
            model,
            taps_for(GraphView(model), self._model.plan),
            EachLook(Spread(self._batches, every), self._times),
            progress=lambda done: self._config.progress(step, done, total),
        )

    def _leave_broken(self) -> None:
        """Leave in float what alone spoils the network, before scales are chosen beside it."""
        for _ in range(_BROKEN_ROUNDS):
            if not self._leave(enough=_BROKEN, most=_BROKEN_MOST):
                return
            self._start(self._statistics, "with them in float")

    def _offset(self) -> None:
        """Round what an activation never makes small around the middle of its range."""
        floors = offset_floors(self._model.view, self._model.plan)
        if not floors:
            return
        before = self._model, self._scales
        amax, error = self._chosen(), self._best
        offsets = {name: float(f"{(amax[name] + floor) / 2:.6g}") for name, floor in floors.items()}
        self._model = PlannedModel(model_with_offsets(self._model.model, offsets))
        self._scales = dataclasses.replace(self._scales, offsets=offsets)
        amax |= {name: amax[name] - offset for name, offset in offsets.items()}
        self._scales = self._scales_for(amax, self._method)
        self._scales = self._fitted()
        self._best = self._judge.error(self._model, self._scales)
        what = f"{len(offsets)} tensors rounded around the middle of their range, weights fitted to that: "
        what += f"{error:.4f} to {self._best:.4f}"
        if self._best < error:
            self._log.append(what)
            self._applied.append(f"offsets of {len(offsets)} tensors")
        else:
            self._log.append(f"{what}, not kept")
            self._model, self._scales = before
            self._best = error

    def _fit_weights(self) -> None:
        """Fit every layer's weights and bias to the scale that its input has now."""
        tried = self._fitted()
        error = self._judge.error(self._model, tried)
        if error < self._best:
            count = len(tried.weight_steps)
            self._log.append(f"weights of {count} layers fitted: {self._best:.4f} to {error:.4f}")
            self._applied.append(f"fitted weights in {count} layers")
            self._scales, self._best = tried, error
        else:
            self._log.append(f"fitted weights: {self._best:.4f} to {error:.4f}, not kept")

    def _fitted(self) -> Scales:
        return with_fitted_weights(
            self._model.view,
            self._model.plan,
            self._scales,
            self._batches,
            self._pictures,
            progress=lambda done, total: self._config.progress("fitting weights", done, total),
        )

    def _learn(self) -> None:
        """Learn the range of every tensor, and of every channel that may have one of its own; fit to them."""
        passes = self._passes(_PASSES)
        if not passes:
            giga, mega = self._model.plan.macs / 1e9, self._model.activation_values / 1e6
            words = f"{giga:.1f} billion multiply-adds and {mega:.0f} million values of activations"
            self._log.append(f"ranges are not learnt: {words} are too many")
            return
        before, error = self._scales, self._best
        groups = channel_groups(self._model.view, self._model.plan)
        self._scales = dataclasses.replace(before, weight_steps={}, weight_amax={}, bias_shift={})
        learnt = learn_steps(
            self._model.view,
            self._model.plan,
            self._scales,
            self._spread(passes),
            self._judge.deviation,
            passes=passes,
            rate=_RATE,
            channels=groups,
            progress=lambda done, total: self._config.progress("learning ranges", done, total),
        )
        if learnt.stopped:
            self._log.append(f"no gradient passes {', '.join(learnt.stopped)}")
        if not learnt.amax:
            self._log.append("ranges are not learnt: no gradient reaches any")
            self._scales = before
            return
        amax, statistics = self._chosen(), self._statistics
        if groups:
            # What no gradient reaches, the inputs of activations among it, changes with its channels.
            self._scales = dataclasses.replace(self._scales, channel_factors=learnt.factors)
            statistics = self._collected("collecting, as learnt", _ENOUGH_IMAGES)
            amax = uniform_amax(self._model.plan, statistics, self._method, self._dead)
        self._scales = self._scales_for({**amax, **learnt.amax}, "learnt", moved=set(learnt.amax))
        self._scales = self._fitted()
        self._best = self._judge.error(self._model, self._scales)
        what = f"{len(learnt.amax)} ranges" + (f" and {len(groups)} groups of channels" if groups else "")
        what += f" learnt in {passes} looks, weights fitted to them: {error:.4f} to {self._best:.4f}"
        if self._best < error:
            self._statistics = statistics
            self._log.append(what)
            self._applied.append("learnt ranges" + (f" of {len(groups)} channel groups" if groups else ""))
        else:
            self._log.append(f"{what}, not kept")
            self._scales, self._best = before, error

    def _learn_plain(self, plain: Mapping[str, TensorScale]) -> Mapping[str, TensorScale]:
        """Learn ranges for the network as it is: they are all that a calibration cache can say."""
        passes = self._passes(_PLAIN_PASSES)
        if not passes:
            return plain
        tensors, line = learn_plain(
            self._given,
            dataclasses.replace(self._first, tensors=plain),
            self._spread(passes),
            self._judge,
            passes=passes,
            rate=_RATE,
            progress=lambda done, total: self._config.progress("learning ranges of the cache", done, total),
        )
        self._log.append(line)
        return tensors

    def _choose_for_onnxruntime(self) -> None:
        """Choose what only ONNX Runtime reads, last, since it goes by all the rest."""
        self._scales = with_ranges_in_front(self._model.plan, self._statistics, self._scales)
        chosen, log = keep_wide_layers_in_int8(
            self._given,
            self._scales,
            lambda scales: self._judge.error_on_onnxruntime(self._given, scales),
            budget=int(self._config.max_float_macs * self._model.plan.macs),
            dead=self._dead,
        )
        self._scales = dataclasses.replace(self._scales, int8_on_onnxruntime=chosen)
        self._log += log

    def _passes(self, wanted: int) -> int:
        """Give the images that there is time to learn from; 0 where they are too few to be of use."""
        look = COST * (self._model.plan.macs + _VALUE * self._model.activation_values)
        passes = min(wanted, int(_LEARN_WORK / max(look, 1)))
        return passes if passes >= _LEAST_PASSES else 0

    def _spread(self, passes: int) -> Spread:
        return Spread(self._batches, max(1, self._pictures // passes))

    def _leave_float(self) -> None:
        """Spend what is left of the float budget."""
        agreement = self._on_others(self._scales).agreement(self._chosen())
        wanted = self._config.target_agreement
        self._log.append(f"agreement with FP32 {agreement:.3f}, {wanted:g} wanted")
        self._leave(enough=ENOUGH)

    def _leave(self, *, enough: float, **options: int) -> bool:
        """Leave layers in float within the budget; tell whether any were."""
        left = leave_float(
            self._model.plan,
            self._scales,
            self._on_others,
            self._noise(self._judge.others[:_FEW_IMAGES]),
            target=self._config.target_agreement,
            budget=int(self._config.max_float_macs * self._model.plan.macs),
            enough=enough,
            progress=lambda done, total: self._config.progress("float layers", done, total),
            **options,
        )
        self._scales = dataclasses.replace(
            self._scales, float_layers={**self._scales.float_layers, **left.layers}
        )
        self._log += left.log
        if left.layers:
            self._best = self._judge.error(self._model, self._scales)
            self._log.append(f"error with them on the images held back {self._best:.4f}")
        return bool(left.layers)

    def _noise(self, images: Sequence[Tensor]) -> dict[str, float]:
        """Measure the noise of every layer's own output, over its signal."""
        scales = {group: amax / LEVELS for group, amax in self._chosen().items()}
        errors = LocalModel(self._model.view, self._model.plan, self._scales).errors(images, scales)
        return {name: error.relative for name, error in errors.items()}

    def _on_others(self, scales: Scales) -> Simulator:
        return self._judge.on_others(self._model, scales)

    def _chosen(self) -> dict[str, float]:
        return {group[0]: self._scales.tensors[group[0]].amax for group in self._model.plan.groups}

    def _scales_for(self, amax: Mapping[str, float], method: str, *, moved: set[str] | None = None) -> Scales:
        tensors = {}
        for group in self._model.plan.groups:
            old = self._scales.tensors.get(group[0])
            words = method if moved is None or group[0] in moved or old is None else old.method
            value = TensorScale(amax=amax[group[0]], method=words)
            tensors.update(dict.fromkeys(group, value))
        return dataclasses.replace(self._scales, tensors=tensors)
