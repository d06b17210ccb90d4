"""The derivative of an ONNX graph as an ONNX graph: reverse-mode differentiation for detectors.

A gradient says of hundreds of scales at once which way each should go, for about three forward passes; trying
one scale after the other costs two passes each. ONNX Runtime computes it like any other graph, so nothing but
the packages of calibration is needed.

Owns the walk from the outputs back and the bookkeeping. The derivative of an operator is in
`edgeyolo.calibrate.derivatives`. Refuses to know what is learnt (`edgeyolo.calibrate.learn`).

Source:
    Esser et al., "Learned Step Size Quantization", 2019 (arXiv 1902.08153), for the derivative of a rounded
    value by its step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.backward import Backward
from edgeyolo.calibrate.derivatives import DERIVATIVES
from edgeyolo.optional import require
from edgeyolo.qdq.graph import attributes_of
from edgeyolo.scales import LEVELS

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["Differentiable", "cotangent_name", "differentiable", "gradient_name"]

_PREFIX = "edgeyolo/gradient"
_LEAST_OPSET = 16  # ScatterElements-16 adds up; it alone is new to the graph


def cotangent_name(output: str) -> str:
    """Name the input that takes the derivative of the error by an output."""
    return f"{_PREFIX}/by/{output}"


def gradient_name(tensor: str) -> str:
    """Name the output that has the derivative of the error by the logarithm of a tensor's steps."""
    return f"{_PREFIX}/of/{tensor}"


@dataclass(frozen=True)
class Differentiable:
    """A Q/DQ graph whose steps are inputs and which computes derivatives.

    Args:
        forward: The graph with its steps as inputs, and with what `backward` reads as further outputs.
        backward: From the derivative of the error by each output (`cotangent_name`), the steps, the image and
            what `forward` `saved`, the derivative of the error by the logarithm of each step
            (`gradient_name`).
        saved: Names of the latter; a graph output can be among them.
        steps: Quantised tensor to the input that holds its steps, one a channel.
        channels: Quantised tensor to its channels.
        reached: The tensors that have a derivative: a way to the outputs is not stopped.
        stopped: Operators without a derivative here that a gradient would have passed.
    """

    forward: bytes
    backward: bytes
    saved: tuple[str, ...]
    steps: Mapping[str, str]
    channels: Mapping[str, int]
    reached: tuple[str, ...]
    stopped: tuple[str, ...]


