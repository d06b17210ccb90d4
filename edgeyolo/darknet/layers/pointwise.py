"""Layers that keep the shape: activation, logistic, l2norm, dropout, softmax, cost.

Owns their fields. What only training does (dropout, cost) is identity here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Activation, Layer

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


@dataclass(frozen=True, kw_only=True)
class L2Norm(Layer):
    """Divide each pixel's channels by their Euclidean length.

    Source:
        src/l2norm_layer.c of pjreddie/darknet, ``l2normalize_cpu`` (src/blas.c).
    """

    kind: ClassVar[str] = "l2norm"


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


@dataclass(frozen=True, kw_only=True)
class Cost(Layer):
    """Identity at inference.

    Source:
        src/cost_layer.c.
    """

    kind: ClassVar[str] = "cost"
