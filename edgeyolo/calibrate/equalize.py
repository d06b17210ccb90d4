"""Cross-layer equalisation: even out the channels of a tensor by moving range into the weights around it.

A tensor has one scale for all its channels, weights have one for each; so a channel that stays small wastes
the steps of its tensor and costs its weights nothing. Between layers with nothing but positively homogeneous
operators (LeakyRelu, Relu, Add, MaxPool, Resize) a channel can be divided by any positive factor in front
and multiplied behind, and the float network computes what it did.

Owns the search for such tensors and the choice of their factors. Refuses to touch weights
(`edgeyolo.qdq.weights` does, from the scales file).

Source:
    Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019
    (arXiv 1906.04721), there for per-tensor weights. Xiao et al., "SmoothQuant", 2022 (arXiv 2211.10438),
    for the share of the range that goes into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.layers import Layer
from edgeyolo.qdq.plan import QuantPlan

__all__ = ["ChannelGroup", "channel_groups", "equalizing_factors"]

# Operators that keep channels apart and pass a positive factor through.
_CHANNELWISE = frozenset(
    {"Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "AveragePool"}
)
_SPATIAL_RESIZE = frozenset({"Resize", "Upsample"})
_SHARE = (
    0.7  # of a channel's range that goes into the weights of an ordinary layer; all of it before depthwise
)
_FLOOR = 1e-3  # a channel below this share of the largest is not blown up further


@dataclass(frozen=True)
class ChannelGroup:
    """Tensors whose channels can only be scaled together.

    Args:
        tensors: Their names, in graph order.
        makers: Layers whose (activated) output is one of them.
        readers: Layers that read one of them.
    """

    tensors: tuple[str, ...]
    makers: tuple[Layer, ...]
    readers: tuple[Layer, ...]

    @property
    def depthwise(self) -> bool:
        """Whether every reader keeps the channels apart, so that a factor costs its weights nothing."""
        return all(reader.groups == self.makers[0].channels for reader in self.readers)


def channel_groups(view: GraphView, plan: QuantPlan) -> tuple[ChannelGroup, ...]:
    """Find the tensors that can be equalised.

    Returns:
        The groups, in graph order. A group is left out as soon as one of its tensors is the network's input
        or output, or meets an operator that is not channelwise and positively homogeneous.
    """
    made = {layer.output: layer for layer in plan.layers}
    read: dict[str, list[Layer]] = {}
    for layer in plan.layers:
        read.setdefault(layer.input, []).append(layer)
    found, seen = [], set()
    for layer in plan.layers:
        if layer.output in seen or layer.output not in plan.group_of:
            continue
        tensors = _closure(view, layer.output, made)
        seen |= tensors
        if not all(_may_scale(view, tensor, made, read) for tensor in tensors):
            continue
        order = [t for node in view.nodes for t in node.output if t in tensors]
        group = ChannelGroup(
            tuple(order),
            tuple(made[t] for t in order if t in made),
            tuple(reader for t in order for reader in read.get(t, ())),
        )
        if group.readers and len({maker.channels for maker in group.makers}) == 1:
            found.append(group)
    return tuple(found)


def _closure(view: GraphView, tensor: str, made: Mapping[str, Layer]) -> set[str]:
    """Collect what Adds and channelwise operators tie to `tensor`."""
    tensors, pending = set(), [tensor]
    while pending:
        name = pending.pop()
        if name in tensors:
            continue
        tensors.add(name)
        around = [view.nodes[i] for i in view.consumers.get(name, ())]
        node = view.node_of(name)
        if node is not None and name not in made:
            around.append(node)
        for node in around:
            if _ties(view, node):
                pending += [t for t in (*node.input, *node.output) if t and not view.is_constant(t)]
    return tensors


def _ties(view: GraphView, node: object) -> bool:
    op = node.op_type  # type: ignore[attr-defined]
    if op == "Add":
        shapes = [view.shapes.get(name) for name in node.input]  # type: ignore[attr-defined]
        constant = any(view.is_constant(name) for name in node.input)  # type: ignore[attr-defined]
        return shapes[0] is not None and shapes[0] == shapes[1] and not constant
    return op in _CHANNELWISE or (op in _SPATIAL_RESIZE and _keeps_channels(view, node))


def _keeps_channels(view: GraphView, node: object) -> bool:
    before = view.shapes.get(node.input[0], ())  # type: ignore[attr-defined]
    after = view.shapes.get(node.output[0], ())  # type: ignore[attr-defined]
    return len(before) == len(after) == 4 and before[1] == after[1]


def _may_scale(
    view: GraphView, tensor: str, made: Mapping[str, Layer], read: Mapping[str, list[Layer]]
) -> bool:
    """Tell whether everything that makes or reads `tensor` can take part."""
    if tensor in view.inputs or tensor in view.outputs:
        return False
    maker = made.get(tensor)
    if maker is not None:
        if maker.op != "Conv" or (maker.activation is not None and maker.slope is None):
            return False
    else:
        node = view.node_of(tensor)
        if node is None or not _ties(view, node):
            return False
    layers = {layer.node: layer for layer in read.get(tensor, ())}
    for index in view.consumers.get(tensor, ()):
        layer = layers.get(index)
        if layer is None and not _ties(view, view.nodes[index]):
            return False
        if layer is not None and layer.op != "Conv":
            return False
    return True


def equalizing_factors(
    view: GraphView,
    groups: tuple[ChannelGroup, ...],
    channel_amax: Mapping[str, npt.NDArray[np.float32]],
    *,
    share: float = _SHARE,
) -> dict[str, tuple[float, ...]]:
    """Choose the factors of every group.

    Args:
        view: The float model.
        groups: Of that model.
        channel_amax: Largest magnitude of every channel, of the tensors that were looked at.
        share: Of a channel's range that goes into the weights; 1 evens out the tensor completely, 0 the
            weights. Depthwise readers take all of it, whatever `share` says.

    Returns:
        Tensor name to its factors, for `edgeyolo.scales.Scales.channel_factors`.
    """
    factors: dict[str, tuple[float, ...]] = {}
    for group in groups:
        known = [channel_amax[tensor] for tensor in group.tensors if tensor in channel_amax]
        if not known:
            continue
        ranges = _floored(np.max(known, axis=0))
        own = 1.0 if group.depthwise else share
        weights = _floored(np.max([_input_range(view, layer) for layer in group.readers], axis=0))
        wanted = ranges**own / weights ** (1 - own)
        wanted = wanted / np.exp(np.log(wanted).mean())
        values = tuple(float(f"{value:.6g}") for value in wanted)
        factors.update(dict.fromkeys(group.tensors, values))
    return factors


def _floored(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    top = float(values.max())
    return np.maximum(np.asarray(values, np.float64), top * _FLOOR) if top > 0 else np.ones(len(values))


def _input_range(view: GraphView, layer: Layer) -> npt.NDArray[np.float64]:
    """Give the largest weight that reads each input channel."""
    weights = np.abs(np.asarray(view.constant(layer.weight), np.float64))
    out, per_group = weights.shape[:2]
    largest = weights.reshape(layer.groups, out // layer.groups, per_group, -1).max(axis=(1, 3))
    return np.asarray(largest.reshape(-1))
