"""A Darknet network: its layers in order, the input they were sized for, what the whole of it costs.

Owns `Network` and the walk from cfg sections to layers. Refuses to read text (``cfg``), weights (``weights``)
or to know how any section is read (``layers``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.layers import Layer, Shape

__all__ = ["Network", "Parameters"]

Parameters = Mapping[int, Mapping[str, npt.NDArray[np.float32]]]
"""Layer index to Darknet's array name to array, shaped as the layer's `parameters` say."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers with every size known.

    Args:
        source: The cfg it came from, a path or the name of a built-in architecture; for messages.
        input_shape: Channels, height, width of the network input.
        layers: In cfg order; ``layers[i].index == i``.
        letter_box: The cfg's ``[net] letter_box``: AlexeyAB's Darknet letterboxes only where it is 1 and
        stretches
            the picture otherwise; pjreddie's always letterboxes.
    """

    source: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    letter_box: bool = False

    @property
    def parameter_count(self) -> int:
        """Floats in the ``.weights`` file, without the header."""
        return sum(layer.parameter_count for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture; Darknet's "BFLOPs" are ``2 * macs / 1e9``."""
        return sum(layer.macs for layer in self.layers)
