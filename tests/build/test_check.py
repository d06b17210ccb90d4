"""NVIDIA's own parser and compiler over every kind of graph that we write, and over some they must refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.boards import BOARDS, board_named
from edgeyolo.build.board_rules import findings_for
from edgeyolo.build.check import check
from edgeyolo.build.trt_log import BuildLog
from edgeyolo.build.trt_network import layers_of_nodes, parse_network
from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.graph.half_plan import half_plan
from edgeyolo.graph.suppress import GraphNms, suppress_in_graph
from tests import tiny_models
from tests.command import edgeyolo
from tests.small_nets import HEADS, converted

onnx = pytest.importorskip("onnx")
compiler = pytest.mark.needs("tensorrt-rtx")


@compiler
@pytest.mark.parametrize("head", HEADS)
def test_every_head_parses_and_compiles(head: str, tmp_path: Path) -> None:
    report = check(converted(tmp_path, head))
    assert report.passed, report.findings
    assert report.layers > 5
    assert report.inputs[0].shape == (1, 3, 64, 64)


@compiler
@pytest.mark.parametrize("words", [("--outputs", "raw"), ("--batch", "dynamic"), ("--batch", "3")])
def test_every_form_parses_and_compiles(words: tuple[str, ...], tmp_path: Path) -> None:
    report = check(converted(tmp_path, "yolo", *words))
    assert report.passed, report.findings
    assert report.inputs[0].shape[0] == {"raw": 1, "dynamic": -1, "3": 3}[words[1]]


@compiler
@pytest.mark.parametrize("activation", ["leaky", "mish", "swish", "relu", "logistic"])
def test_every_activation_parses_and_compiles(activation: str, tmp_path: Path) -> None:
    assert check(converted(tmp_path, "yolo", activation=activation)).passed


def quantised(
    path: Path, *, zero: Any = None, bias: bool = False, stored: bool = False, scale: Any = np.float32
) -> Path:
    """Write a Conv in Q/DQ form: right by default, or wrong in one way."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    constants = {
        "x_scale": np.array(0.05, scale), "x_zero": np.array(0, np.int8) if zero is None else zero,
        "w_scale": np.full(16, 0.02, scale), "w_zero": np.zeros(16, np.int8),
        "w": np.round(weight / 0.02).clip(-127, 127).astype(np.int8) if stored else weight,
        "b": np.zeros(16, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"], "x_quantize"),
        helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_dq"], "x_dequantize"),
        helper.make_node("QuantizeLinear", ["w", "w_scale", "w_zero"], ["w_q"], "w_quantize", axis=0),
        helper.make_node(
            "DequantizeLinear", ["w" if stored else "w_q", "w_scale", "w_zero"], ["w_dq"], "w_dq", axis=0
        ),
        helper.make_node("Conv", ["x_dq", "w_dq", "b"], ["y"], "conv", kernel_shape=[3, 3]),
    ]  # fmt: skip
    if stored:
        del nodes[2]
    if bias:
        constants |= {"b_int": np.zeros(16, np.int32), "b_scale": np.full(16, 0.001, scale),
                      "b_zero": np.zeros(16, np.int32)}  # fmt: skip
        del constants["b"]
        nodes.insert(
            0, helper.make_node("DequantizeLinear", ["b_int", "b_scale", "b_zero"], ["b"], "b_dq", axis=0)
        )
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 14, 14])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8), path)
    return path


@compiler
def test_a_right_quantised_graph_passes(tmp_path: Path) -> None:
    assert check(quantised(tmp_path / "q.onnx"), board=board_named("orin-nano")).passed


@compiler
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"zero": np.array(3, np.int8)}, "zero point other than 0"),
        ({"zero": np.array(128, np.uint8)}, "zero point other than 0"),
        ({"bias": True}, "int32 bias"),
    ],
)
def test_rules_and_parser_agree_on_what_is_refused(wrong: Any, words: str, tmp_path: Path) -> None:
    report = check(quantised(tmp_path / "q.onnx", **wrong))
    refused = [finding.text for finding in report.findings if finding.level == "refused"]
    assert not report.passed
    assert not report.parsed  # NVIDIA's parser says so too
    assert any(words in text for text in refused)
    assert any("refuses it" in text and "node" in text for text in refused)


def levels(path: Path, board: str, words: str) -> list[str]:
    return [f.level for f in findings_for(onnx.load(path), board_named(board)) if words in f.text]