def differentiable(int8: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> Differentiable:
    """Make the steps of a Q/DQ graph inputs, and differentiate by them.

    Args:
        int8: Of `edgeyolo.qdq.int8_model`, target ``tensorrt``. Its weights stay float here.
        shapes: Of the tensors of the float graph, for one image.

    Returns:
        Both graphs.
    """
    onnx = require("onnx", why="to differentiate a model")
    model: Any = onnx.ModelProto()
    model.CopyFrom(int8)
    for entry in model.opset_import:
        if entry.domain == "":
            entry.version = max(entry.version, _LEAST_OPSET)
    constants = _constants(model)
    _free_weights(model, constants)
    _chain_pools(model.graph.node)
    pairs = _open_steps(model, constants, shapes)
    count = len(model.graph.node)
    walk = _Walk(model, constants, shapes, pairs)
    gradients = walk.back()
    forward, backward = _parted(model, count, walk)
    made = {name for node in forward.graph.node for name in node.output}
    saved = tuple(value.name for value in backward.graph.input if value.name in made)
    for tensor, gradient in gradients.items():
        name = gradient_name(tensor)
        backward.graph.node.append(onnx.helper.make_node("Identity", [gradient], [name]))
        backward.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return Differentiable(
        forward=_serialised(forward, walk.constants),
        backward=_serialised(backward, walk.constants),
        saved=saved,
        steps={tensor: pair.steps for tensor, pair in pairs.items()},
        channels={tensor: pair.channels for tensor, pair in pairs.items()},
        reached=tuple(gradients),
        stopped=tuple(sorted(walk.stopped)),
    )


@dataclass(frozen=True)
class _Pair:
    """The Q/DQ pair of an activation: its tensors, and the input that holds its steps."""

    tensor: str
    rounded: str
    steps: str
    channels: int


def _constants(model: Any) -> dict[str, npt.NDArray[Any]]:
    """Take out what is constant: initializers, and the values of Constant nodes."""
    onnx = require("onnx", why="to differentiate a model")
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        value = attributes_of(node).get("value") if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
        else:
            found[node.output[0]] = onnx.numpy_helper.to_array(value)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return found


def _free_weights(model: Any, constants: Mapping[str, npt.NDArray[Any]]) -> None:
    """Take the weights' Q/DQ pairs away: weights are fitted to the steps once these are known."""
    kept, freed = [], {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in constants:
            freed[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in freed:
            freed[node.output[0]] = freed[node.input[0]]
        else:
            node.input[:] = [freed.get(name, name) for name in node.input]
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _chain_pools(nodes: Sequence[onnx.NodeProto]) -> None:
    """Pool what a smaller window of the same tensor has pooled already, as SPP has: 13 is 5 thrice.

    The maxima are the same. Telling their places costs ONNX Runtime the area of the window.
    """
    seen: dict[str, tuple[int, str]] = {}
    for node in nodes:
        attributes = attributes_of(node) if node.op_type == "MaxPool" else {}
        size = attributes.get("kernel_shape", [0])[0]
        reach = size // 2
        same = {
            "kernel_shape": [2 * reach + 1] * 2,
            "pads": [reach] * 4,
            "strides": [1, 1],
            "dilations": [1, 1],
        }
        if any(attributes.get(name, [1, 1]) != value for name, value in same.items()):
            continue
        tensor = node.input[0]
        smaller, made = seen.get(tensor, (size, ""))
        if smaller < size:
            node.input[0] = made
            step = size - smaller
            for attribute in node.attribute:
                if attribute.name == "kernel_shape":
                    attribute.ints[:] = [step + 1] * 2
                elif attribute.name == "pads":
                    attribute.ints[:] = [step // 2] * 4
        seen[tensor] = size, node.output[0]


def _open_steps(
    model: Any, constants: dict[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, _Pair]:
    """Make the scales of the activations inputs, one number a channel."""
    onnx = require("onnx", why="to differentiate a model")
    found: dict[str, _Pair] = {}
    by_codes: dict[str, _Pair] = {}
    for node in model.graph.node:
        pair = None
        if node.op_type == "QuantizeLinear":
            tensor, shape = node.input[0], shapes.get(node.input[0], ())
            if len(shape) < 2 or shape[1] < 1:
                continue
            pair = _Pair(tensor, "", f"{_PREFIX}/steps/{tensor}", shape[1])
            by_codes[node.output[0]] = pair
            constants[f"{_PREFIX}/zeros/{shape[1]}"] = np.zeros(shape[1], np.int8)
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(pair.steps, onnx.TensorProto.FLOAT, [shape[1]])
            )
        elif node.op_type == "DequantizeLinear" and node.input[0] in by_codes:
            made = by_codes[node.input[0]]
            pair = found[made.tensor] = _Pair(made.tensor, node.output[0], made.steps, made.channels)
        if pair is not None:
            node.input[1:] = [pair.steps, f"{_PREFIX}/zeros/{pair.channels}"]
            node.attribute.extend([onnx.helper.make_attribute("axis", 1)])
    return found


def _parted(model: Any, count: int, walk: _Walk) -> tuple[Any, Any]:
    """Part the first `count` nodes from those of the way back, which reads what the first make."""
    onnx = require("onnx", why="to differentiate a model")
    forward, backward = type(model)(), type(model)()
    for part, nodes in ((forward, model.graph.node[:count]), (backward, model.graph.node[count:])):
        part.ir_version = model.ir_version
        part.opset_import.extend(model.opset_import)
        part.graph.name = model.graph.name
        part.graph.node.extend(nodes)
    forward.graph.input.extend(model.graph.input)
    forward.graph.output.extend(model.graph.output)
    known = {value.name: value for value in [*model.graph.input, *walk.cotangents]}
    made = {name for node in backward.graph.node for name in node.output}
    places = {name for node in forward.graph.node if node.op_type == "MaxPool" for name in node.output[1:]}
    given = {value.name for value in [*model.graph.input, *model.graph.output]}
    for name in dict.fromkeys(name for node in backward.graph.node for name in node.input if name):
        if name in made or name in walk.constants:
            continue
        kind = onnx.TensorProto.INT64 if name in places else onnx.TensorProto.FLOAT
        value = known.get(name) or onnx.helper.make_tensor_value_info(name, kind, walk.shapes.get(name))
        backward.graph.input.append(value)
        if name not in known and name not in given:
            forward.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return forward, backward


def _serialised(model: Any, constants: Mapping[str, npt.NDArray[Any]]) -> bytes:
    onnx = require("onnx", why="to differentiate a model")
    read = {name for node in model.graph.node for name in node.input}
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in constants.items()
        if name in read
    )
    return bytes(model.SerializeToString())


class _Walk(Backward):
    """Goes over the nodes from the last to the first; hands each derivative to what the node read."""

    def __init__(
        self,
        model: Any,
        constants: dict[str, npt.NDArray[Any]],
        shapes: Mapping[str, tuple[int, ...]],
        pairs: Mapping[str, _Pair],
    ) -> None:
        rounded = {pair.rounded: shapes[pair.tensor] for pair in pairs.values()}
        super().__init__(model, constants, {**shapes, **rounded})
        self._pairs = {pair.rounded: pair for pair in pairs.values()}
        self._forward = list(model.graph.node)
        self._learnt = self._depending(pairs.values())
        self._found: dict[str, list[str]] = {}
        self.stopped: set[str] = set()
        self.cotangents: list[Any] = []

    def wants(self, tensor: str) -> bool:
        return tensor in self._learnt

    def back(self) -> dict[str, str]:
        """Add the nodes; give the tensor of the gradient of every pair that the outputs depend on."""
        onnx = require("onnx", why="to differentiate a model")
        for output in self.model.graph.output:
            if self.wants(output.name):
                value = onnx.helper.make_empty_tensor_value_info(cotangent_name(output.name))
                value.CopyFrom(output)
                value.name = cotangent_name(output.name)
                self.cotangents.append(value)
                self._found[output.name] = [value.name]
        gradients = {}
        for node in reversed(self._forward):
            given = [self._sum(name) for name in node.output]
            if not any(given):
                continue
            if node.output[0] in self._pairs and given[0] is not None:
                pair = self._pairs[node.output[0]]
                gradients[pair.tensor], behind = self._through(pair, given[0])
                if self.wants(pair.tensor):
                    self._found.setdefault(pair.tensor, []).append(behind)
                continue
            rule = DERIVATIVES.get(node.op_type)
            parts: Sequence[str | None] | None = rule(self, node, given) if rule else None
            if parts is None:
                self.stopped.add(node.op_type)
                continue
            for name, part in zip(node.input, parts, strict=False):
                if part is not None and self.wants(name):
                    self._found.setdefault(name, []).append(part)
        return gradients

    def _sum(self, tensor: str) -> str | None:
        parts = self._found.get(tensor)
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else self.add("Sum", parts)

    def _through(self, pair: _Pair, given: str) -> tuple[str, str]:
        """Give the derivatives by the logarithm of the steps and by the tensor in front of the pair.

        A value within the range moves with the error of its rounding when the step grows; one that is
        clipped moves as the end of the range does. In front of the pair, what is clipped has no say.
        """
        rank = len(self.shapes[pair.tensor])
        shape = self.constant(np.array([1, -1, *[1] * (rank - 2)], np.int64))
        most = self.add("Mul", [self.add("Reshape", [pair.steps, shape]), self.number(LEVELS + 0.5)])
        within = self.mask("LessOrEqual", self.add("Abs", [pair.tensor]), most)
        behind = self.add("Mul", [given, within])
        # The rounded value, less the value itself where it is within the range.
        moved = self.add("Mul", [given, pair.rounded]), self.add("Mul", [behind, pair.tensor])
        axes = self.constant(np.array([axis for axis in range(rank) if axis != 1], np.int64))
        by_step = self.add("ReduceSum", [self.add("Sub", moved), axes], keepdims=0)
        return by_step, behind

    def _depending(self, pairs: Collection[_Pair]) -> set[str]:
        """Name the tensors that a step has a part in."""
        found = {pair.rounded for pair in pairs}
        for node in self._forward:
            if not found.isdisjoint(node.input):
                found.update(node.output)
        return found
