"""Layers that keep the shape: activation, logistic, l2norm, dropout, softmax, cost.

Owns their fields. What only training does (dropout, cost) is identity here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Activation, Layer
from edgeyolo.darknet.layers.reader import SectionReader

__all__ = ["ActivationOnly", "Cost", "Dropout", "L2Norm", "Softmax"]


@dataclass(frozen=True, kw_only=True)
class ActivationOnly(Layer):
    """An activation alone: ``[activation]``, and ``[logistic]`` with `activation` LOGISTIC.

    Args:
        activation: The function.

    Source:
        src/activation_layer.c, src/logistic_layer.c of pjreddie/darknet.
    """

    kind: ClassVar[str] = "activation"

    activation: Activation

    @classmethod
    def read(cls, section: SectionReader) -> ActivationOnly:
        """Resolve an ``[activation]`` section."""
        activation = section.activation(Activation.LINEAR)
        return cls(**section.here(), out_shape=section.in_shape, activation=activation)

    @classmethod
    def read_logistic(cls, section: SectionReader) -> ActivationOnly:
        """Resolve a ``[logistic]`` section."""
        return cls(**section.here(), out_shape=section.in_shape, activation=Activation.LOGISTIC)


@dataclass(frozen=True, kw_only=True)
class L2Norm(Layer):
    """Divide each pixel's channels by their Euclidean length.

    Source:
        src/l2norm_layer.c of pjreddie/darknet, ``l2normalize_cpu`` (src/blas.c).
    """

    kind: ClassVar[str] = "l2norm"

    @classmethod
    def read(cls, section: SectionReader) -> L2Norm:
        """Resolve an ``[l2norm]`` section."""
        return cls(**section.here(), out_shape=section.in_shape)


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer):
    """Identity at inference.

    Args:
        probability: Of training, for the record.

    Source:
        src/dropout_layer.c.
    """

    kind: ClassVar[str] = "dropout"

    probability: float

    @classmethod
    def read(cls, section: SectionReader) -> Dropout:
        """Resolve a ``[dropout]`` section."""
        probability = section.number("probability", 0.5)
        return cls(**section.here(), out_shape=section.in_shape, probability=probability)


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """``softmax(x / temperature)`` over each of `groups` equal parts of the flattened input.

    Args:
        groups: Number of parts.
        temperature: Divisor.
        spatial: Over the channels of each pixel instead; `groups` is then not used.
        tree: File with a class hierarchy (YOLO9000) as the cfg names it, or None. The softmax is then one a
            branch of that tree.

    Source:
        src/softmax_layer.c.
    """

    kind: ClassVar[str] = "softmax"

    groups: int
    temperature: float
    spatial: bool
    tree: str | None

    @classmethod
    def read(cls, section: SectionReader) -> Softmax:
        """Resolve a ``[softmax]`` section.

        Raises:
            CfgError: The groups do not divide the input, or the temperature is 0.
        """
        groups = section.integer("groups", 1, at_least=1)
        if section.in_shape.size % groups:
            raise section.error(f"groups={groups} must divide the {section.in_shape.size} inputs", "groups")
        temperature = section.number("temperature", 1.0)
        if temperature <= 0:
            raise section.error(f"a temperature above 0 expected, {temperature} found", "temperature")
        return cls(
            **section.here(),
            out_shape=section.in_shape,
            groups=groups,
            temperature=temperature,
            spatial=section.flag("spatial"),
            tree=section.text("tree"),
        )


@dataclass(frozen=True, kw_only=True)
class Cost(Layer):
    """Identity at inference.

    Source:
        src/cost_layer.c.
    """

    kind: ClassVar[str] = "cost"

    @classmethod
    def read(cls, section: SectionReader) -> Cost:
        """Resolve a ``[cost]`` section."""
        return cls(**section.here(), out_shape=section.in_shape)
