"""FP16 in the graph: what computes in which type, and that it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.errors import GraphError, MismatchError
from edgeyolo.graph.fp16 import half_model
from edgeyolo.graph.half_plan import decode_nodes
from edgeyolo.spec import ModelSpec
from tests.small_nets import HEADS, converted

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def types_of(model: Any) -> dict[str, int]:
    """Give the type of every tensor, by onnx's own strict inference."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    groups = (inferred.graph.input, inferred.graph.output, inferred.graph.value_info)
    found = {value.name: value.type.tensor_type.elem_type for group in groups for value in group}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize("head", HEADS)
def test_layers_are_half_and_everything_behind_them_is_not(head: str, tmp_path: Path) -> None:
    model = onnx.load(converted(tmp_path, head))
    half, report = half_model(model)
    onnx.checker.check_model(half, full_check=True)
    types = types_of(half)
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert {types[name] for node in convolutions for name in node.input} == {onnx.TensorProto.FLOAT16}
    assert {types[value.name] for value in half.graph.output} == {onnx.TensorProto.FLOAT}
    assert {types[value.name] for value in half.graph.input} == {onnx.TensorProto.FLOAT}
    decode = {node.output[0] for node in half.graph.node if node.name in report.plan.decode}
    assert len(decode) > 1 + (head != "classifier")
    assert {types[name] for name in decode} == {onnx.TensorProto.FLOAT}
    assert max(item.error for item in report.closeness) < 5e-3


@pytest.mark.parametrize("words", [("--batch", "dynamic"), ("--outputs", "raw")])
def test_names_shapes_and_metadata_stay(words: tuple[str, ...], tmp_path: Path) -> None:
    model = onnx.load(converted(tmp_path, "yolo", *words))
    half, _ = half_model(model)
    assert list(half.graph.output) == list(model.graph.output)
    assert list(half.graph.input) == list(model.graph.input)
    metadata = {entry.key: entry.value for entry in half.metadata_props}
    assert ModelSpec.from_metadata(metadata) is not None


def test_no_tensor_is_cast_twice(tmp_path: Path) -> None:
    half, _ = half_model(onnx.load(converted(tmp_path, "yolo")))
    cast = [node.input[0] for node in half.graph.node if node.op_type == "Cast"]
    assert len(cast) == len(set(cast)) == 2  # the input, and the head's last layer


def layer(weight: np.ndarray[Any, Any], *, resize: bool = False, pairs: float | None = None) -> Any:
    """Make a model of one Conv with that weight, a Relu behind it, and what else is asked for."""
    from onnx import TensorProto, helper, numpy_helper

    side = 16 if resize else 8
    constants = {"w": weight.astype(np.float32), "sizes": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "first", kernel_shape=[1, 1]),
        helper.make_node("Resize", ["y", "", "sizes"], ["z"], "up", mode="nearest")
        if resize
        else helper.make_node("Relu", ["y"], ["z"], "relu"),
        helper.make_node("Conv", ["z", "w"], ["out"], "second", kernel_shape=[1, 1]),
    ]
    if pairs is not None:
        constants |= {"scale": np.array(pairs, np.float32), "zero": np.array(0, np.int8)}
        nodes[2:2] = [
            helper.make_node("QuantizeLinear", ["z", "scale", "zero"], ["z_q"], "quantize"),
            helper.make_node("DequantizeLinear", ["z_q", "scale", "zero"], ["z_dq"], "dequantize"),
        ]
        nodes[-1].input[0] = "z_dq"
    if not resize:
        del constants["sizes"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, side, side])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


WEIGHT = np.random.default_rng(3).normal(size=(4, 4, 1, 1))


def test_an_output_that_is_a_layers_own_is_cast_back_under_its_name() -> None:
    half, _ = half_model(layer(WEIGHT))
    assert types_of(half)["out"] == onnx.TensorProto.FLOAT
    assert [node.op_type for node in half.graph.node] == ["Cast", "Conv", "Relu", "Conv", "Cast"]


