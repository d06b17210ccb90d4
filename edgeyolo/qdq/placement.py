"""Where the Q/DQ pairs go for each target.

Owns one rule set a target and nothing else: the scales are the same for all. Refuses to rewrite the graph
(`edgeyolo.qdq.insert`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.plan import QuantPlan

__all__ = ["Pair", "Target", "pairs_for"]

Target = Literal["tensorrt", "onnxruntime"]


@dataclass(frozen=True)
class Pair:
    """One Q/DQ pair.

    Args:
        tensor: What is quantised.
        readers: ``(node, input slot)`` of every reader that gets the quantised value; the others keep the
            float one.
        zero_point: 0 for int8; 128 for uint8 where the target's kernels want it. Both hold the same values.
    """

    tensor: str
    readers: tuple[tuple[int, int], ...]
    zero_point: int


def pairs_for(
    view: GraphView, plan: QuantPlan, target: Target, float_layers: Collection[str]
) -> tuple[Pair, ...]:
    """Place the pairs of the activations.

    Args:
        view: The float model.
        plan: Its plan.
        target: Whose rules.
        float_layers: Names of the layers that stay float.

    Returns:
        The pairs, in graph order of their tensors.
    """
    place = _for_tensorrt if target == "tensorrt" else _for_onnxruntime
    return place(view, plan, frozenset(float_layers))


def _for_tensorrt(view: GraphView, plan: QuantPlan, float_layers: frozenset[str]) -> tuple[Pair, ...]:
    """Place by NVIDIA's rules.

    1. The input of every INT8 layer is quantised; its output is not: the next layer's Q does that, so
       nothing stands between a Conv and its activation, and a head's last Conv computes in INT8 and hands
       float values to the float decode.
    2. No pair on a Concat, MaxPool, Resize, Slice ...: TensorRT moves the readers' Q up through them, and
       since a group shares one scale no requantisation is left over.
    3. The skip operand of an Add is quantised, the branch is not: Conv + Add fuse to one INT8 kernel. Where
       the branch comes from a float layer there is nothing to fuse, and so no pair.

    Source: TensorRT developer guide, "Q/DQ layer-placement recommendations".
    """
    readers: dict[str, list[tuple[int, int]]] = {}
    for layer in plan.layers:
        if layer.name not in float_layers:
            readers.setdefault(layer.input, []).append((layer.node, 0))
    float_branches = {layer.output for layer in plan.layers if layer.name in float_layers}
    for residual in plan.residuals:
        if residual.branch in float_branches:
            continue
        slot = list(view.nodes[residual.node].input).index(residual.skip)
        readers.setdefault(residual.skip, []).append((residual.node, slot))
    return tuple(
        Pair(tensor, tuple(sorted(readers[tensor])), 0)
        for group in plan.groups
        for tensor in group
        if tensor in readers
    )


def _for_onnxruntime(view: GraphView, plan: QuantPlan, float_layers: frozenset[str]) -> tuple[Pair, ...]:
    """Place so that ONNX Runtime's integer kernels fuse.

    1. Every tensor between two INT8 layers is quantised, also in front of the activation: QLinearConv must
       end in a Q, and QLinearLeakyRelu, QLinearAdd, QLinearConcat stand between two.
    2. uint8 with zero point 128, which holds the same values as int8 with 0. On x86 ONNX Runtime fuses int8
       activations only after rewriting them to uint8, and it does not rewrite a tensor with two readers: such
       a Conv stays float, with a DQ in front and a Q behind it (a residual net ran 2.9 times slower than
       float because of it).
    3. Every reader gets the quantised value, because a Conv with a float reader does not fuse.
    4. Layers whose result no INT8 layer reads, the heads' last, stay float: there is no Q for them to end in.

    Source: onnxruntime/core/optimizer/qdq_transformer/ (selectors_actions, qdq_s8_to_u8.cc), and measured.
    """
    raw_of_float = {layer.raw_output for layer in plan.layers if layer.name in float_layers}
    found = []
    for group in plan.groups:
        for tensor in group:
            if tensor in raw_of_float:
                continue
            readers = tuple(
                (node, slot)
                for node in dict.fromkeys(view.consumers.get(tensor, ()))
                for slot, name in enumerate(view.nodes[node].input)
                if name == tensor
            )
            if readers:
                found.append(Pair(tensor, readers, 128))
    return tuple(found)
