"""A Darknet network: its layers in order, the input they were sized for, what the whole of it costs.

Owns `Network` and the walk from cfg sections to layers. Refuses to read text (``cfg``), weights (``weights``)
or to know how any section is read (``layers``).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.cfg import MAX_WARNINGS, Cfg
from edgeyolo.darknet.layers import AnchorHead, Detection, Layer, Shape
from edgeyolo.darknet.layers.reader import SectionReader
from edgeyolo.darknet.layers.registry import check_kind, layer_from_section
from edgeyolo.darknet.training_keys import ALEXEYAB_KEYS, LAYER_KEYS, NET_KEYS
from edgeyolo.errors import CfgError, ConfigError

__all__ = ["Network", "Parameters", "network_from_cfg"]

Parameters = Mapping[int, Mapping[str, npt.NDArray[np.float32]]]
"""Layer index to Darknet's array name to array, shaped as the layer's `parameters` say."""

# Wider than any camera; Darknet's own C ints end at 46340 x 46340.
_MAX_SIDE = 16384


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers with every size known.

    Args:
        source: The cfg it came from, a path or the name of a built-in architecture; for messages.
        input_shape: Channels, height, width of the network input.
        layers: In cfg order; ``layers[i].index == i``.
        stretched: Why the Darknet of this cfg stretches a picture to the network input; empty where it
            letterboxes. AlexeyAB's stretches unless ``[net] letter_box=1``; pjreddie's never does.
        warnings: What a user should be told of the cfg, each with file and line: options that nothing read,
            keys given twice.
    """

    source: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    stretched: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def parameter_count(self) -> int:
        """Floats in the ``.weights`` file, without the header."""
        return sum(layer.parameter_count for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture; Darknet's "BFLOPs" are ``2 * macs / 1e9``."""
        return sum(layer.macs for layer in self.layers)

    @property
    def heads(self) -> tuple[AnchorHead | Detection, ...]:
        """Detection heads in cfg order; empty for a classifier."""
        return tuple(layer for layer in self.layers if isinstance(layer, (AnchorHead, Detection)))


def network_from_cfg(cfg: Cfg, *, input_wh: tuple[int, int] | None = None) -> Network:
    r"""Resolve every section of a cfg.

    Args:
        cfg: What ``read_cfg`` or ``architecture`` gave.
        input_wh: Another network input, width and height in pixels, in place of the cfg's.

    Returns:
        The network.

    Raises:
        CfgError: A section is wrong or does not fit the layers before it; with its line.
        UnsupportedOpError: A layer or an option is refused by name; with its line.
        ConfigError: The network cannot take `input_wh`.

    Source:
        ``parse_network_cfg`` (src/parser.c).

    Examples:
        >>> from edgeyolo.darknet.cfg import parse_cfg
        >>> options = "filters=8\nsize=3\nstride=2\npad=1"
        >>> text = f"[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\n{options}"
        >>> network = network_from_cfg(parse_cfg(text, source="text"))
        >>> network.layers[0].out_shape, network.parameter_count, network.macs
        (Shape(c=8, h=16, w=16), 224, 55296)
    """
    nothing = Shape(0, 0, 0)
    for section in cfg.sections:
        check_kind(SectionReader(section, source=cfg.source, input_shape=nothing, layers=()))
    net = SectionReader(cfg.net, source=cfg.source, input_shape=nothing, layers=())
    input_shape = _input_shape(net)
    stretched = _why_stretched(cfg, net)
    net.integer("batch", 1, at_least=1)
    net.integer("subdivisions", 1, at_least=1)
    warnings = [*cfg.warnings]
    warnings += itertools.islice(net.unread(NET_KEYS), MAX_WARNINGS - len(warnings))
    if not cfg.sections:
        raise CfgError(
            "at least one layer expected after [net], none found", path=cfg.source, line=cfg.net.line
        )
    layers = _layers_from_sections(cfg, input_shape, warnings)
    if input_wh is not None and (input_shape.w, input_shape.h) != input_wh:
        resized = _resized_shape(cfg, input_shape, input_wh)
        layers = _resized(cfg, layers, input_shape, resized)
        input_shape = resized
    if len(warnings) == MAX_WARNINGS:
        warnings.append(f"{cfg.source}: further warnings are not listed")
    return Network(
        source=cfg.source,
        input_shape=input_shape,
        layers=layers,
        stretched=stretched,
        warnings=tuple(warnings),
    )


def _why_stretched(cfg: Cfg, net: SectionReader) -> str:
    """Tell by which line of a cfg its Darknet stretches pictures, if it does.

    Source:
        ``resize_image`` against ``letterbox_image`` in ``test_detector`` (src/detector.c of AlexeyAB's
        Darknet); ``test_detector`` (examples/detector.c of pjreddie's) has the latter only.
    """
    if net.text("letter_box") is not None:
        return "" if net.flag("letter_box") else "letter_box=0"
    for section in (cfg.net, *cfg.sections):
        for option in section.options:
            if option.key in ALEXEYAB_KEYS:
                return f"line {option.line}, {option.key}, is AlexeyAB's, and no letter_box=1"
    return ""


def _input_shape(net: SectionReader) -> Shape:
    for key in ("channels", "height", "width"):
        if net.text(key) is None:
            raise net.error(f"{key}=... expected, none found", hint="[net] needs width, height and channels")
    shape = Shape(*(net.integer(key, 0, at_least=1) for key in ("channels", "height", "width")))
    if max(shape) > _MAX_SIDE:
        raise net.error(f"an input of at most {_MAX_SIDE} a side expected, {shape} found", "width")
    return shape


def _layers_from_sections(cfg: Cfg, input_shape: Shape, warnings: list[str]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for section in cfg.sections:
        reader = SectionReader(section, source=cfg.source, input_shape=input_shape, layers=layers)
        layers.append(layer_from_section(reader))
        # A fuzzed cfg has a hundred thousand unknown keys, and each is compared with all known ones.
        warnings += itertools.islice(reader.unread(LAYER_KEYS), MAX_WARNINGS - len(warnings))
    return tuple(layers)


def _resized_shape(cfg: Cfg, input_shape: Shape, input_wh: tuple[int, int]) -> Shape:
    width, height = input_wh
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise ConfigError(
            f"{cfg.source}: an input size of 1 to {_MAX_SIDE} a side expected, {width}x{height} found"
        )
    return Shape(input_shape.c, height, width)


def _resized(
    cfg: Cfg, layers: tuple[Layer, ...], input_shape: Shape, resized_shape: Shape
) -> tuple[Layer, ...]:
    """Resolve the sections again for another input, and tell what sizes would do where this one does not."""
    size = f"{resized_shape.w}x{resized_shape.h}"
    try:
        resized = _layers_from_sections(cfg, resized_shape, [])
    except CfgError as exc:
        step = max(input_shape.w // layer.out_shape.w for layer in layers)
        if any(isinstance(layer, AnchorHead) for layer in layers):
            step = max(layer.stride_wh[0] for layer in layers if isinstance(layer, AnchorHead))
        low = max(step, resized_shape.w // step * step)
        raise ConfigError(
            f"this network cannot take an input of {size}: {exc.message}",
            hint=f"a width and height that are multiples of {step}, such as {low} or {low + step}",
        ) from exc
    for before, after in zip(layers, resized, strict=True):
        if before.parameters != after.parameters:
            raise ConfigError(
                f"{cfg.source}:{after.line}: this network takes an input of {input_shape.w}x{input_shape.h} "
                f"only, {size} asked: the weights of layer {after.index} [{after.kind}] depend on it",
                hint=f"leave the size out, or give {input_shape.w}x{input_shape.h}",
            )
    return resized
