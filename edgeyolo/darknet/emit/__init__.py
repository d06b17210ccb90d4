"""One emitter a layer kind: what a Darknet layer is in ONNX operators.

Owns the table from layer class to emitter. An emitter appends nodes to a `GraphBuilder` and gives the name of
its result; it reads no file and knows no other layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgeyolo.darknet.dialect import Dialect
from edgeyolo.darknet.emit.builder import BATCH_NAME, GraphBuilder
from edgeyolo.darknet.emit.heads import (
    Decoded,
    emit_detection,
    emit_gaussian_yolo,
    emit_region,
    emit_yolo,
)
from edgeyolo.darknet.emit.joining import emit_route, emit_sam, emit_scale_channels, emit_shortcut
from edgeyolo.darknet.emit.pointwise import emit_activation_only, emit_l2norm, emit_softmax
from edgeyolo.darknet.emit.spatial import (
    emit_avgpool,
    emit_crop,
    emit_local_avgpool,
    emit_maxpool,
    emit_reorg,
    emit_reorg3d,
    emit_upsample,
)
from edgeyolo.darknet.emit.weighted import (
    Arrays,
    emit_batchnorm,
    emit_connected,
    emit_convolutional,
    emit_deconvolutional,
)
from edgeyolo.darknet.layers import (
    ActivationOnly,
    AvgPool,
    BatchNorm,
    Connected,
    Convolutional,
    Cost,
    Crop,
    Deconvolutional,
    Detection,
    Dropout,
    GaussianYolo,
    L2Norm,
    Layer,
    LocalAvgPool,
    MaxPool,
    Region,
    Reorg,
    Reorg3d,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)

__all__ = ["BATCH_NAME", "HEADS", "Arrays", "Decoded", "GraphBuilder", "emit_head", "emit_layer"]

# The value type of each table is one signature; its first argument's class is the key, which mypy cannot say.
_WEIGHTED: dict[type[Layer], Callable[[GraphBuilder, Any, str, Arrays, Dialect], str]] = {
    Convolutional: emit_convolutional,
    Deconvolutional: emit_deconvolutional,
    Connected: emit_connected,
    BatchNorm: emit_batchnorm,
}
_JOINING: dict[type[Layer], Callable[[GraphBuilder, Any, Sequence[str]], str]] = {
    Route: emit_route,
    ScaleChannels: emit_scale_channels,
    Sam: emit_sam,
}
_PLAIN: dict[type[Layer], Callable[[GraphBuilder, Any, str], str]] = {
    MaxPool: emit_maxpool,
    LocalAvgPool: emit_local_avgpool,
    AvgPool: emit_avgpool,
    Upsample: emit_upsample,
    Reorg: emit_reorg,
    Reorg3d: emit_reorg3d,
    Crop: emit_crop,
    ActivationOnly: emit_activation_only,
    L2Norm: emit_l2norm,
    Softmax: emit_softmax,
}
_IDENTITY = (Dropout, Cost)
HEADS: dict[type[Layer], Callable[[GraphBuilder, Any, str, tuple[int, int]], Decoded]] = {
    Yolo: emit_yolo,
    GaussianYolo: emit_gaussian_yolo,
    Region: emit_region,
    Detection: emit_detection,
}


def emit_layer(
    graph: GraphBuilder, layer: Layer, tensors: Sequence[str], arrays: Arrays, dialect: Dialect
) -> str:
    """Append the nodes of one layer that is not a head.

    Args:
        graph: What grows.
        layer: The layer.
        tensors: Names of its inputs, in the order of ``layer.inputs``.
        arrays: Its parameters; empty for a layer without.
        dialect: How batch normalisation divides.

    Returns:
        Name of the result; that of the input where the layer is nothing at inference.

    Raises:
        UnsupportedOpError: No emitter knows the layer, or the emitter refuses one of its fields.
    """
    kind = type(layer)
    if kind in _WEIGHTED:
        return _WEIGHTED[kind](graph, layer, tensors[0], arrays, dialect)
    if kind in _PLAIN:
        return _PLAIN[kind](graph, layer, tensors[0])
    if kind in _JOINING:
        return _JOINING[kind](graph, layer, tensors)
    if isinstance(layer, Shortcut):
        return emit_shortcut(graph, layer, tensors, arrays)
    if isinstance(layer, _IDENTITY):
        return tensors[0]
    raise graph.refusal(layer, "cannot be written as ONNX", hint="choose a model without this layer")


def emit_head(graph: GraphBuilder, layer: Layer, tensor: str, input_wh: tuple[int, int]) -> Decoded:
    """Append the decode of a detection head; `input_wh` is the network input in pixels."""
    return HEADS[type(layer)](graph, layer, tensor, input_wh)
