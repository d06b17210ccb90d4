"""Layers that read other layers by index: route, shortcut, scale_channels, sam.

Owns their fields. `inputs` is always in reading order, absolute and checked: each index is below the layer's
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgeyolo.darknet.layers.base import Activation, Layer, Parameter, Shape
from edgeyolo.darknet.layers.reader import SectionReader

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

    @classmethod
    def read(cls, section: SectionReader) -> Route:
        """Resolve a ``[route]`` section.

        Raises:
            CfgError: A layer that does not exist, sizes that differ, groups that do not divide.
        """
        indexes = section.layer_indexes("layers")
        shapes = [section.shape_of(index) for index in indexes]
        if len({(shape.h, shape.w) for shape in shapes}) > 1:
            raise section.error(
                f"layers of one width and height expected, {_listed(section, indexes)} found", "layers"
            )
        groups = section.integer("groups", 1, at_least=1)
        group_id = section.integer("group_id", 0, at_least=0)
        if group_id >= groups:
            raise section.error(f"group_id below groups={groups} expected, {group_id} found", "group_id")
        if any(shape.c % groups for shape in shapes):
            raise section.error(
                f"groups={groups} must divide the channels of {_listed(section, indexes)}", "groups"
            )
        channels = sum(shape.c // groups for shape in shapes)
        return cls(
            **section.at(*indexes),
            out_shape=Shape(channels, shapes[0].h, shapes[0].w),
            groups=groups,
            group_id=group_id,
        )


@dataclass(frozen=True, kw_only=True)
class Shortcut(Layer):
    """Add layers to the previous one, then the activation.

    ``inputs[0]`` is the previous layer and gives the output its shape; the others are added to it. An input
    with fewer channels is added to the first channels only, of one with more the first channels are used.

    A single added layer may have another width and height (ResNet's strides do): with ``step = added / out``
    and ``sample = out / added`` in integers, at least 1, pixel ``(i * step)`` of the added layer goes to
    pixel ``(i * sample)`` of the output, for every i below the smaller size of both. That is pjreddie's
    Darknet; AlexeyAB's adds by position in memory instead; weights trained there across sizes would differ.

    With a weighted fusion there is one parameter ``weights``, ``(n,)`` (`per_feature`) or ``(n, c)``
    (`per_channel`), n = ``len(inputs)``, row 0 for the previous layer. Normalisation across the n rows:
    ``relu``: ``max(w, 0.001) / (sum(max(w, 0.001)) + 0.0001)``, the floor that ``fuse_conv_batchnorm`` sets
    before any inference (training has 0 there); ``softmax``: ``exp(w - max) / (sum(exp(w - max)) + 0.0001)``.

    Args:
        activation: What follows.
        fusion: Kind of weights (``weights_type``).
        normalization: What is done to them (``weights_normalization``).

    Source:
        src/shortcut_layer.c, ``shortcut_cpu`` (src/blas.c) of pjreddie/darknet;
        ``shortcut_multilayer_cpu`` (src/blas.c) and ``fuse_conv_batchnorm`` (src/network.c) of
        AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "shortcut"

    activation: Activation
    fusion: Fusion = "none"
    normalization: FusionNormalization = "none"

    @classmethod
    def read(cls, section: SectionReader) -> Shortcut:
        """Resolve a ``[shortcut]`` section.

        Raises:
            CfgError: A layer that does not exist, sizes that differ, an unknown fusion.
            UnsupportedOpError: pjreddie's ``alpha`` and ``beta`` other than 1.
        """
        for key in ("alpha", "beta"):
            if section.number(key, 1.0) != 1:
                raise section.unsupported(f"{key} other than 1 is not supported", key=key)
        indexes = section.layer_indexes("from")
        shape = section.in_shape
        fusion = _FUSIONS[section.one_of("weights_type", "none", tuple(_FUSIONS))]
        for index in indexes:
            if not _addable(section.shape_of(index), shape, resample=len(indexes) == 1 and fusion == "none"):
                raise section.error(
                    f"from: the width and height of the previous layer, {shape}, expected, "
                    f"{_listed(section, (index,))} found",
                    "from",
                )
        count = len(indexes) + 1
        weights = {"none": (), "per_feature": (count,), "per_channel": (count, shape.c)}[fusion]
        return cls(
            **section.here(*indexes),
            out_shape=shape,
            parameters=(Parameter("weights", weights),) if weights else (),
            activation=section.activation(Activation.LINEAR),
            fusion=fusion,
            normalization=_normalization(section, fusion),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> ScaleChannels:
        """Resolve a ``[scale_channels]`` section.

        Raises:
            CfgError: Factors that do not fit the layer to scale.
        """
        (index,) = section.layer_indexes("from")[:1]
        shape = section.shape_of(index)
        scale_wh = section.flag("scale_wh")
        expected = Shape(1, shape.h, shape.w) if scale_wh else Shape(shape.c, 1, 1)
        if section.in_shape != expected:
            raise section.error(
                f"factors of shape {expected} expected from the previous layer, {section.in_shape} found, "
                f"for {_listed(section, (index,))}",
                "from",
            )
        return cls(
            **section.here(index),
            out_shape=shape,
            activation=section.activation(Activation.LINEAR),
            scale_wh=scale_wh,
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Sam:
        """Resolve a ``[sam]`` section.

        Raises:
            CfgError: The two shapes differ.
        """
        (index,) = section.layer_indexes("from")[:1]
        if section.shape_of(index) != section.in_shape:
            raise section.error(
                f"from: the shape of the previous layer, {section.in_shape}, expected; "
                f"{_listed(section, (index,))} found",
                "from",
            )
        return cls(
            **section.here(index),
            out_shape=section.in_shape,
            activation=section.activation(Activation.LINEAR),
        )


# `per_layer` is the older word for the same thing.
_FUSIONS: dict[str, Fusion] = {
    "none": "none",
    "per_feature": "per_feature",
    "per_layer": "per_feature",
    "per_channel": "per_channel",
}
_NORMALIZATIONS: dict[str, FusionNormalization] = {
    "none": "none",
    "relu": "relu",
    "avg_relu": "relu",
    "softmax": "softmax",
}


def _addable(added: Shape, out: Shape, *, resample: bool) -> bool:
    """Tell whether Darknet can add pixels of these two pictures.

    Source:
        The assertions of ``shortcut_cpu`` (src/blas.c of pjreddie/darknet).
    """
    if (added.h, added.w) == (out.h, out.w):
        return True
    return resample and added.w // out.w == added.h // out.h and out.w // added.w == out.h // added.h


def _normalization(section: SectionReader, fusion: Fusion) -> FusionNormalization:
    """Read ``weights_normalization``; a year of Darknet wrote ``weights_normalizion``."""
    older = section.one_of("weights_normalizion", "none", tuple(_NORMALIZATIONS))
    word = section.one_of("weights_normalization", older, tuple(_NORMALIZATIONS))
    return _NORMALIZATIONS[word] if fusion != "none" else "none"


def _listed(section: SectionReader, indexes: tuple[int, ...]) -> str:
    shown = [f"layer {index} ({section.shape_of(index)})" for index in indexes[:8]]
    return ", ".join(shown) + (", ..." if len(indexes) > len(shown) else "")
