"""Layers without parameters that move or pool pixels: pools, upsample, reorg, crop.

Owns their fields; sizes follow Darknet's integer arithmetic. Refuses to hold anything that is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Layer, Shape
from edgeyolo.darknet.layers.reader import Here, SectionReader

__all__ = ["AvgPool", "Crop", "LocalAvgPool", "MaxPool", "Pool", "Reorg", "Reorg3d", "Upsample"]


@dataclass(frozen=True, kw_only=True)
class Pool(Layer):
    """A sliding window; ``out = (in + padding - size) / stride + 1`` in integers.

    Args:
        size_wh: Window width and height.
        stride_wh: Step in x and y.
        pad_begin_wh: Padding at the left and the top, ``padding / 2`` in integers.
        pad_end_wh: Padding at the right and the bottom that the last window reaches into; 0 or more. Where
            the last windows do not reach the border, the rest of the picture is simply not read.
    """

    size_wh: tuple[int, int]
    stride_wh: tuple[int, int]
    pad_begin_wh: tuple[int, int]
    pad_end_wh: tuple[int, int]


class _PoolFields(Here):
    out_shape: Shape
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

    @classmethod
    def read(cls, section: SectionReader) -> MaxPool:
        """Resolve a ``[maxpool]`` section.

        Raises:
            CfgError: A window that does not fit.
            UnsupportedOpError: An option that changes what is computed.
        """
        section.refuse(
            {
                "antialiasing": "the blur that Darknet appends to a strided pool",
                "maxpool_depth": "a maximum across channels",
                "maxpool_zero_nonmax": "it overwrites the layer before",
            }
        )
        return cls(**_pool_fields(section))


@dataclass(frozen=True, kw_only=True)
class LocalAvgPool(Pool):
    """The mean of each window over the pixels that exist (padding is not counted).

    Source:
        ``forward_local_avgpool_layer`` (src/maxpool_layer.c of AlexeyAB/darknet).
    """

    kind: ClassVar[str] = "local_avgpool"

    @classmethod
    def read(cls, section: SectionReader) -> LocalAvgPool:
        """Resolve a ``[local_avgpool]`` section.

        Raises:
            CfgError: A window that does not fit.
        """
        return cls(**_pool_fields(section))


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """The mean of each channel: ``(c, 1, 1)``.

    Source:
        src/avgpool_layer.c.
    """

    kind: ClassVar[str] = "avgpool"

    @classmethod
    def read(cls, section: SectionReader) -> AvgPool:
        """Resolve an ``[avgpool]`` section."""
        return cls(**section.here(), out_shape=Shape(section.in_shape.c, 1, 1))


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

    @classmethod
    def read(cls, section: SectionReader) -> Upsample:
        """Resolve an ``[upsample]`` section.

        Raises:
            CfgError: ``stride`` below 1; Darknet then pools, which its own converters do not write.
        """
        stride = section.integer("stride", 2, at_least=1)
        c, h, w = section.in_shape
        return cls(
            **section.here(),
            out_shape=Shape(c, h * stride, w * stride),
            stride=stride,
            scale=section.number("scale", 1.0),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Reorg:
        """Resolve a ``[reorg]`` section.

        Raises:
            CfgError: The stride does not divide the picture, or its square the channels.
            UnsupportedOpError: ``flatten`` or ``extra``.
        """
        section.refuse({"flatten": "another order of values", "extra": "appended values without a place"})
        stride, reverse, out_shape = _reorg_fields(section)
        block = stride * stride
        if not reverse and section.in_shape.c % block:
            # The first Darknet's index arithmetic then reads outside the tensor.
            raise section.error(
                f"channels divisible by {block} expected, {section.in_shape.c} found", "stride"
            )
        return cls(**section.here(), out_shape=out_shape, stride=stride, reverse=reverse)


@dataclass(frozen=True, kw_only=True)
class Reorg3d(Layer):
    """``[reorg3d]``: true space-to-depth, output channel ``(dy * stride + dx) * c + channel``.

    Args:
        stride: Block size.
        reverse: Darknet's own other direction, ``(c / stride**2, h * stride, w * stride)``. Its values are
            no inverse of this one's, and no emitter writes it.

    Source:
        src/reorg_layer.c, ``reorg_cpu`` (src/blas.c) of AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "reorg3d"

    stride: int
    reverse: bool

    @classmethod
    def read(cls, section: SectionReader) -> Reorg3d:
        """Resolve a ``[reorg3d]`` section.

        Raises:
            CfgError: The stride does not divide the picture, or reversed, its square the channels.
        """
        stride, reverse, out_shape = _reorg_fields(section)
        return cls(**section.here(), out_shape=out_shape, stride=stride, reverse=reverse)


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

    @classmethod
    def read(cls, section: SectionReader) -> Crop:
        """Resolve a ``[crop]`` section.

        Raises:
            CfgError: The crop is larger than its input.
        """
        c, h, w = section.in_shape
        crop_h = section.integer("crop_height", 1, at_least=1)
        crop_w = section.integer("crop_width", 1, at_least=1)
        if crop_h > h or crop_w > w:
            raise section.error(f"a crop within the input {w}x{h} expected, {crop_w}x{crop_h} found")
        plain = section.flag("noadjust")
        return cls(
            **section.here(),
            out_shape=Shape(c, crop_h, crop_w),
            offset_wh=((w - crop_w) // 2, (h - crop_h) // 2),
            scale=1.0 if plain else 2.0,
            shift=0.0 if plain else -1.0,
        )


def _pool_fields(section: SectionReader) -> _PoolFields:
    """Resolve what both pools share.

    Source:
        ``parse_maxpool`` (src/parser.c): size defaults to stride, padding to ``size - 1``.
    """
    _, h, w = section.in_shape
    stride = section.integer("stride", 1, at_least=1)
    stride_wh = (
        section.integer("stride_x", stride, at_least=1),
        section.integer("stride_y", stride, at_least=1),
    )
    size = section.integer("size", stride, at_least=1)
    padding = section.integer("padding", size - 1, at_least=0)
    size_wh = (size, size)
    if section.flag("global"):
        size_wh, stride_wh, padding = (w, h), (1, 1), 0
    out_w, end_w = _pooled(section, w, size_wh[0], stride_wh[0], padding)
    out_h, end_h = _pooled(section, h, size_wh[1], stride_wh[1], padding)
    return _PoolFields(
        **section.here(),
        out_shape=Shape(section.in_shape.c, out_h, out_w),
        size_wh=size_wh,
        stride_wh=stride_wh,
        pad_begin_wh=(padding // 2, padding // 2),
        pad_end_wh=(end_w, end_h),
    )


def _pooled(section: SectionReader, side: int, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Output size and end padding of one axis."""
    if side + padding < size:
        raise section.error(f"an input of at least {size} expected, {side} + {padding} padding found")
    out = (side + padding - size) // stride + 1
    begin = padding // 2
    end = max(0, (out - 1) * stride + size - begin - side)
    if begin >= size or end >= size:
        raise section.error(f"padding={padding}: windows of {size} would lie outside the input", "padding")
    return out, end


def _reorg_fields(section: SectionReader) -> tuple[int, bool, Shape]:
    c, h, w = section.in_shape
    stride = section.integer("stride", 1, at_least=1)
    block = stride * stride
    if section.flag("reverse"):
        if c % block:
            raise section.error(f"channels divisible by {block} expected, {c} found", "stride")
        return stride, True, Shape(c // block, h * stride, w * stride)
    if w % stride or h % stride:
        raise section.error(f"a width and height divisible by {stride} expected, {w}x{h} found", "stride")
    return stride, False, Shape(c * block, h // stride, w // stride)
