"""Ranges for the network as it is, which are all that a TensorRT calibration cache can say.

A cache has one number a tensor. It cannot equalise channels, fit weights, take offsets off or leave a layer
in float; its ranges can be learnt all the same, for a network in which nothing of that is done.

Owns the learning of these and the proof that it paid. Refuses to write a cache
(`edgeyolo.calibrate.trt_cache`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from edgeyolo.calibrate.judge import Judge, PlannedModel
from edgeyolo.calibrate.learn import learn_steps
from edgeyolo.scales import Scales, TensorScale

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Tensor = npt.NDArray[np.float32]

__all__ = ["learn_plain"]


def learn_plain(  # noqa: PLR0913 - keyword-only, each with a meaning of its own
    model: PlannedModel,
    before: Scales,
    batches: Iterable[Tensor],
    judge: Judge,
    *,
    passes: int,
    rate: float,
    progress: Callable[[int, int], None],
) -> tuple[Mapping[str, TensorScale], str]:
    """Learn ranges from those of `before`.

    Args:
        model: The float model as it was given.
        before: Ranges for it, and nothing else.
        batches: Calibration tensors of one image each; repeated.
        judge: Says whether it paid.
        passes: Images to look at in all.
        rate: As for `edgeyolo.calibrate.learn.learn_steps`.
        progress: Called with images done and images in all.

    Returns:
        The better ranges of the two, and a line for the log.
    """
    learnt = learn_steps(
        model.view,
        model.plan,
        before,
        batches,
        judge.deviation,
        passes=passes,
        rate=rate,
        channels=(),
        progress=progress,
    )
    tensors = dict(before.tensors)
    for group in model.plan.groups:
        if group[0] in learnt.amax:
            value = TensorScale(amax=learnt.amax[group[0]], method="learnt")
            tensors.update(dict.fromkeys(group, value))
    after = dataclasses.replace(before, tensors=tensors)
    error, least = (judge.error(model, each) for each in (before, after))
    line = f"for tensorrt.cache, which cannot change weights, {len(learnt.amax)} ranges learnt: "
    line += f"{error:.4f} to {least:.4f}" + ("" if least < error else ", not kept")
    return tensors if least < error else before.tensors, line