def test_rules_of_boards(tmp_path: Path) -> None:
    right = quantised(tmp_path / "right.onnx")
    assert levels(right, "nano", "no fast INT8") == ["refused"]
    assert levels(right, "tx2", "no fast INT8") == ["refused"]
    assert levels(right, "xavier-nx", "no INT8 kernel") == ["warning"]
    assert "refused" not in {f.level for f in findings_for(onnx.load(right), board_named("orin-nx"))}
    stored = quantised(tmp_path / "stored.onnx", stored=True)
    # JetPack 5.0.2, 5.1 and 6.0 have TensorRT 8; 6.1 and later take it.
    assert levels(stored, "orin-nx", "stored as int8") == ["warning"] * 3  # its newest JetPack takes them
    assert set(levels(stored, "xavier-nx", "stored as int8")) == {"refused"}  # none of its JetPacks does
    assert levels(stored, "thor", "stored as int8") == []
    halves = quantised(tmp_path / "halves.onnx", scale=np.float16)
    assert levels(halves, "orin-nano", "FP16") == ["warning"] * 3


def test_rules_of_dla(tmp_path: Path) -> None:
    detector = tiny_models.write_detector(tmp_path / "m.onnx")
    assert levels(detector, "orin-nx", "would run on the GPU") == ["note"]
    assert levels(detector, "orin-nano", "has no DLA") == ["note"]
    assert levels(quantised(tmp_path / "q.onnx"), "agx-orin", "can run there") == ["note"]


def test_every_board_has_its_say(tmp_path: Path) -> None:
    model = onnx.load(tiny_models.write_detector(tmp_path / "m.onnx"))
    for board in BOARDS:
        assert findings_for(model, board), board.name


def test_a_plugin_operator_is_refused_by_name(tmp_path: Path) -> None:
    model = onnx.load(tiny_models.write_detector(tmp_path / "m.onnx"))
    model.graph.node[0].op_type = "EfficientNMS_TRT"
    (finding,) = findings_for(model, None)
    assert finding.level == "refused"
    assert "EfficientNMS_TRT" in finding.text


@compiler
def test_the_command(tmp_path: Path) -> None:
    model = tiny_models.write_detector(tmp_path / "m.onnx", batch=None)
    done = edgeyolo("check", model, "--for", "orin-nano")
    assert done.returncode == 0, done.stderr
    assert "compiles" in done.stdout
    assert "This is not a Jetson build" in done.stdout
    refused = edgeyolo("check", quantised(tmp_path / "q.onnx", bias=True), "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["passed"] is False


def test_files_and_boards_that_are_none(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    broken = tmp_path / "m.onnx"
    broken.write_bytes(tiny_models.write_detector(tmp_path / "whole.onnx").read_bytes()[:-20])
    with pytest.raises(GraphError, match="end or break"):
        check(broken)
    with pytest.raises(GraphError, match="no such"):
        check(tmp_path / "absent.onnx")
    with pytest.raises(ConfigError, match="orin-nano"):
        board_named("orin-nan0")


@compiler
def test_suppression_in_the_graph_is_parsed_and_cannot_be_compiled_here(tmp_path: Path) -> None:
    model = onnx.load(converted(tmp_path, "yolo"))
    suppress_in_graph(model, GraphNms())
    onnx.save(model, tmp_path / "suppressed.onnx")
    report = check(tmp_path / "suppressed.onnx", board=board_named("orin-nano"))
    assert (report.passed, report.parsed, report.compiled) == (True, True, False)
    warnings = [finding.text for finding in report.findings if finding.level == "warning"]
    assert warnings == [
        "JetPack 5.0.2 (TensorRT 8.4.1): NonMaxSuppression is not taken before TensorRT 8.5",
        "not compiled: TensorRT-RTX has no kernel for NMS, TensorRT on a board has one",
    ]
    done = edgeyolo("check", tmp_path / "suppressed.onnx")
    assert done.returncode == 0
    assert "REFUSED" not in done.stdout
    report = check(tmp_path / "suppressed.onnx", board=board_named("nano"))  # TensorRT 8.2
    assert not report.passed


@compiler
@pytest.mark.parametrize("head", ["yolo", "region", "gaussian"])
def test_the_layers_of_the_decode_are_found_by_their_nodes(head: str, tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    path = converted(tmp_path, head)
    decode = half_plan(onnx.load(path)).decode
    network = parse_network(trt, path, BuildLog(), strongly_typed=True).network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    last_conv = max(i for i, layer in enumerate(layers) if layer.type == trt.LayerType.CONVOLUTION)
    floats = [
        layer.name
        for layer in layers[last_conv + 1 :]
        if layer.get_output(0).dtype == trt.float32 and layer.metadata  # what the parser adds has none
    ]
    found = [layer.name for layer in layers_of_nodes(network, decode)]
    assert found == floats
    assert len(found) > len(decode)  # a Split is several layers
