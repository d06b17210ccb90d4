"""Layers that move or pool pixels to ONNX: maxpool, local_avgpool, avgpool, upsample, reorg, reorg3d, crop.

Source: Darknet src/maxpool_layer.c, src/avgpool_layer.c, src/upsample_layer.c, src/reorg_layer.c,
src/crop_layer.c; src/reorg_old_layer.c of AlexeyAB/darknet; ``reorg_cpu``, ``upsample_cpu`` (src/blas.c).
"""

from __future__ import annotations

from edgeyolo.darknet.emit.builder import Attribute, GraphBuilder
from edgeyolo.darknet.layers import AvgPool, Crop, LocalAvgPool, MaxPool, Reorg, Reorg3d, Upsample

__all__ = [
    "emit_avgpool",
    "emit_crop",
    "emit_local_avgpool",
    "emit_maxpool",
    "emit_reorg",
    "emit_reorg3d",
    "emit_upsample",
]


def emit_maxpool(graph: GraphBuilder, layer: MaxPool, tensor: str) -> str:
    """Append a MaxPool; padding never wins, as in Darknet."""
    return graph.node("MaxPool", (tensor,), layer.name, layer.out_shape, **_window(layer))


def emit_local_avgpool(graph: GraphBuilder, layer: LocalAvgPool, tensor: str) -> str:
    """Append an AveragePool that does not count padding, as in Darknet."""
    return graph.node(
        "AveragePool", (tensor,), layer.name, layer.out_shape, count_include_pad=0, **_window(layer)
    )


def _window(layer: MaxPool | LocalAvgPool) -> dict[str, Attribute]:
    (width, height), (stride_w, stride_h) = layer.size_wh, layer.stride_wh
    (left, top), (right, bottom) = layer.pad_begin_wh, layer.pad_end_wh
    return {
        "kernel_shape": [height, width],
        "strides": [stride_h, stride_w],
        "pads": [top, left, bottom, right],
    }


def emit_avgpool(graph: GraphBuilder, layer: AvgPool, tensor: str) -> str:
    """Append a GlobalAveragePool."""
    return graph.node("GlobalAveragePool", (tensor,), layer.name, layer.out_shape)


def emit_upsample(graph: GraphBuilder, layer: Upsample, tensor: str) -> str:
    """Append a nearest Resize with constant scales, and the factor where it is not 1."""
    scales = graph.shared([1.0, 1.0, layer.stride, layer.stride])
    resized = layer.name if layer.scale == 1 else f"{layer.name}_resized"
    result = graph.node(
        "Resize",
        (tensor, "", scales),
        resized,
        layer.out_shape,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    if layer.scale == 1:
        return result
    return graph.node("Mul", (result, graph.shared(layer.scale)), layer.name, layer.out_shape)


def emit_reorg(graph: GraphBuilder, layer: Reorg, tensor: str) -> str:
    """Append the first Darknet's pass-through, odd index arithmetic included.

    ``reorg_cpu`` gets the sizes of the input in the place of those of the output. So it reads the input's
    memory as ``[c / s^2, h * s, w * s]`` and takes blocks of s by s from that.
    """
    if layer.reverse:
        # The reverse is called with the right sizes, and is depth-to-space.
        return graph.node(
            "DepthToSpace", (tensor,), layer.name, layer.out_shape, blocksize=layer.stride, mode="DCR"
        )
    (c, h, w), s = layer.in_shape, layer.stride
    blocks = graph.reshape(tensor, f"{layer.name}_blocks", (c // s**2, h, s, w, s))
    moved = graph.node(
        "Transpose", (blocks,), f"{layer.name}_moved", (s, s, c // s**2, h, w), perm=[0, 3, 5, 1, 2, 4]
    )
    return graph.reshape(moved, layer.name, layer.out_shape)


def emit_reorg3d(graph: GraphBuilder, layer: Reorg3d, tensor: str) -> str:
    """Append a SpaceToDepth, whose channel order is that of ``[reorg3d]``."""
    if layer.reverse:
        raise graph.refusal(
            layer,
            "reverse=1: Darknet's own result is no inverse of reverse=0",
            hint="use [reorg] reverse=1 or [upsample]",
        )
    return graph.node("SpaceToDepth", (tensor,), layer.name, layer.out_shape, blocksize=layer.stride)


def emit_crop(graph: GraphBuilder, layer: Crop, tensor: str) -> str:
    """Append the cut, then ``x * scale + shift`` where that changes anything."""
    left, top = layer.offset_wh
    _, height, width = layer.out_shape
    result = graph.slice(tensor, f"{layer.name}_cut", (2, 3), (top, left), (top + height, left + width))
    if (layer.scale, layer.shift) == (1, 0):
        return result
    scaled = graph.node("Mul", (result, graph.shared(layer.scale)), f"{layer.name}_scaled", layer.out_shape)
    return graph.node("Add", (scaled, graph.shared(layer.shift)), layer.name, layer.out_shape)
