"""Offsets: a constant taken off a tensor before it is rounded, so that no code is spent on what cannot come.

A SiLU gives nothing below -0.28 and often a good deal above 4; int8 around 0, which is all that TensorRT has,
leaves almost half of its codes unused there. The graph that rounds ``x - c`` instead, ``c`` the middle of the
range, uses all of them: half the step. What reads the tensor is a convolution, and its bias takes ``c`` times
the sum of its weights back, so that the float graph computes what it did.

The subtraction costs no kernel: TensorRT fuses a constant of one value into the pointwise kernel that
computes the SiLU and rounds it. Behind a Relu or LeakyRelu, which are part of the convolution's own kernel,
it would; and where a convolution pads, its zeros would stand for ``c``. Neither is done.

Owns which tensors may have an offset, the graph with them, and the scales of the graph without. Refuses to
choose one (`edgeyolo.calibrate.auto`).

Source:
    NVIDIA, TensorRT developer guide, layer fusion, PointWise: constants of size 1. In the plans of
    TensorRT-RTX 1.7 the kernels are as many with offsets as without (``tools/compiled_kernels.py``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.errors import CalibrationError
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView, attributes_of
from edgeyolo.qdq.grids import FLOORS
from edgeyolo.qdq.layers import offset_name
from edgeyolo.qdq.plan import Layer, QuantPlan, quant_plan
from edgeyolo.qdq.weights import adjusted_weights, nearest_steps, weight_scale
from edgeyolo.scales import Scales, TensorScale

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["model_with_offsets", "offset_floors", "without_offsets"]


def offset_floors(view: GraphView, plan: QuantPlan) -> dict[str, float]:
    """Find the tensors that may have an offset, and the least value of each.

    Returns:
        Tensor to floor: outputs of activations with a pointwise kernel of their own, read by nothing but
        convolutions that do not pad and have a bias to themselves.
    """
    layers = {layer.node: layer for layer in plan.layers}
    users = [name for node in view.nodes for name in node.input]
    alone = {group[0] for group in plan.groups if len(group) == 1}

    def takes(layer: Layer | None) -> bool:
        if layer is None or layer.op != "Conv" or layer.bias is None:
            return False
        attributes = attributes_of(view.nodes[layer.node])
        padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
        flat = np.asarray(view.constant(layer.weight)).ndim == 4
        return flat and not padded and users.count(layer.bias) == 1

    found = {}
    for layer in plan.layers:
        if layer.slope is not None or FLOORS.get(layer.activation or "", 0.0) >= 0:
            continue
        readers = [layers.get(index) for index in view.consumers.get(layer.output, ())]
        inner = layer.output in alone and layer.output not in view.outputs
        if inner and readers and all(map(takes, readers)):
            found[layer.output] = FLOORS[str(layer.activation)]
    return found


def model_with_offsets(model: onnx.ModelProto, offsets: Mapping[str, float]) -> onnx.ModelProto:
    """Write the float graph with offsets; it computes what `model` does.

    Args:
        model: The float model; not changed. One that has the offsets already is given back.
        offsets: Tensor to what is taken off it. The tensor's name is that of the difference from here on.

    Raises:
        CalibrationError: An offset does not fit the model.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if all(offset_name(tensor) in constants for tensor in offsets):
        return model
    view = GraphView(model)
    _require_fitting(offsets, view, quant_plan(view))
    helper = require("onnx.helper", why="to write a graph with offsets")
    numpy_helper = require("onnx.numpy_helper", why="to write a graph with offsets")
    new = type(model)()
    new.CopyFrom(model)
    changed = {}
    for tensor, offset in offsets.items():
        changed[offset_name(tensor)] = np.asarray(offset, np.float32)
        for index in view.consumers[tensor]:
            weights, bias = (np.asarray(view.constant(name)) for name in view.nodes[index].input[1:])
            moved = bias + float(offset) * _sums(weights)
            changed[view.nodes[index].input[2]] = moved.astype(np.float32)
    del new.graph.node[:]
    for node in view.nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        made = [name for name in node.output if name in offsets]
        copy.output[:] = [f"{name}_whole" if name in made else name for name in node.output]
        new.graph.node.append(copy)
        for name in made:
            taken = [f"{name}_whole", offset_name(name)]
            new.graph.node.append(helper.make_node("Sub", taken, [name], name=f"{name}_offset"))
    kept = [tensor for name, tensor in constants.items() if name not in changed]
    del new.graph.initializer[:], new.graph.value_info[:]
    new.graph.initializer.extend(kept)
    new.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in changed.items())
    return new


def without_offsets(view: GraphView, plan: QuantPlan, scales: Scales) -> Scales:
    """Give the same scales for the graph without offsets, for a target that has grids of its own.

    Args:
        view: Of the float model without offsets.
        plan: Of that model.
        scales: For the model with them.

    Returns:
        Scales with ranges around 0 that hold what the ranges around the offsets did, and with biases that
        make up for weights whose sum rounding has changed.

    Raises:
        CalibrationError: An offset does not fit the model.
    """
    _require_fitting(scales.offsets, view, plan)
    tensors = dict(scales.tensors)
    for tensor, offset in scales.offsets.items():
        old = tensors[tensor]
        tensors[tensor] = TensorScale(amax=old.amax + abs(offset), method=old.method)
    plain = dataclasses.replace(scales, offsets={}, tensors=tensors)
    shift = dict(scales.bias_shift)
    exact = adjusted_weights(view, plan, dataclasses.replace(plain, weight_steps={}))
    final = adjusted_weights(view, plan, plain)
    for layer in plan.layers:
        if layer.input in scales.offsets and layer.name not in scales.float_layers:
            own = np.asarray(view.constant(layer.weight))
            weights, stepped = (np.asarray(each.get(layer.weight, own)) for each in (exact, final))
            step = weight_scale(stepped, layer, scales.weight_amax.get(layer.name))
            rounded = nearest_steps(stepped, step) * np.float64(step)[:, None, None, None]
            moved = scales.offsets[layer.input] * (_sums(weights) - _sums(rounded))
            before = np.asarray(shift.get(layer.name, np.zeros(layer.channels)))
            shift[layer.name] = tuple(float(value) for value in before + moved)
    return dataclasses.replace(plain, bias_shift=shift)


def _require_fitting(offsets: Mapping[str, float], view: GraphView, plan: QuantPlan) -> None:
    floors = offset_floors(view, plan)
    for tensor, offset in offsets.items():
        if tensor not in floors or not math.isfinite(offset):
            raise CalibrationError(
                f"offset of {tensor!r}: a finite number for the output of a SiLU, Mish or hard-swish that "
                f"only convolutions without padding read expected, {offset} found",
                hint="calibrate this model again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
            )


def _sums(weights: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Add up the weights of every filter."""
    return np.asarray(np.float64(weights).sum(axis=(1, 2, 3)))
