"""Learn the steps of all tensors together, by the gradient of the error at the network's outputs.

A histogram knows what rounding and clipping do to a tensor; what that does to the boxes only the rest of the
network knows. Where channels may be scaled (`edgeyolo.calibrate.equalize`) every channel learns a step of its
own, which is the tensor's step times an equalisation factor. The truth is the float model: no labels.

So many numbers overfit a few dozen pictures: each is looked at in several ways (`edgeyolo.calibrate.looks`).

Owns the parameters and their descent. Refuses to differentiate (`edgeyolo.calibrate.gradient`) and to judge
whether the result pays (`edgeyolo.calibrate.auto`).

Source:
    Kingma and Ba, "Adam", 2014 (arXiv 1412.6980), for the descent. Loshchilov and Hutter, "Decoupled Weight
    Decay Regularization", 2017 (arXiv 1711.05101), for what draws channels back to where they were.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.calibrate.equalize import ChannelGroup
from edgeyolo.calibrate.gradient import cotangent_name, differentiable, gradient_name
from edgeyolo.calibrate.looks import endless_looks
from edgeyolo.calibrate.sessions import session_for
from edgeyolo.optional import require
from edgeyolo.qdq import GraphView, QuantPlan, int8_model
from edgeyolo.scales import LEVELS, Scales

if TYPE_CHECKING:
    import numpy.typing as npt

    Tensor = npt.NDArray[np.float32]
    Array = npt.NDArray[np.float64]

__all__ = ["COST", "Learnt", "learn_steps"]

COST = 4  # forward passes that an image costs: float, INT8, and the way back
_AHEAD = 2  # images looked at beside each other, the later one by steps that are one move old
_MEAN, _POWER = 0.9, 0.99  # Adam's memories; the second is short because there are a few hundred moves in all
_TINY = 1e-12
_DECAY = 0.02  # share of a channel's factor that a step takes back, or few pictures are overfitted


@dataclass(frozen=True)
class Learnt:
    """What was learnt.

    Args:
        amax: Group of the plan to its amax; empty where no gradient reaches any.
        factors: Tensor to the equalisation factors of its channels, those that it had included.
        stopped: Operators that the gradient did not pass.
    """

    amax: Mapping[str, float]
    factors: Mapping[str, tuple[float, ...]]
    stopped: tuple[str, ...]


def learn_steps(  # noqa: PLR0913 - keyword-only, each with a meaning of its own
    view: GraphView,
    plan: QuantPlan,
    scales: Scales,
    batches: Iterable[Tensor],
    error: OutputDeviation,
    *,
    passes: int,
    rate: float,
    channels: Sequence[ChannelGroup],
    progress: Callable[[int, int], None],
) -> Learnt:
    """Learn steps from where `scales` have them, beside float weights, which are to be fitted to them.

    Args:
        view: Of the float model.
        plan: Of that model.
        scales: For it.
        batches: Calibration tensors of one image each, as many different ones as there are; repeated.
        error: What becomes less.
        passes: Images to look at in all.
        rate: How far a step of the descent moves the logarithm of a step, at the beginning.
        channels: Groups whose channels learn a step each.
        progress: Called with images done and images in all.

    Returns:
        The steps, as ranges and equalisation factors.
    """
    int8 = int8_model(view.model, scales, "tensorrt", plan=plan)
    network = _Network(view, int8, error)
    if not network.reached:
        return Learnt({}, scales.channel_factors, network.stopped)
    steps = _Steps(plan, scales, network.channels, channels)
    descent = _Adam(steps.values, rate, steps.of_channels)
    pending: deque[Future[dict[str, Array]]] = deque()

    def move(done: int) -> None:
        descent.move(steps.gradient(pending.popleft().result()), left=1 - done / passes)
        progress(done + 1, passes)

    with ThreadPoolExecutor(_AHEAD) as pool:
        # One move an image: averaging four of them took twice the images to the same error. How many are
        # under way is the same on every machine, or what is learnt would depend on its cores.
        for begun, image in enumerate(itertools.islice(endless_looks(batches), passes), 1):
            pending.append(pool.submit(network.gradients, image, steps.of_tensors()))
            if len(pending) == _AHEAD:
                move(begun - _AHEAD)
        while pending:
            move(passes - len(pending))
    return Learnt(steps.amax(), steps.factors(), network.stopped)


class _Network:
    """Float and INT8 model side by side, and the way back through the INT8 one."""

    def __init__(self, view: GraphView, int8: Any, error: OutputDeviation) -> None:
        shapes = {name: shape for name, shape in view.shapes.items() if min(shape, default=1) > 0}
        graph = differentiable(int8, shapes)
        self.channels, self.stopped = graph.channels, graph.stopped
        self._inputs = graph.steps
        self._error = error
        self._outputs = list(view.outputs)
        self._saved = graph.saved
        self.reached = graph.reached
        if not graph.reached:
            return
        self._float, _ = session_for(view.model.SerializeToString(), workers=_AHEAD)
        self._forward, _ = session_for(graph.forward, workers=_AHEAD)
        self._backward, _ = session_for(graph.backward, workers=_AHEAD)
        self._read = {value.name for value in self._backward.get_inputs()}
        self._ort = require("onnxruntime", why="to learn ranges")

    def gradients(self, image: Tensor, steps: Mapping[str, Array]) -> dict[str, Array]:
        """Give the derivatives of an image's error by the logarithm of each step."""
        name = self._float.get_inputs()[0].name
        known = self._float.run(self._outputs, {name: image})
        given = {self._inputs[name]: np.asarray(values, np.float32) for name, values in steps.items()}
        # What goes from one session to the next stays ONNX Runtime's: it is most of the network's memory.
        own = {name: self._value(array) for name, array in [(name, image), *given.items()]}
        names = list(dict.fromkeys([*self._outputs, *self._saved]))
        made = dict(zip(names, self._forward.run_with_ort_values(names, own), strict=True))
        outputs = [made[name].numpy() for name in self._outputs]
        for name, by in zip(self._outputs, self._error.gradient(known, outputs), strict=True):
            own[cotangent_name(name)] = self._value(by)
        own = {name: value for name, value in (own | made).items() if name in self._read}
        wanted = [gradient_name(name) for name in self.reached]
        found = [value.numpy() for value in self._backward.run_with_ort_values(wanted, own)]
        return {name: np.nan_to_num(np.float64(each)) for name, each in zip(self.reached, found, strict=True)}

    def _value(self, array: npt.NDArray[np.float32]) -> Any:
        return self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


