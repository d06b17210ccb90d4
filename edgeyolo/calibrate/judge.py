"""Who judges a step of ``--method auto``: pictures held back from it, looked at more than once.

Owns which pictures judge what, and the float model's outputs for them. Refuses to decide
(`edgeyolo.calibrate.auto` does).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.calibrate.feed import Spread
from edgeyolo.calibrate.looks import Looks
from edgeyolo.calibrate.simulate import Simulator, float_outputs
from edgeyolo.qdq import GraphView, int8_model, quant_plan
from edgeyolo.qdq.placement import Target
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

    Tensor = npt.NDArray[np.float32]

__all__ = ["Judge", "PlannedModel"]

_LOOKS = 64  # at the held-back images, as many of them as there are; by 16 alone a gain of a tenth is luck
_MACS = 1e11  # work of judging one step: a large network looks once at each


class PlannedModel:
    """A float model, looked through.

    Args:
        model: The model.

    Attributes:
        activation_values: Values of all activations of one picture, where their shapes are known.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.view = GraphView(model)
        self.plan = quant_plan(self.view)
        self.groups = [group[0] for group in self.plan.groups]
        shapes = [self.view.shapes.get(name, ()) for node in self.view.nodes for name in node.output]
        self.activation_values = sum(math.prod(shape) for shape in shapes if min(shape, default=0) > 0)

    def int8(self, scales: Scales, target: Target = "tensorrt") -> onnx.ModelProto:
        """Give the INT8 model; that of the search's target, where no other is wanted."""
        return int8_model(self.model, scales, target, plan=self.plan)


class Judge:
    """Held-back images and others, and what the float model says of them.

    Args:
        model: The float model.
        held_back: Images that judge the steps.
        batches: The calibration tensors.
        images: Their number.
    """

    def __init__(
        self, model: PlannedModel, held_back: Sequence[Tensor], batches: Iterable[Tensor], images: int
    ) -> None:
        self.held_back = list(held_back)
        self._looks = Looks(self.held_back, min(_LOOKS, int(_MACS / max(model.plan.macs, 1))))
        self.deviation = OutputDeviation(float_outputs(model.model, self._looks))
        # Float layers are chosen on other images than those that judge what follows: the choice of the best
        # of many flatters itself, and what is learnt would have to beat that.
        spread = Spread(batches, max(1, images // len(self.held_back)))
        self.others = list(itertools.islice(spread, len(self.held_back)))
        self._others_deviation = OutputDeviation(float_outputs(model.model, self.others))

    def simulator(self, model: PlannedModel, scales: Scales) -> Simulator:
        """Simulate scales on the images held back."""
        return Simulator(model.int8(scales), model.groups, self._looks, self.deviation)

    def error(self, model: PlannedModel, scales: Scales) -> float:
        """Give the error that scales make on the images held back."""
        amax = {group: scales.tensors[group].amax for group in model.groups}
        return self.simulator(model, scales).error(amax)

    def on_others(self, model: PlannedModel, scales: Scales) -> Simulator:
        """Simulate scales on images that were not held back."""
        return Simulator(model.int8(scales), model.groups, self.others, self._others_deviation)

    def error_on_onnxruntime(self, model: PlannedModel, scales: Scales) -> float:
        """Give the error of ONNX Runtime's graph on images that were not held back."""
        graph = model.int8(scales, "onnxruntime")
        return Simulator(graph, (), self.others, self._others_deviation).error({})
