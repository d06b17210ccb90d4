"""Models that ONNX Runtime has quantised: as Q/DQ where that is the same, else refused by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import helper

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions
from edgeyolo.errors import UnsupportedOpError
from tests.adapt.foreign import Net, picture, run
from tests.adapt.test_predictions import yolov8
from tests.adapt.test_yolox import decoded, yolox
from tests.command import edgeyolo


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def body(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put operators of a net's body before the heads: a sum, a join, pooling, a leaky ReLU, a SiLU."""
    net = Net(seed=9)
    first = net.op("LeakyRelu", net.conv(3, 1, "picture", spread=0.5), alpha=0.1)
    second = net.conv(3, 1, "picture", spread=0.5)
    second = net.op("Mul", second, net.op("Sigmoid", second))
    total = net.op("Add", first, second)
    pooled = net.op("AveragePool", total, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    both = net.concat(total, pooled, axis=1)
    weights = net.const(net.rng.normal(0, 0.5, (3, 6, 1, 1)))
    net.op("Conv", both, weights, net.const(net.rng.normal(0, 0.1, 3)), to="images")
    for node in net.nodes:
        node.input[:] = [f"body_{name}" if name != "picture" else name for name in node.input]
        node.output[:] = [f"body_{name}" if name != "images" else name for name in node.output]
    nodes = [*net.nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, f"body_{name}") for name, value in net.weights.items()
    )
    model.graph.input[0].name = "picture"
    return model


def quantised(model: onnx.ModelProto, folder: Path, *, operators: bool, per_channel: bool) -> onnx.ModelProto:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.pictures: Iterator[Any] = iter([{"picture": picture(seed=s)} for s in range(4)])

        def get_next(self) -> Any:
            return next(self.pictures, None)

    onnx.save(model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QOperator if operators else QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    return onnx.load(folder / "int8.onnx")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("operators", [False, True])
def test_static_quantisation_is_kept(operators: bool, per_channel: bool, tmp_path: Path) -> None:
    model = quantised(body(yolox()), tmp_path, operators=operators, per_channel=per_channel)
    kinds = {node.op_type for node in model.graph.node}
    assert ("QLinearConv" in kinds) == operators
    adapted = adapt(model)
    assert adapted.evidence.family == "yolox"
    assert not any(node.op_type.startswith("QLinear") for node in adapted.model.graph.node)
    assert any("--precision int8" in note for note in adapted.notes)
    boxes, scores = decoded(run(model, picture(seed=7))["output"])
    found = run(adapted.model, picture(seed=7))
    # A value in the middle between two codes may become either.
    same = np.isclose(found["boxes"], boxes, rtol=1e-3, atol=1e-2)
    assert same.mean() > 0.98
    assert np.abs(found["scores"] - scores).max() < 0.05


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_model_is_built_as_int8(tmp_path: Path) -> None:
    quantised(body(yolox()), tmp_path, operators=True, per_channel=True)
    words = ("build", tmp_path / "int8.onnx", "-o", tmp_path / "m.engine", "--backend", "onnxruntime")
    done = edgeyolo(*words, "--precision", "int8")
    assert done.returncode == 0, done.stderr
    assert "Q/DQ form" in done.stderr


@pytest.mark.parametrize("kind", ["ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"])
def test_dynamic_quantisation_is_refused_by_name(kind: str) -> None:
    model = yolov8()
    model.graph.node.append(helper.make_node(kind, ["images"], ["quantised"]))
    with pytest.raises(UnsupportedOpError, match=kind) as caught:
        adapt(model)
    assert "edgeyolo calibrate" in str(caught.value.hint)


def test_an_integer_operator_without_such_a_form_is_refused_by_name() -> None:
    model = yolov8()
    model.graph.node.append(helper.make_node("QLinearMystery", ["images"], ["q"], domain="com.microsoft"))
    with pytest.raises(UnsupportedOpError, match="QLinearMystery"):
        adapt(model)