class _Steps:
    """The logarithms of the steps: one number a group of the plan, one a channel of an equalised group."""

    def __init__(
        self,
        plan: QuantPlan,
        scales: Scales,
        tensors: Mapping[str, int],
        channels: Sequence[ChannelGroup],
    ) -> None:
        self._scales, self._tensors = scales, tensors
        self._group_of = {name: plan.group_of[name] for name in tensors}
        self._own = {name: index for index, group in enumerate(channels) for name in group.tensors}
        self._groups = channels
        self.values: dict[str | int, Array] = {
            group: np.array([np.log(scales.tensors[group].scale)]) for group in self._group_of.values()
        }
        self.of_channels: dict[str | int, Array] = {
            self._own[name]: np.zeros(n) for name, n in tensors.items() if name in self._own
        }
        self.values |= self.of_channels

    def of_tensors(self) -> dict[str, Array]:
        """Give the steps of every tensor, one a channel."""
        found = {}
        for name, count in self._tensors.items():
            whole = np.repeat(self.values[self._group_of[name]], count)
            found[name] = np.exp(whole + self.values[self._own[name]] if name in self._own else whole)
        return found

    def gradient(self, of_tensors: Mapping[str, Array]) -> dict[str | int, Array]:
        """Gather what the tensors say of each parameter."""
        found = {name: np.zeros_like(value) for name, value in self.values.items()}
        for name, gradient in of_tensors.items():
            found[self._group_of[name]] += gradient.sum()
            if name in self._own:
                found[self._own[name]] += gradient
        return found

    def amax(self) -> dict[str, float]:
        """Give the range of every group, its channels' mean included."""
        found = {}
        for name, group in self._group_of.items():
            mean = self.values[self._own[name]].mean() if name in self._own else 0.0
            found[group] = float(np.exp(self.values[group][0] + mean) * LEVELS)
        return found

    def factors(self) -> dict[str, tuple[float, ...]]:
        """Give the equalisation factors of every tensor that has some."""
        found = dict(self._scales.channel_factors)
        for index, group in enumerate(self._groups):
            if index not in self.values:
                continue
            learnt = np.exp(self.values[index] - self.values[index].mean())
            for name in group.tensors:
                both = learnt * np.asarray(self._scales.channel_factors.get(name, 1.0))
                found[name] = tuple(float(f"{value:.6g}") for value in both)
        return found


class _Adam:
    """Adam, its rate falling to 0 along half a cosine; some of the values decay towards 0."""

    def __init__(
        self, values: dict[str | int, Array], rate: float, decaying: Mapping[str | int, Array]
    ) -> None:
        self._values, self._rate, self._decaying = values, rate, decaying
        self._mean = {name: np.zeros_like(value) for name, value in values.items()}
        self._power = {name: np.zeros_like(value) for name, value in values.items()}
        self._moves = 0

    def move(self, gradients: Mapping[str | int, Array], *, left: float) -> None:
        """Move every value, `left` of the way still to go (1 at the beginning)."""
        self._moves += 1
        share = 0.5 * (1 - np.cos(np.pi * left))
        for value in self._decaying.values():
            value *= 1 - share * _DECAY
        for name, gradient in gradients.items():
            self._mean[name] = _MEAN * self._mean[name] + (1 - _MEAN) * gradient
            self._power[name] = _POWER * self._power[name] + (1 - _POWER) * gradient**2
            mean = self._mean[name] / (1 - _MEAN**self._moves)
            power = self._power[name] / (1 - _POWER**self._moves)
            self._values[name] -= self._rate * share * mean / (np.sqrt(power) + _TINY)
