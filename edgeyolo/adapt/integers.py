"""Models that ONNX Runtime has quantised: brought to Q/DQ form where that is the same by definition.

Owns the rewriting of ``QLinear*`` operators, which ONNX and ONNX Runtime define as dequantise, compute in
float, quantise: that is what a Q/DQ graph says, and what INT8 engines are built from. Refuses dynamic
quantisation (``ConvInteger``, ``DynamicQuantizeLinear``): its scales are made anew for every picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import UnsupportedOpError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["to_qdq"]

_DYNAMIC = (
    "ConvInteger",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
)
_FLOAT = "take the float model that it was made from: edgeyolo calibrate MODEL.onnx IMAGES"
_ONE_INPUT = {
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
}
_TWO_INPUTS = {"QLinearAdd": "Add", "QLinearMatMul": "MatMul", "QLinearMul": "Mul"}
_OWN_ATTRIBUTES = {"channels_last", "opset"}  # ONNX Runtime's, which the float operators do not have
_PER_CHANNEL = 13  # the first opset whose DequantizeLinear has one scale a channel


def to_qdq(model: onnx.ModelProto) -> list[str]:
    """Rewrite a quantised model in place, and tell what was done.

    Raises:
        UnsupportedOpError: It is quantised in a way that has no such form; the message names the operators.
    """
    kinds = {node.op_type for node in model.graph.node}
    dynamic = sorted(kinds.intersection(_DYNAMIC))
    if dynamic:
        raise UnsupportedOpError(
            f"a float model expected, {', '.join(dynamic)} found: its scales are made anew for every "
            "picture; no engine of fixed scales computes the same",
            hint=_FLOAT,
        )
    integer = sorted(kind for kind in kinds if kind.startswith("QLinear"))
    if not integer:
        return ["it has Q/DQ nodes: build it with --precision int8"] if "QuantizeLinear" in kinds else []
    rewriter = _Rewriter(model)
    nodes = [made for node in model.graph.node for made in rewriter.rewritten(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return [f"{', '.join(integer)} in Q/DQ form, the same by definition: build it with --precision int8"]


class _Rewriter:
    """Makes the nodes that stand for one operator."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._helper = require("onnx.helper", why="to write an ONNX model")
        self._numpy = require("onnx.numpy_helper", why="to write an ONNX model")
        self._graph = model.graph
        self._opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        self._constants = {item.name: item for item in model.graph.initializer}
        self._count = 0

    def rewritten(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Give the nodes in place of one; itself where it computes in float."""
        kind, names = node.op_type, list(node.input)
        if not kind.startswith("QLinear"):
            yield node
            return
        if kind in _ONE_INPUT:
            yield from self._computed(node, _ONE_INPUT[kind], [names[:3]], names[3:5])
        elif kind in _TWO_INPUTS:
            yield from self._computed(node, _TWO_INPUTS[kind], [names[:3], names[3:6]], names[6:8])
        elif kind == "QLinearConcat":
            parts = [names[place : place + 3] for place in range(2, len(names), 3)]
            yield from self._computed(node, "Concat", parts, names[:2])
        elif kind == "QLinearConv":
            parts = [names[:3], names[3:6]]
            if len(names) > 8:
                parts.append(self._bias(node, names))
            yield from self._computed(node, "Conv", parts, names[6:8])
        else:
            raise UnsupportedOpError(
                f"node {node.name or node.output[0]!r}: {kind} has no Q/DQ form here",
                hint=_FLOAT,
            )

    def _computed(
        self, node: onnx.NodeProto, kind: str, parts: list[list[str]], output: list[str]
    ) -> Iterator[onnx.NodeProto]:
        floats = []
        for place, part in enumerate(parts):
            floats.append(self._name(node, f"float_{place}"))
            yield self._dequantize(node, part, floats[-1], weights=kind == "Conv" and place > 0)
        result = self._name(node, "float")
        attributes = {
            item.name: self._helper.get_attribute_value(item)
            for item in node.attribute
            if item.name not in _OWN_ATTRIBUTES
        }
        yield self._helper.make_node(kind, floats, [result], name=node.name or result, **attributes)
        yield self._helper.make_node(
            "QuantizeLinear",
            [result, *filter(None, output)],
            [node.output[0]],
            name=self._name(node, "quantize"),
        )

    def _dequantize(self, node: onnx.NodeProto, part: list[str], output: str, *, weights: bool) -> Any:
        scale = self._constants.get(part[1])
        axis = {}
        if weights and scale is not None and self._numpy.to_array(scale).size > 1:
            if self._opset < _PER_CHANNEL:
                raise UnsupportedOpError(
                    f"node {node.name or node.output[0]!r}: one scale a channel in opset {self._opset}",
                    hint="export and quantise the model with opset 13 or later",
                )
            axis = {"axis": 0}
        return self._helper.make_node(
            "DequantizeLinear",
            list(filter(None, part)),
            [output],
            name=self._name(node, "dequantize"),
            **axis,
        )

    def _bias(self, node: onnx.NodeProto, names: list[str]) -> list[str]:
        """Give the bias with its scale, which is that of the input times that of the weights.

        Source:
            ONNX operators, QLinearConv: "B ... scale = x_scale * w_scale and zero_point = 0".
        """
        scales = [self._constants.get(names[place]) for place in (1, 4)]
        if scales[0] is None or scales[1] is None:
            raise UnsupportedOpError(
                f"node {node.name or node.output[0]!r}: scales that are computed in the graph"
            )
        product: npt.NDArray[np.float32] = self._numpy.to_array(scales[0]) * self._numpy.to_array(scales[1])
        name = self._name(node, "bias_scale")
        tensor = self._numpy.from_array(product.astype(np.float32), name)
        self._graph.initializer.append(tensor)
        self._constants[name] = tensor
        return [names[8], name]

    def _name(self, node: onnx.NodeProto, what: str) -> str:
        self._count += 1
        return f"{node.output[0]}_{what}_{self._count}"
