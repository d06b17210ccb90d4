"""What every layer of a Darknet network has in common: its place, its shapes, its parameters, its cost.

Owns `Shape`, `Parameter`, `Activation` and the root class `Layer`. Refuses to know a single section kind, to
read files, and to compute: these are statements about a network, not the network.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

__all__ = ["Activation", "Layer", "Parameter", "Shape"]


class Shape(NamedTuple):
    """Channels, height, width of one picture's tensor, without the batch.

    Examples:
        >>> Shape(3, 416, 608).size, str(Shape(3, 416, 608))
        (758784, '3x416x608')
    """

    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        """Number of values."""
        return self.c * self.h * self.w

    def __str__(self) -> str:
        return f"{self.c}x{self.h}x{self.w}"


class Parameter(NamedTuple):
    """One array of a layer as it lies in the ``.weights`` file.

    Args:
        name: ``biases``, ``scales``, ``rolling_mean``, ``rolling_variance`` or ``weights``: Darknet's names.
        shape: C-contiguous float32.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of float32 values."""
        return math.prod(self.shape)


class Activation(enum.Enum):
    """Darknet's activation functions that EdgeYOLO computes; the value is the word in the cfg.

    Source:
        Darknet ``get_activation`` (src/activations.c) and the one-line functions in src/activations.h.
        ``swish`` is also written ``silu``. ``leaky`` has slope 0.1, ``ramp`` is ``x * (x > 0) + 0.1 x``,
        ``plse`` and ``stair`` are piecewise linear, ``hard_mish`` is ``x * min(2, max(0, x + 2)) / 2``.
    """

    LINEAR = "linear"
    LEAKY = "leaky"
    RELU = "relu"
    RELU6 = "relu6"
    LOGISTIC = "logistic"
    LOGGY = "loggy"
    TANH = "tanh"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    RAMP = "ramp"
    PLSE = "plse"
    HARDTAN = "hardtan"
    STAIR = "stair"
    LHTAN = "lhtan"
    MISH = "mish"
    HARD_MISH = "hard_mish"
    SWISH = "swish"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One section of a cfg, with every default resolved and every size known.

    Args:
        index: Position among the layers, from 0, as ``[route]`` and ``[shortcut]`` count.
        line: Line of the section header in the cfg, from 1.
        inputs: Index of each layer that is read, in reading order; -1 is the network input.
        in_shapes: Shape of each input, in the order of `inputs`.
        out_shape: Shape of the output.
        parameters: Arrays in the order of the ``.weights`` file; empty for a layer without, and for a layer
            that shares those of another.
        macs: Multiply-accumulates for one picture, of convolutions and matrix products only. Darknet's
            "BFLOPs" are ``2 * macs / 1e9``.
    """

    kind: ClassVar[str]

    index: int
    line: int
    inputs: tuple[int, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    parameters: tuple[Parameter, ...] = ()
    macs: int = 0

    @property
    def in_shape(self) -> Shape:
        """Shape of the first input."""
        return self.in_shapes[0]

    @property
    def parameter_count(self) -> int:
        """Floats that this layer takes in the ``.weights`` file."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def name(self) -> str:
        """Name for messages and graph nodes: index and kind, such as ``003_convolutional``."""
        return f"{self.index:03d}_{self.kind}"
