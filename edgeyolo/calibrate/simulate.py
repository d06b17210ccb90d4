"""What scales do at the network's outputs: one session, in which they are inputs, serves any of them.

Owns that session and the rule for when a change is worth keeping. Refuses to propose scales
(`edgeyolo.calibrate.ranges` and `learn` do).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.calibrate.sessions import run_side_by_side, session_for
from edgeyolo.optional import require
from edgeyolo.qdq.insert import scale_name
from edgeyolo.scales import LEVELS

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Tensor = npt.NDArray[np.float32]

__all__ = ["Simulator", "better_on_both_halves", "float_outputs"]


class Simulator:
    """An INT8 model whose activation scales are inputs.

    Args:
        int8: A Q/DQ model of `edgeyolo.qdq.int8_model`, target ``tensorrt``.
        groups: Names of the groups of its plan.
        images: Held-back input tensors of one image each.
        error: Compares with the float model's outputs on those images.
    """

    def __init__(
        self, int8: onnx.ModelProto, groups: Iterable[str], images: Sequence[Tensor], error: OutputDeviation
    ) -> None:
        model, self._inputs = _scales_as_inputs(int8, groups)
        self.images = images
        self._error = error
        self._session, self._workers = session_for(model)
        self._outputs = [value.name for value in int8.graph.output]

    def shares(self, amax: Mapping[str, float], images: range) -> list[float]:
        """Give the error's share of some of the images."""
        outputs = self.outputs(amax, images)
        return [self._error.of(index, found) for index, found in zip(images, outputs, strict=True)]

    def error(self, amax: Mapping[str, float]) -> float:
        """Give the error on all images."""
        return sum(self.shares(amax, range(len(self.images))))

    def outputs(self, amax: Mapping[str, float], images: range) -> Iterable[list[Tensor]]:
        """Give the outputs for some of the images."""
        fixed = {name: np.asarray(amax[group] / LEVELS, np.float32) for name, group in self._inputs.items()}
        batches = (self.images[index] for index in images)
        for found, _ in run_side_by_side(self._session, self._outputs, batches, self._workers, fixed=fixed):
            yield found

    def agreement(self, amax: Mapping[str, float]) -> float:
        """Give the agreement with the float model on all images, 0..1."""
        return self._error.agreement(list(self.outputs(amax, range(len(self.images)))))


def float_outputs(model: onnx.ModelProto, images: Iterable[Tensor]) -> list[list[Tensor]]:
    """Run the float model over the held-back images."""
    session, workers = session_for(model.SerializeToString())
    names = [value.name for value in model.graph.output]
    return [outputs for outputs, _ in run_side_by_side(session, names, images, workers)]


def better_on_both_halves(tried: Sequence[float], best: Sequence[float]) -> bool:
    """Tell whether the error is less on either half of the images.

    Every change moves the rounding of everything behind it, which is luck; luck seldom has both halves.
    """
    half = len(best) // 2
    return sum(tried[half:]) < sum(best[half:]) and (not half or sum(tried[:half]) < sum(best[:half]))


def _scales_as_inputs(int8: onnx.ModelProto, groups: Iterable[str]) -> tuple[bytes, dict[str, str]]:
    """Turn the scales' initializers into inputs; give the model and, by input, the group."""
    onnx = require("onnx", why="to search for scales")
    model: Any = onnx.ModelProto()
    model.CopyFrom(int8)
    wanted = {scale_name(group): group for group in groups}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in wanted]
    found = [tensor.name for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.extend(onnx.helper.make_tensor_value_info(name, 1, []) for name in found)
    return bytes(model.SerializeToString()), {name: wanted[name] for name in found}
