"""Layers that carry trained parameters: convolutional, deconvolutional, connected, batchnorm.

Owns their fields and the order of their arrays in a ``.weights`` file. Refuses to read that file.

Batch normalisation is Darknet's own: ``scales * (x - rolling_mean) / (sqrt(rolling_variance) + 1e-6) +
biases``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Activation, Layer

__all__ = ["BatchNorm", "Connected", "Convolutional", "Deconvolutional"]


@dataclass(frozen=True, kw_only=True)
class Convolutional(Layer):
    """A 2-D convolution, batch normalisation or bias, activation.

    Parameters in file order: ``biases (n,)``, with `batch_normalize` also ``scales (n,)``, ``rolling_mean
    (n,)``, ``rolling_variance (n,)``, then ``weights (n, c / groups, size, size)``.

    Args:
        filters: Output channels, n.
        size: Kernel height and width.
        stride_wh: Step in x and y.
        pad_wh: Zeros on *each* side, already multiplied by `dilation` as Darknet does.
        dilation: Distance between kernel taps.
        groups: Channel groups.
        batch_normalize: Batch normalisation in place of a plain bias.
        activation: What follows.
        flipped: The file holds ``weights`` transposed; `load_parameters` turns them, nothing is left to do.
        shares: Index of the layer whose parameters are used (``share_index``), or None. `parameters` is then
            empty, and `load_parameters` gives the same arrays under both indexes.

    Source:
        src/convolutional_layer.c, ``parse_convolutional`` (src/parser.c).
    """

    kind: ClassVar[str] = "convolutional"

    filters: int
    size: int
    stride_wh: tuple[int, int]
    pad_wh: tuple[int, int]
    dilation: int
    groups: int
    batch_normalize: bool
    activation: Activation
    flipped: bool = False
    shares: int | None = None


@dataclass(frozen=True, kw_only=True)
class Deconvolutional(Layer):
    """A transposed convolution; ``out = (in - 1) * stride + size - 2 * pad``.

    Parameters in file order: ``biases (n,)``, with `batch_normalize` also ``scales``, ``rolling_mean``,
    ``rolling_variance`` ``(n,)`` each, then ``weights (c, n, size, size)`` (input channels first).

    Args:
        filters: Output channels, n.
        size: Kernel height and width.
        stride_wh: Step in x and y; Darknet has one number for both.
        pad_wh: Rows and columns cut from *each* side of the output.
        batch_normalize: Batch normalisation in place of a plain bias.
        activation: What follows.

    Source:
        src/deconvolutional_layer.c of pjreddie/darknet; AlexeyAB's Darknet no longer has the section.
    """

    kind: ClassVar[str] = "deconvolutional"

    filters: int
    size: int
    stride_wh: tuple[int, int]
    pad_wh: tuple[int, int]
    batch_normalize: bool
    activation: Activation


@dataclass(frozen=True, kw_only=True)
class Connected(Layer):
    """A matrix product on the flattened input (order c, h, w); the output is ``(output, 1, 1)``.

    Parameters in file order: ``biases (output,)``, ``weights (output, inputs)``, and only then, with
    `batch_normalize`, ``scales``, ``rolling_mean``, ``rolling_variance`` ``(output,)`` each.
    Files with a major or minor version above 1000 hold ``weights`` transposed; `load_parameters` turns them.

    Args:
        output: Number of outputs.
        batch_normalize: Batch normalisation before the activation.
        activation: What follows.

    Source:
        src/connected_layer.c, ``load_connected_weights`` (src/parser.c).
    """

    kind: ClassVar[str] = "connected"

    output: int
    batch_normalize: bool
    activation: Activation


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Layer):
    """Batch normalisation as a section of its own, no activation.

    Parameters in file order: ``biases``, ``scales``, ``rolling_mean``, ``rolling_variance``, ``(c,)`` each.
    pjreddie's Darknet writes no ``biases``; `load_parameters` knows such a file by its length and gives
    zeros.

    Source:
        src/batchnorm_layer.c, ``load_batchnorm_weights`` (src/parser.c).
    """

    kind: ClassVar[str] = "batchnorm"
