"""Layers that keep the shape to ONNX: activation, l2norm, softmax; dropout and cost are nothing at inference.

Source: Darknet src/activation_layer.c, src/l2norm_layer.c, src/softmax_layer.c, src/dropout_layer.c,
src/cost_layer.c.
"""

from __future__ import annotations

from edgeyolo.darknet.emit.activations import emit_activation
from edgeyolo.darknet.emit.builder import GraphBuilder
from edgeyolo.darknet.layers import ActivationOnly, L2Norm, Softmax

__all__ = ["emit_activation_only", "emit_l2norm", "emit_softmax"]


def emit_activation_only(graph: GraphBuilder, layer: ActivationOnly, tensor: str) -> str:
    """Append the activation."""
    return emit_activation(graph, layer.activation, tensor, layer.name, layer.out_shape)


def emit_l2norm(graph: GraphBuilder, layer: L2Norm, tensor: str) -> str:
    """Append an LpNormalization over the channels."""
    return graph.node("LpNormalization", (tensor,), layer.name, layer.out_shape, axis=1, p=2)


def emit_softmax(graph: GraphBuilder, layer: Softmax, tensor: str) -> str:
    """Append a Softmax over each group of the flattened input, or over the channels of each pixel.

    Raises:
        UnsupportedOpError: A softmax over a class hierarchy.
    """
    if layer.tree is not None:
        raise graph.refusal(
            layer,
            f"tree={layer.tree}: a class hierarchy (YOLO9000) is not supported",
            hint="use a cfg without tree=",
        )
    if layer.temperature != 1:
        temperature = graph.shared(layer.temperature)
        tensor = graph.node("Div", (tensor, temperature), f"{layer.name}_cooled", layer.in_shape)
    flat = layer.in_shape.h * layer.in_shape.w == 1 and layer.groups == 1
    if flat or layer.spatial:
        return graph.node("Softmax", (tensor,), layer.name, layer.out_shape, axis=1)
    parts = (layer.groups, layer.in_shape.size // layer.groups)
    grouped = graph.reshape(tensor, f"{layer.name}_grouped", parts)
    result = graph.node("Softmax", (grouped,), f"{layer.name}_softmax", parts, axis=2)
    return graph.reshape(result, layer.name, layer.out_shape)
