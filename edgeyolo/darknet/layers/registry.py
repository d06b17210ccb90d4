"""Which class reads which section kind, and which kinds are refused, with the reason.

Owns the two tables and the checks that hold for every layer. Adding a layer is a class with ``read`` and a
line here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from edgeyolo.darknet.layers.base import Layer
from edgeyolo.darknet.layers.heads import Detection, GaussianYolo, Region, Yolo
from edgeyolo.darknet.layers.joining import Route, Sam, ScaleChannels, Shortcut
from edgeyolo.darknet.layers.pointwise import ActivationOnly, Cost, Dropout, L2Norm, Softmax
from edgeyolo.darknet.layers.reader import SectionReader
from edgeyolo.darknet.layers.spatial import AvgPool, Crop, LocalAvgPool, MaxPool, Reorg, Reorg3d, Upsample
from edgeyolo.darknet.layers.weighted import BatchNorm, Connected, Convolutional, Deconvolutional

__all__ = ["check_kind", "layer_from_section"]

# Source: ``string_to_layer_type`` (src/parser.c) of both Darknets.
_READERS: dict[str, Callable[[SectionReader], Layer]] = {
    "convolutional": Convolutional.read,
    "conv": Convolutional.read,
    "deconvolutional": Deconvolutional.read,
    "deconv": Deconvolutional.read,
    "connected": Connected.read,
    "conn": Connected.read,
    "batchnorm": BatchNorm.read,
    "maxpool": MaxPool.read,
    "max": MaxPool.read,
    "local_avgpool": LocalAvgPool.read,
    "local_avg": LocalAvgPool.read,
    "avgpool": AvgPool.read,
    "avg": AvgPool.read,
    "upsample": Upsample.read,
    "reorg": Reorg.read,
    "reorg3d": Reorg3d.read,
    "crop": Crop.read,
    "route": Route.read,
    "shortcut": Shortcut.read,
    "scale_channels": ScaleChannels.read,
    "sam": Sam.read,
    "activation": ActivationOnly.read,
    "logistic": ActivationOnly.read_logistic,
    "l2norm": L2Norm.read,
    "dropout": Dropout.read,
    "softmax": Softmax.read,
    "soft": Softmax.read,
    "cost": Cost.read,
    "yolo": Yolo.read,
    "Gaussian_yolo": GaussianYolo.read,
    "region": Region.read,
    "detection": Detection.read,
}

_RECURRENT = "it keeps a state from one frame to the next, and a detector here sees one frame at a time"
_REFUSED = {
    **dict.fromkeys(("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"), _RECURRENT),
    **dict.fromkeys(("normalization", "lrn"), "local response normalisation, which no YOLO uses"),
    "local": "a convolution with other weights at each pixel, which no YOLO since the first uses",
    "iseg": "instance segmentation",
    "contrastive": "a loss, of training only",
    "implicit": "YOLOR's learned constants",
    "empty": "it has no meaning of its own",
}

# Darknet counts in C's int; what does not fit there never ran.
_MAX_VALUES = 2**31 - 1
# They change which layers the file holds or how many filters of them; Darknet's own saved files hold all.
_LOADING_KEYS = ("dontload", "dontloadscales", "numload")


def layer_from_section(section: SectionReader) -> Layer:
    """Resolve one section.

    Args:
        section: The section after the layers before it.

    Returns:
        Its layer.

    Raises:
        CfgError: An option is wrong, or sizes do not fit.
        UnsupportedOpError: The kind or an option is refused by name.
    """
    check_kind(section)
    for key in _LOADING_KEYS:
        if section.integer(key, 0) != 0:
            raise section.unsupported(
                f"{key} leaves parameters of this layer at random values; it is meant to start a training",
                key=key,
                hint=f"remove {key}: a .weights file that Darknet saved holds every layer",
            )
    layer = _READERS[section.kind](section)
    if min(layer.out_shape) < 1:
        raise section.error(f"an output of at least 1x1x1 expected, {layer.out_shape} found")
    for what, size in [("output", layer.out_shape.size)] + [(p.name, p.size) for p in layer.parameters]:
        if size > _MAX_VALUES:
            raise section.error(f"{what} of at most {_MAX_VALUES} values expected, {size} found")
    return layer


def check_kind(section: SectionReader) -> None:
    """Check that a section is a layer that EdgeYOLO reads.

    Raises:
        UnsupportedOpError: It is refused, with the reason, or not known.
    """
    if section.kind in _READERS:
        return
    reason = _REFUSED.get(section.kind)
    if reason is not None:
        raise section.unsupported(f"is not supported: {reason}", hint="choose a model without this layer")
    close = difflib.get_close_matches(section.kind, list(_READERS), n=1)
    lead = f"did you mean [{close[0]}]? " if close else ""
    raise section.unsupported(
        "is no layer that EdgeYOLO knows", hint=f"{lead}the known ones are {', '.join(sorted(_READERS))}"
    )