def test_scales_of_resize_stay_fp32() -> None:
    half, _ = half_model(layer(WEIGHT, resize=True))
    assert types_of(half)["sizes"] == onnx.TensorProto.FLOAT
    onnx.checker.check_model(half, full_check=True)


def test_a_weight_beyond_fp16_keeps_its_layer_in_fp32_and_is_named() -> None:
    huge = WEIGHT.copy()
    huge[0, 0] = 1e5
    model = layer(WEIGHT)
    model.graph.initializer.append(onnx.numpy_helper.from_array((huge * 1e-6).astype(np.float32), "small"))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(huge.astype(np.float32), "w"))
    model.graph.node[2].input[1] = "small"
    half, report = half_model(model, tolerance=np.inf)
    assert report.plan.kept.keys() == {"first"}
    assert "w has a value of 1e+05" in report.plan.kept["first"]
    assert types_of(half)["w"] == onnx.TensorProto.FLOAT


def test_an_activation_that_overflows_is_found() -> None:
    with pytest.raises(MismatchError, match="65504"):
        half_model(layer(WEIGHT * 3e3))
    half_model(layer(WEIGHT * 3e3), keep=["relu", "second"], tolerance=np.inf)


def test_asked_to_keep() -> None:
    half, report = half_model(layer(WEIGHT), keep=["second"])
    assert report.plan.kept == {"second": "asked for"}
    assert types_of(half)["w"] == onnx.TensorProto.FLOAT  # shared: one copy for each type
    assert types_of(half)["w_fp16"] == onnx.TensorProto.FLOAT16


def test_pairs_become_half_and_a_scale_that_fp16_loses_is_raised() -> None:
    half, report = half_model(layer(WEIGHT, pairs=0.02))
    types = types_of(half)
    assert types["z_dq"] == types["scale_fp16"] == onnx.TensorProto.FLOAT16
    assert report.raised_scales == 0
    _, report = half_model(layer(WEIGHT, pairs=1e-6))
    assert report.raised_scales == 1


def test_what_has_nothing_to_convert_is_refused() -> None:
    half, _ = half_model(layer(WEIGHT))
    with pytest.raises(GraphError, match="FP16 weights found"):
        half_model(half)
    model = layer(WEIGHT)
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.op_type = "Relu"
            del node.input[1:], node.attribute[:]
    with pytest.raises(GraphError, match="no layer with weights"):
        half_model(model)
    assert not decode_nodes(model)


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("words", [("--batch", "1"), ("--batch", "dynamic"), ("--outputs", "raw")])
def test_nvidias_compiler_takes_it(words: tuple[str, ...], tmp_path: Path) -> None:
    from edgeyolo.build.check import check

    half, _ = half_model(onnx.load(converted(tmp_path, "yolo", *words)))
    onnx.save(half, tmp_path / "half.onnx")
    report = check(tmp_path / "half.onnx")
    assert report.passed, report.findings
    assert {tensor.dtype for tensor in (*report.inputs, *report.outputs)} == {"float32"}


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("batch", ["1", "dynamic"])
@pytest.mark.parametrize("head", HEADS)
def test_nvidias_compiler_takes_int8_with_the_rest_in_fp16(head: str, batch: str, tmp_path: Path) -> None:
    from edgeyolo.build.check import check
    from edgeyolo.qdq import GraphView, int8_model, quant_plan
    from edgeyolo.scales import Provenance, Scales, TensorScale

    model = onnx.load(converted(tmp_path, head, "--batch", batch))
    plan = quant_plan(GraphView(model))
    tensors = {name: TensorScale(amax=4.0, method="largest") for group in plan.groups for name in group}
    origin = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=1, method="")
    quantised = int8_model(model, Scales(provenance=origin, tensors=tensors), "tensorrt")
    half, _ = half_model(quantised)
    for name, form in {"int8": quantised, "int8_half": half}.items():
        onnx.save(form, tmp_path / f"{name}.onnx")
        report = check(tmp_path / f"{name}.onnx")
        assert report.passed, report.findings
