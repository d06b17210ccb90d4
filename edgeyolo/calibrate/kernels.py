"""The float layers that ONNX Runtime's integer kernels want, which are not those that TensorRT's want.

Its kernels round in front of every activation, so it is other layers that lose most there. Measured on
yolo-fastest-1.1-xl: one convolution in float (1.8 % of the multiply-adds) takes a third off the error, and it
was none of the nine (4.5 %) that were chosen for TensorRT.

Owns that choice, on the graph and by the kernels that will run. Refuses to rank layers: `float_layers` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.calibrate.auto import AutoConfig
from edgeyolo.calibrate.float_layers import leave_float
from edgeyolo.calibrate.sessions import session_for
from edgeyolo.calibrate.simulate import Simulator, float_outputs
from edgeyolo.qdq import QuantPlan, int8_model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnx

    from edgeyolo.calibrate.choice import Choice
    from edgeyolo.calibrate.collect import Statistics
    from edgeyolo.scales import Scales

    Tensor = npt.NDArray[np.float32]

__all__ = ["suited_to_onnxruntime"]


class _Fused(Simulator):
    """An INT8 model with its scales in it, computed by ONNX Runtime's integer kernels."""

    def __init__(self, int8: onnx.ModelProto, images: Sequence[Tensor], error: OutputDeviation) -> None:
        super().__init__(int8, (), images, error)
        self._session, self._workers = session_for(int8.SerializeToString(), fuse=True)


def suited_to_onnxruntime(
    choice: Choice,
    model: onnx.ModelProto,
    plan: QuantPlan,
    statistics: Statistics,
    held_back: Sequence[Tensor],
    config: AutoConfig,
) -> Choice:
    """Choose the float layers of a choice anew, where ONNX Runtime falls short and others serve it better.

    Args:
        choice: By search, its float layers chosen for TensorRT.
        model: The float model.
        plan: Its plan.
        statistics: Collected from it.
        held_back: Tensors of one image each that decide.
        config: Agreement that is enough, and the float budget.

    Returns:
        The choice with the better of the two sets of float layers; its log tells both errors.
    """
    error = OutputDeviation(float_outputs(model, held_back))

    def simulate(scales: Scales) -> _Fused:
        return _Fused(int8_model(model, scales, "onnxruntime", plan=plan), held_back, error)

    scales = choice.scales
    as_is = simulate(scales)
    agreement, wanted = as_is.agreement({}), config.target_agreement
    log = [*choice.log, f"as onnxruntime computes it: agreement {agreement:.3f}, {wanted:g} wanted"]
    if agreement < wanted:
        before = sum(as_is.shares({}, range(len(held_back))))
        bare = dataclasses.replace(scales, float_layers=_dead(plan, statistics, scales))
        budget = int(config.max_float_macs * plan.macs)
        left = leave_float(plan, bare, simulate, choice.layer_errors, target=wanted, budget=budget)
        better = left.error < before
        log.append(
            f"float layers chosen by onnxruntime's kernels: error {before:.4f} to {left.error:.4f}"
            + ("" if better else ", not kept")
        )
        if better:
            scales = dataclasses.replace(bare, float_layers={**bare.float_layers, **left.layers})
            log += left.log
    return dataclasses.replace(choice, scales=scales, log=tuple(log))


def _dead(plan: QuantPlan, statistics: Statistics, scales: Scales) -> dict[str, str]:
    """Keep the float layers that read nothing but zeros: there is no range to go by."""
    group_of = plan.group_of
    zeros = {
        layer.name
        for layer in plan.layers
        if layer.input in group_of
        and not any(statistics.channel_amax[name].any() for name in plan.sources[group_of[layer.input]])
    }
    return {name: why for name, why in scales.float_layers.items() if name in zeros}
