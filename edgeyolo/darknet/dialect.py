"""Whose Darknet a network was trained with, as far as its arithmetic shows it.

Owns `Dialect`: the divisor of batch normalisation is the one number in which the two Darknets differ at
inference. Refuses to be asked of the user: nobody knows it of their file.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.layers import (
    Activation,
    Convolutional,
    GaussianYolo,
    Layer,
    LocalAvgPool,
    Reorg3d,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Yolo,
)
from edgeyolo.darknet.network import Network

__all__ = ["Dialect", "dialect_of"]

_ALEXEYAB_ACTIVATIONS = {
    Activation.MISH,
    Activation.HARD_MISH,
    Activation.SWISH,
    Activation.GELU,
    Activation.RELU6,
}


class Dialect(enum.Enum):
    """Whose arithmetic a network was made for; the value is how it divides in a batch normalisation."""

    DARKNET = "sqrt(variance) + 1e-6"
    ALEXEYAB = "sqrt(variance + 1e-5)"

    def deviation(self, variance: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Give the divisor a channel, in float64."""
        exact = variance.astype(np.float64)
        return np.sqrt(exact) + 1e-6 if self is Dialect.DARKNET else np.sqrt(exact + 1e-5)


def dialect_of(network: Network) -> Dialect:
    """Tell whose batch normalisation a network was trained with.

    pjreddie's Darknet divides by ``sqrt(variance) + 1e-6``. AlexeyAB's did, too, and since 2020 divides by
    ``sqrt(variance + 1e-5)``. A network with anything that only the latter reads is taken for one of the
    latter.

    Source:
        ``normalize_cpu`` (src/blas.c), ``fuse_conv_batchnorm`` (src/network.c).
    """
    return Dialect.ALEXEYAB if any(map(_is_alexeyab, network.layers)) else Dialect.DARKNET


def _is_alexeyab(layer: Layer) -> bool:
    if isinstance(layer, (GaussianYolo, LocalAvgPool, Reorg3d, Sam, ScaleChannels)):
        return True
    if isinstance(layer, Convolutional) and (
        layer.dilation > 1 or layer.stride_wh[0] != layer.stride_wh[1] or layer.shares is not None
    ):
        return True
    if isinstance(layer, Shortcut) and (len(layer.inputs) > 2 or layer.fusion != "none"):
        return True
    if isinstance(layer, Route) and layer.groups > 1:
        return True
    if isinstance(layer, Yolo) and (layer.scale_x_y != 1 or layer.new_coords):
        return True
    return getattr(layer, "activation", None) in _ALEXEYAB_ACTIVATIONS
