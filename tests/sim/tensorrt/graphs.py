"""Small ONNX models for the simulator's own tests: one Conv, in the forms that parsers differ on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["conv", "int64_output", "nonzero", "quantized", "save_external", "with_node"]

_WEIGHTS = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32) * 0.1
SHAPE = (3, 8, 8)


def conv(batch: int | str = 1, *, half: bool = False) -> onnx.ModelProto:
    """Give ``y = sigmoid(conv(x))``, nodes ``conv`` and ``act``, x of (batch, 3, 8, 8)."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["y"], "act"),
    ]
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weights = _WEIGHTS.astype(np.float16) if half else _WEIGHTS
    return _model(nodes, {"w": weights}, batch, kind)


def quantized(
    *,
    int8_weights: bool = False,
    int32_bias: bool = False,
    zero_point: int = 0,
    zero_type: Any = np.int8,
    scales: int = 4,
    scale_type: Any = np.float32,
) -> onnx.ModelProto:
    """Give the Conv with Q/DQ pairs on its input and weights; the defaults are what every parser takes."""
    constants: dict[str, Any] = {
        "w": _WEIGHTS,
        "sx": np.array(0.05, scale_type), "zx": np.array(zero_point, zero_type),
        "sw": np.full(scales, 0.01, scale_type), "zw": np.zeros(scales, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], "x_q"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], "x_dq"),
    ]
    if int8_weights:
        constants["wq"] = np.clip(np.round(_WEIGHTS / 0.01), -127, 127).astype(np.int8)
    else:
        nodes.append(helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], "w_q", axis=0))
    nodes.append(helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], "w_dq", axis=0))
    inputs = ["xd", "wd"]
    if int32_bias:
        constants.update(b=np.zeros(4, np.int32), sb=np.full(4, 5e-4, np.float32), zb=np.zeros(4, np.int32))
        nodes.append(helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["bd"], "b_dq", axis=0))
        inputs.append("bd")
    nodes.append(helper.make_node("Conv", inputs, ["y"], "conv", pads=[1, 1, 1, 1]))
    return _model(nodes, constants, 1, TensorProto.FLOAT)


def with_node(*operators: str, domain: str = "") -> onnx.ModelProto:
    """Give the Conv with nodes of these operators behind it, named ``extra_0`` and so on."""
    model = conv()
    model.graph.node[1].output[0] = "e0"
    for number, operator in enumerate(operators):
        output = "y" if number == len(operators) - 1 else f"e{number + 1}"
        node = helper.make_node(operator, [f"e{number}"], [output], f"extra_{number}", domain=domain)
        model.graph.node.append(node)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def int64_output() -> onnx.ModelProto:
    """Give the index of the channel that is largest on average, as int64."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"], "mean"),
        helper.make_node("ArgMax", ["m"], ["y"], "argmax", axis=1, keepdims=1),
    ]
    model = _model(nodes, {}, 1, TensorProto.FLOAT)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [1, 1, 1, 1]))
    return model


def nonzero() -> onnx.ModelProto:
    """Give the places of what is not 0, whose number depends on the data."""
    model = _model([helper.make_node("NonZero", ["x"], ["y"], "places")], {}, 1, TensorProto.FLOAT)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [4, "count"]))
    return model


def save_external(model: onnx.ModelProto, path: Any) -> None:
    """Save with the initializers in a file beside it."""
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def _model(nodes: Any, constants: dict[str, Any], batch: int | str, kind: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, [batch, *SHAPE])],
        [helper.make_tensor_value_info("y", kind, [batch, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
