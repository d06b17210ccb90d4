"""Layers without parameters that move or pool pixels: pools, upsample, reorg, crop.

Owns their fields; sizes follow Darknet's integer arithmetic. Refuses to hold anything that is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Layer

__all__ = ["AvgPool", "Crop", "LocalAvgPool", "MaxPool", "Reorg", "Reorg3d", "Upsample"]


@dataclass(frozen=True, kw_only=True)
class Pool(Layer):
    """A sliding window; ``out = (in + padding - size) / stride + 1`` in integers.

    Args:
        size_wh: Window width and height.
        stride_wh: Step in x and y.
        pad_begin_wh: Padding at the left and the top, ``padding / 2`` in integers.
        pad_end_wh: Padding at the right and the bottom that the last window reaches into; 0 or more. Where
        the
            last windows do not reach the border, the rest of the picture is simply not read.
    """

    size_wh: tuple[int, int]
    stride_wh: tuple[int, int]
    pad_begin_wh: tuple[int, int]
    pad_end_wh: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class MaxPool(Pool):
    """The largest value of each window; padding never wins (it counts as minus infinity).

    ``padding`` is the *sum* of both sides and its default is ``size - 1``. ``global=1`` (an exporters'
    extension) is a window over the whole picture.

    Source:
        src/maxpool_layer.c: offset ``-pad / 2``; both Darknets agree.
    """

    kind: ClassVar[str] = "maxpool"


@dataclass(frozen=True, kw_only=True)
class LocalAvgPool(Pool):
    """The mean of each window over the pixels that exist (padding is not counted).

    Source:
        ``forward_local_avgpool_layer`` (src/maxpool_layer.c of AlexeyAB/darknet).
    """

    kind: ClassVar[str] = "local_avgpool"


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """The mean of each channel: ``(c, 1, 1)``.

    Source:
        src/avgpool_layer.c.
    """

    kind: ClassVar[str] = "avgpool"


@dataclass(frozen=True, kw_only=True)
class Upsample(Layer):
    """Each pixel repeated `stride` times in x and y, then multiplied.

    Args:
        stride: Factor in x and y.
        scale: Factor on the value.

    Source:
        src/upsample_layer.c, ``upsample_cpu`` (src/blas.c).
    """

    kind: ClassVar[str] = "upsample"

    stride: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Reorg(Layer):
    """``[reorg]``, YOLOv2's pass-through, with the index arithmetic of the first Darknet.

    The output has shape ``(c * stride**2, h / stride, w / stride)``, but its values are *not* space-to-depth:
    Darknet calls ``reorg_cpu`` with the sizes of the input where those of the output belong, and every
    published YOLOv2 weight file is trained with that.

    Args:
        stride: Block size.
        reverse: The other direction: ``(c / stride**2, h * stride, w * stride)``.

    Source:
        src/reorg_layer.c of pjreddie/darknet, src/reorg_old_layer.c of AlexeyAB's; ``reorg_cpu``
        (src/blas.c).
    """

    kind: ClassVar[str] = "reorg"

    stride: int
    reverse: bool


@dataclass(frozen=True, kw_only=True)
class Reorg3d(Layer):
    """``[reorg3d]``: true space-to-depth, output channel ``(dy * stride + dx) * c + channel``.

    Args:
        stride: Block size.
        reverse: The other direction, depth-to-space.

    Source:
        src/reorg_layer.c of AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "reorg3d"

    stride: int
    reverse: bool


@dataclass(frozen=True, kw_only=True)
class Crop(Layer):
    """The middle of the picture, at inference without flip and colour changes: ``x * scale + shift``.

    Args:
        offset_wh: First column and row that is kept.
        scale: 2, or 1 with ``noadjust=1``.
        shift: -1, or 0 with ``noadjust=1``.

    Source:
        ``forward_crop_layer`` (src/crop_layer.c).
    """

    kind: ClassVar[str] = "crop"

    offset_wh: tuple[int, int]
    scale: float
    shift: float
