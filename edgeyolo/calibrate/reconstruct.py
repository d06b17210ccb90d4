"""New weights for INT8: those that give a layer's float output back from its rounded input.

Two things in closed form, for each layer by itself. First least squares: the weights (and bias) that come
nearest to the float output when they read the rounded and clipped input, drawn towards what they were. Then
rounding: a weight is rounded, and those that are not rounded yet, the bias the last, take up what that
changed in the output; one weight is off by half a step, the sum of all of them by much less.

Owns the algebra. Refuses to judge whether it pays (`edgeyolo.calibrate.auto`) and to collect
(`edgeyolo.calibrate.moments`).

Source:
    Frantar et al., "GPTQ", 2022 (arXiv 2210.17323), for the rounding. Hubara et al., "Accurate Post Training
    Quantization With Small Calibration Sets", 2021 (arXiv 2006.10518), for fitting a layer to its output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeyolo.calibrate.moments import Moments
from edgeyolo.scales import LEVELS

__all__ = ["Fitted", "fit"]

Array = npt.NDArray[np.float64]

# Shares of the mean power of an input. The pull of what the weights were: a few dozen images must not decide
# on directions that they hardly show. From 0.1 to 100 the outputs differ little on images not seen; 0.01 is
# worse (three COCO networks of depthwise layers).
_PULL = 0.3
_DAMPING = 1e-2  # of the rounding, which does not move far
_TINY = 1e-9  # for inputs that are 0 on every image


@dataclass(frozen=True)
class Fitted:
    """One layer's weights in INT8.

    Args:
        steps: The weights in steps of their channel, -127..127, int16, shape of the weights.
        bias: Shape ``(channels,)``.
    """

    steps: npt.NDArray[np.int16]
    bias: Array


def fit(weights: Array, bias: Array, step: npt.NDArray[np.float32], moments: Moments) -> Fitted:
    """Fit one convolution.

    Args:
        weights: Float weights, shape ``(out, in / groups, kernel height, kernel width)``.
        bias: Shape ``(out,)``.
        step: Real value of a step of each output channel's weights, shape ``(out,)``.
        moments: Of what the layer reads.

    Returns:
        Its weights and bias.
    """
    groups, side = moments.qq.shape[:2]
    rows = len(weights) // groups
    both = np.concatenate(
        [weights.reshape(groups, rows, side - 1), bias.reshape(groups, rows, 1)], axis=2
    ).astype(np.float64)
    fitted = both @ (moments.xq + _ridge(moments.qq, _PULL)) @ _inverse(moments.qq, _PULL)
    steps, shifted = _rounded(fitted, np.float64(step).reshape(groups, rows), _inverse(moments.qq, _DAMPING))
    return Fitted(steps.reshape(weights.shape).astype(np.int16), shifted.reshape(-1))


def _inverse(power: Array, share: float) -> Array:
    return np.asarray(np.linalg.inv(power + _ridge(power, share)), np.float64)


def _ridge(power: Array, share: float) -> Array:
    """Give the diagonal that draws the weights, and not the bias, towards what they were."""
    diagonal = np.einsum("gii->gi", power)[:, :-1].mean(axis=1)
    sides = np.full(power.shape[:2], _TINY)
    sides[:, :-1] += share * diagonal[:, None]
    return np.asarray(np.eye(power.shape[1]) * sides[:, None, :])


def _rounded(weights: Array, step: Array, inverse: Array) -> tuple[Array, Array]:
    """Round weight by weight; the last column, the bias, is not rounded and takes up what is left.

    With ``U`` the upper Cholesky factor of the inverse of the inputs' power, the best change of what is still
    free after column ``j`` was moved by ``e`` is ``-e * U[j, j+1:] / U[j, j]``.
    """
    weights = weights.copy()
    factor = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    steps = np.zeros_like(weights[:, :, :-1])
    for j in range(steps.shape[2]):
        column = weights[:, :, j]
        steps[:, :, j] = np.clip(np.rint(column / step), -LEVELS, LEVELS)
        moved = (column - steps[:, :, j] * step) / factor[:, j, j, None]
        weights[:, :, j + 1 :] -= moved[:, :, None] * factor[:, None, j, j + 1 :]
    return steps, weights[:, :, -1]
