"""Which layers compute in INT8 on each target, and where the Q/DQ pairs go.

Owns one rule set a target and nothing else: the scales are the same for all. Refuses to rewrite the graph
(`edgeyolo.qdq.insert`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from edgeyolo.machine import has_vnni
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.plan import Layer, QuantPlan
from edgeyolo.scales import Scales

__all__ = ["Pair", "Target", "exact_int8", "float_layers_on", "int8_layers", "pairs_for"]

Target = Literal["tensorrt", "onnxruntime"]

_READS_PICTURE = "it reads the picture, where onnxruntime's INT8 is no faster"


def exact_int8() -> dict[str, str]:
    """Give the session options of ONNX Runtime under which its INT8 is exact on this processor.

    x86 processors without VNNI multiply uint8 by int8 in pairs that saturate at 16 bits; exact kernels are an
    option there. Measured under qemu's Haswell and Skylake on a net of five layers: error 0.0181 by default,
    0.0108 with it, as with VNNI, where the option would cost 1.6 to 1.9 times the time for the same numbers.

    Source: onnxruntime_session_options_config_keys.h, kOrtSessionOptionsAvx2PrecisionMode.
    """
    return {} if has_vnni() else {"session.x64quantprecision": "1"}


@dataclass(frozen=True)
class Pair:
    """One Q/DQ pair.

    Args:
        tensor: What is quantised.
        readers: ``(node, input slot)`` of every reader that gets the quantised value; the others keep the
            float one.
    """

    tensor: str
    readers: tuple[tuple[int, int], ...]


def float_layers_on(target: Target, plan: QuantPlan, scales: Scales) -> dict[str, str]:
    """Give the layers that a target is to leave in float, and why.

    On ONNX Runtime the layer that reads the picture is one of them. Its three channels do not fill a kernel
    that takes four codes at once, and its result is large: in INT8 it takes as long as in float (yolov3,
    yolo-fastest-1.1 and its xl, on AVX-512 VNNI) or longer (by ``edgeyolo build`` yolov3-tiny was 2.0 times
    faster than FP32 with it in INT8, and is 2.2 times faster).
    """
    if target == "tensorrt":
        return dict(scales.float_layers)
    first = {layer.name: _READS_PICTURE for layer in plan.layers if layer.input in plan.inputs}
    left = {**first, **scales.float_layers}
    return {name: why for name, why in left.items() if name not in scales.int8_on_onnxruntime}


def int8_layers(plan: QuantPlan, target: Target, scales: Scales) -> tuple[Layer, ...]:
    """Give the layers that compute in INT8 on `target`.

    ONNX Runtime computes more in float than the scales say:

    1. A layer whose result no INT8 layer reads (the heads' last): an integer kernel ends in a Q.
    2. A layer whose result a float layer reads, as it is or joined with others (Concat, Split, a residual
       sum ...). It would be rounded for that reader too, and a layer is left in float because its input
       cannot be: the depthwise convolution behind the first SiLU of yolox_nano makes three quarters of all
       error. Measured, error at the outputs with this rule and without: yolox_nano 0.012 and 0.66 (0.014 on
       TensorRT), yolo-fastest-1.1-xl 0.021 and 0.043, and both ran 4 to 7 % faster with it: convolutions
       around a float one that have to round for it cost more than they save. For what is joined, by the
       same measure: one YOLOv8n of three 0.013 and 0.032, xl 0.018 and 0.019, and xl runs 10 % slower.

    Args:
        plan: Of the float model.
        target: Whose rules.
        scales: For it.
    """
    left = float_layers_on(target, plan, scales)
    layers = [layer for layer in plan.layers if layer.name not in left]
    if target == "tensorrt":
        return tuple(layers)
    read_in_float = _with_what_goes_in({layer.input for layer in plan.layers if layer.name in left}, plan)
    return tuple(
        layer
        for layer in layers
        if {layer.raw_output, layer.output} <= scales.tensors.keys() and layer.output not in read_in_float
    )


def _with_what_goes_in(tensors: Collection[str], plan: QuantPlan) -> frozenset[str]:
    """Add what movers and residual sums make `tensors` of, all the way back."""
    found: set[str] = set()
    pending = list(tensors)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += plan.made_of.get(name, ())
    return frozenset(found)


def pairs_for(
    view: GraphView, plan: QuantPlan, target: Target, layers: Collection[Layer]
) -> tuple[Pair, ...]:
    """Place the pairs of the activations.

    Args:
        view: The float model.
        plan: Its plan.
        target: Whose rules.
        layers: `int8_layers` of the target.

    Returns:
        The pairs, in graph order of their tensors.
    """
    place = _for_tensorrt if target == "tensorrt" else _for_onnxruntime
    return place(view, plan, layers)


def _for_tensorrt(view: GraphView, plan: QuantPlan, layers: Collection[Layer]) -> tuple[Pair, ...]:
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
    for layer in layers:
        readers.setdefault(layer.input, []).append((layer.node, 0))
    float_branches = {layer.output for layer in plan.layers} - {layer.output for layer in layers}
    for residual in plan.residuals:
        if residual.branch in float_branches:
            continue
        slot = list(view.nodes[residual.node].input).index(residual.skip)
        readers.setdefault(residual.skip, []).append((residual.node, slot))
    return tuple(
        Pair(tensor, tuple(sorted(readers[tensor])))
        for group in plan.groups
        for tensor in group
        if tensor in readers
    )


def _for_onnxruntime(view: GraphView, plan: QuantPlan, layers: Collection[Layer]) -> tuple[Pair, ...]:
    """Place so that ONNX Runtime's integer kernels fuse.

    1. Every tensor that INT8 arithmetic makes is quantised, also in front of the activation: QLinearConv must
       end in a Q, and QLinearLeakyRelu, QLinearSigmoid and QLinearMul (a SiLU), QLinearAdd, QLinearConcat
       stand between two.
    2. Every reader of such a tensor gets the quantised value: a Conv with a float reader does not fuse.
    3. What float arithmetic makes, and the picture, is quantised where INT8 arithmetic reads it and not
       before: slices of the picture (a Focus layer) become one SpaceToDepth only in float.

    All of it is uint8: on x86 ONNX Runtime fuses int8 activations only after rewriting them to uint8, and it
    does not rewrite a tensor with two readers: such a Conv stays float, with a DQ in front and a Q behind it
    (a residual net ran 2.9 times slower than float because of it).

    Source: onnxruntime/core/optimizer/qdq_transformer/ (selectors_actions, qdq_s8_to_u8.cc), and measured.
    """
    made = _made_in_int8(plan, layers)

    def reads_int8(node: int, tensor: str) -> bool:
        return tensor in made or any(name in made for name in view.nodes[node].output)

    gates = [layer.gate for layer in plan.layers if layer.gate in made]
    found = []
    for tensor in [*(name for group in plan.groups for name in group), *gates]:
        readers = tuple(
            (node, slot)
            for node in dict.fromkeys(view.consumers.get(tensor, ()))
            if reads_int8(node, tensor)
            for slot, name in enumerate(view.nodes[node].input)
            if name == tensor
        )
        if readers:
            found.append(Pair(tensor, readers))
    return tuple(found)


def _made_in_int8(plan: QuantPlan, layers: Collection[Layer]) -> frozenset[str]:
    """Give the tensors that ONNX Runtime makes in INT8: layers', and what moves or adds them on."""
    known = plan.group_of
    made: set[str] = set()
    for layer in layers:
        if layer.raw_output in known and layer.output in known:
            made |= {layer.raw_output, layer.output, layer.gate or layer.output}
    for name, parts in plan.made_of.items():  # in graph order, so that it reaches all that is behind
        if not made.isdisjoint(parts):
            made.add(name)
    return frozenset(made)
