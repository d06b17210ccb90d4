"""Layers that carry trained parameters: convolutional, deconvolutional, connected, batchnorm.

Owns their fields and the order of their arrays in a ``.weights`` file. Refuses to read that file.

Batch normalisation is Darknet's own: ``scales * (x - rolling_mean) / (sqrt(rolling_variance) + 1e-6) +
biases``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Activation, Layer, Parameter, Shape
from edgeyolo.darknet.layers.reader import SectionReader

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

    @classmethod
    def read(cls, section: SectionReader) -> Convolutional:
        """Resolve a ``[convolutional]`` section.

        Raises:
            CfgError: Sizes that do not fit the input.
            UnsupportedOpError: An option that changes what is computed.
        """
        section.refuse(_REFUSED)
        in_shape = section.in_shape
        filters = section.integer("filters", 1, at_least=1)
        size = section.integer("size", 1, at_least=1)
        groups = section.integer("groups", 1, at_least=1)
        if in_shape.c % groups or filters % groups:
            raise section.error(
                f"groups={groups} must divide the {in_shape.c} input channels and filters={filters}", "groups"
            )
        stride_wh = _stride_wh(section)
        dilation = _dilation(section, size)
        pad = _pad(section, size) * dilation
        batch_normalize = any([section.flag("batch_normalize"), section.flag("cbn")])
        out_w, out_h = _window_out_wh(section, dilation * (size - 1) + 1, stride_wh, pad)
        weights = (filters, in_shape.c // groups, size, size)
        parameters = _convolution_parameters(filters, weights, batch_normalize=batch_normalize)
        shares = _shared_layer(section, parameters)
        return cls(
            **section.here(),
            out_shape=Shape(filters, out_h, out_w),
            parameters=() if shares is not None else parameters,
            macs=Parameter("weights", weights).size * out_h * out_w,
            filters=filters,
            size=size,
            stride_wh=stride_wh,
            pad_wh=(pad, pad),
            dilation=dilation,
            groups=groups,
            batch_normalize=batch_normalize,
            activation=section.activation(Activation.LOGISTIC),
            flipped=section.flag("flipped"),
            shares=shares,
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Deconvolutional:
        """Resolve a ``[deconvolutional]`` section.

        Raises:
            CfgError: Nothing is left of the output.
            UnsupportedOpError: An option that changes what is computed.
        """
        section.refuse({"groups": "Darknet has no grouped deconvolution", "flipped": "transposed weights"})
        in_shape = section.in_shape
        filters = section.integer("filters", 1, at_least=1)
        size = section.integer("size", 1, at_least=1)
        stride = section.integer("stride", 1, at_least=1)
        pad = _pad(section, size)
        batch_normalize = section.flag("batch_normalize")
        out_h, out_w = ((side - 1) * stride + size - 2 * pad for side in (in_shape.h, in_shape.w))
        weights = (in_shape.c, filters, size, size)
        return cls(
            **section.here(),
            out_shape=Shape(filters, out_h, out_w),
            parameters=_convolution_parameters(filters, weights, batch_normalize=batch_normalize),
            macs=Parameter("weights", weights).size * in_shape.h * in_shape.w,
            filters=filters,
            size=size,
            stride_wh=(stride, stride),
            pad_wh=(pad, pad),
            batch_normalize=batch_normalize,
            activation=section.activation(Activation.LOGISTIC),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Connected:
        """Resolve a ``[connected]`` section."""
        output = section.integer("output", 1, at_least=1)
        inputs = section.in_shape.size
        batch_normalize = section.flag("batch_normalize")
        parameters = [Parameter("biases", (output,)), Parameter("weights", (output, inputs))]
        if batch_normalize:
            parameters += _statistics(output)
        return cls(
            **section.here(),
            out_shape=Shape(output, 1, 1),
            parameters=tuple(parameters),
            macs=output * inputs,
            output=output,
            batch_normalize=batch_normalize,
            activation=section.activation(Activation.LOGISTIC),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> BatchNorm:
        """Resolve a ``[batchnorm]`` section."""
        channels = section.in_shape.c
        parameters = (Parameter("biases", (channels,)), *_statistics(channels))
        return cls(**section.here(), out_shape=section.in_shape, parameters=parameters)


# With these on Darknet computes something else, which no published detector uses.
_REFUSED = {
    "antialiasing": "the blur that Darknet appends to a strided convolution",
    "assisted_excitation": "it mixes ground truth into the activations",
    "binary": "binary weights",
    "xnor": "binary weights and activations",
    "bin_output": "bit-packed activations",
    "coordconv": "appended coordinates",
    "sway": "deformed kernels",
    "rotate": "deformed kernels",
    "stretch": "deformed kernels",
    "stretch_sway": "deformed kernels",
}


def _stride_wh(section: SectionReader) -> tuple[int, int]:
    """``stride_x`` and ``stride_y`` fall back to ``stride`` one by one, where absent or below 1."""
    stride = section.integer("stride", 1, at_least=1)
    x, y = section.integer("stride_x", 0), section.integer("stride_y", 0)
    return (x if x >= 1 else stride, y if y >= 1 else stride)


def _pad(section: SectionReader, size: int) -> int:
    """``pad=1`` means half the kernel, whatever ``padding`` says."""
    padding = section.integer("padding", 0, at_least=0)
    return size // 2 if section.flag("pad") else padding


def _dilation(section: SectionReader, size: int) -> int:
    """Read ``dilation``, which a 1x1 kernel ignores.

    Source:
        ``convolutional_out_width`` (src/convolutional_layer.c) leaves the dilation out, which is right for
        ``pad=1`` and odd sizes only; with others ``im2col_cpu_ext`` overruns what was allocated.
    """
    dilation = section.integer("dilation", 1, at_least=1)
    if size == 1:
        return 1
    if dilation > 1 and 2 * _pad(section, size) != size - 1:
        raise section.error(
            f"dilation={dilation} needs pad=1 and an odd size: others overrun memory in Darknet", "dilation"
        )
    return dilation


def _window_out_wh(
    section: SectionReader, window: int, stride_wh: tuple[int, int], pad: int
) -> tuple[int, int]:
    """Size of the output of a convolution whose window is `window` wide, dilation included.

    Source:
        ``convolutional_out_width`` (src/convolutional_layer.c).
    """
    in_shape = section.in_shape
    for side, name in ((in_shape.w, "width"), (in_shape.h, "height")):
        if side + 2 * pad < window:
            raise section.error(
                f"an input of at least {window} expected, {name} {side} + 2 * {pad} padding found"
            )
    out_w = (in_shape.w + 2 * pad - window) // stride_wh[0] + 1
    out_h = (in_shape.h + 2 * pad - window) // stride_wh[1] + 1
    return out_w, out_h


def _convolution_parameters(
    filters: int, weights: tuple[int, ...], *, batch_normalize: bool
) -> tuple[Parameter, ...]:
    statistics = _statistics(filters) if batch_normalize else []
    return (Parameter("biases", (filters,)), *statistics, Parameter("weights", weights))


def _statistics(channels: int) -> list[Parameter]:
    return [Parameter(name, (channels,)) for name in ("scales", "rolling_mean", "rolling_variance")]


def _shared_layer(section: SectionReader, parameters: tuple[Parameter, ...]) -> int | None:
    """Find the layer whose parameters ``share_index`` names; the first owner where that one shares, too."""
    if section.text("share_layer") is not None:
        raise section.unsupported(
            "share_layer is not supported: Darknet does not read it",
            key="share_layer",
            hint="use share_index",
        )
    if section.text("share_index") is None:
        return None
    (index,) = section.layer_indexes("share_index")[:1]
    owner = section.layers[index]
    if isinstance(owner, Convolutional) and owner.shares is not None:
        owner = section.layers[owner.shares]
    if not isinstance(owner, Convolutional) or owner.parameters != parameters:
        raise section.error(
            "share_index: a [convolutional] with equal filters, size, channels, groups and batch_normalize "
            f"expected, layer {index}, {_described(owner)}, found",
            "share_index",
        )
    return owner.index


def _described(layer: Layer) -> str:
    shapes = ", ".join("x".join(map(str, parameter.shape)) for parameter in layer.parameters)
    return f"[{layer.kind}] with parameters {shapes or 'none'}"
