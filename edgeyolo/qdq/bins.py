"""The mean of a distribution over bins, which detectors write as a layer with weights 0, 1, 2, ...

YOLOv8 and its kin, PP-YOLOE and YOLO-NAS read a box's sides from distributions. Owns telling that layer from
one that was trained: it is decode, few multiply-adds whose rounding moves every box, and stays in float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["is_bin_mean"]

_FEWEST_BINS = 4


def is_bin_mean(weights: npt.NDArray[np.generic]) -> bool:
    """Say whether weights are the bins' own numbers, for one output.

    Source:
        Li et al., Generalized Focal Loss, arXiv 2006.04388, equation 4.

    Examples:
        >>> is_bin_mean(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1))
        True
        >>> is_bin_mean(np.ones((1, 16, 1, 1), np.float32))
        False
    """
    count = weights.size
    return (
        count >= _FEWEST_BINS
        and max(weights.shape) == count
        and bool((weights.ravel() == np.arange(count)).all())
    )
