"""Layers that read other layers by index: route, shortcut, scale_channels, sam.

Owns their fields. `inputs` is always in reading order, absolute and checked: each index is below the layer's
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgeyolo.darknet.layers.base import Activation, Layer

__all__ = ["Fusion", "FusionNormalization", "Route", "Sam", "ScaleChannels", "Shortcut"]

Fusion = Literal["none", "per_feature", "per_channel"]
FusionNormalization = Literal["none", "relu", "softmax"]


@dataclass(frozen=True, kw_only=True)
class Route(Layer):
    """Concatenate layers along the channels, of each keeping one group of its channels.

    Args:
        groups: Parts into which the channels of *each* input are divided.
        group_id: The part that is kept, from 0.

    Source:
        src/route_layer.c: ``part = outputs / groups``, copied from ``part * group_id``, for every input.
    """

    kind: ClassVar[str] = "route"

    groups: int
    group_id: int


@dataclass(frozen=True, kw_only=True)
class Shortcut(Layer):
    """Add layers to the previous one, then the activation.

    ``inputs[0]`` is the previous layer and gives the output its shape; the others are added to it. An input
    with fewer channels is added to the first channels only, of one with more the first channels are used.
    Width and height are equal (other sizes are refused, as the two Darknets add different pixels).

    With a weighted fusion there is one parameter ``weights``, ``(n,)`` (`per_feature`) or ``(n, c)``
    (`per_channel`), n = ``len(inputs)``, row 0 for the previous layer. Normalisation across the n rows:
    ``relu``: ``max(w, 0) / (sum(max(w, 0)) + 0.0001)``; ``softmax``: ``exp(w - max) / (sum(exp(w - max)) +
    0.0001)``.

    Args:
        activation: What follows.
        fusion: Kind of weights (``weights_type``).
        normalization: What is done to them (``weights_normalization``).

    Source:
        src/shortcut_layer.c, ``shortcut_multilayer_cpu`` (src/blas.c of AlexeyAB/darknet).
    """

    kind: ClassVar[str] = "shortcut"

    activation: Activation
    fusion: Fusion = "none"
    normalization: FusionNormalization = "none"


@dataclass(frozen=True, kw_only=True)
class ScaleChannels(Layer):
    """Multiply a layer by the previous one (squeeze and excitation), then the activation.

    ``inputs[0]`` is the previous layer, the factors: ``(c, 1, 1)``, or ``(1, h, w)`` with `scale_wh`.
    ``inputs[1]`` is the layer that is scaled and gives the output its shape.

    Args:
        activation: What follows.
        scale_wh: One factor a pixel rather than one a channel.

    Source:
        src/scale_channels_layer.c of AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "scale_channels"

    activation: Activation
    scale_wh: bool


@dataclass(frozen=True, kw_only=True)
class Sam(Layer):
    """Multiply the previous layer, ``inputs[0]``, by ``inputs[1]`` of the same shape, then the activation.

    Args:
        activation: What follows.

    Source:
        src/sam_layer.c of AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "sam"

    activation: Activation
