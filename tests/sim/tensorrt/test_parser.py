"""What the simulated parser refuses, and that the reason and the node can be read from its error."""

from __future__ import annotations

import gc
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from tests.sim.tensorrt import graphs

EIGHT = ("8.6",)


@pytest.fixture
def network(tensorrt: ModuleType, logger: Any) -> Any:
    members = tensorrt.NetworkDefinitionCreationFlag.__members__
    flags = 1 << int(members["EXPLICIT_BATCH"]) if "EXPLICIT_BATCH" in members else 0
    return tensorrt.Builder(logger).create_network(flags)


@pytest.fixture
def parser(tensorrt: ModuleType, logger: Any, network: Any) -> Any:
    return tensorrt.OnnxParser(network, logger)


def _parse(parser: Any, model: onnx.ModelProto) -> list[str]:
    """Give the errors as ``code node text``."""
    taken = parser.parse(model.SerializeToString())
    assert taken == (parser.num_errors == 0)
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    return [f"{error.code().name} {error.node()} {error.desc()}" for error in found]


def test_a_network_has_the_models_tensors_and_layers(parser: Any, network: Any, tensorrt: ModuleType) -> None:
    assert _parse(parser, graphs.conv("N")) == []
    assert (network.num_inputs, network.num_outputs, network.num_layers) == (1, 1, 2)
    assert network.get_input(0).name == "x"
    assert network.get_input(0).shape == (-1, 3, 8, 8)
    assert network.get_output(0).dtype == tensorrt.DataType.FLOAT
    assert network.get_output(1) is None
    assert [layer.name for layer in network] == ["conv", "act"]
    assert network[0].type == tensorrt.LayerType.CONVOLUTION


def test_an_operator_nobody_knows_is_named(parser: Any, tensorrt: ModuleType) -> None:
    (found,) = _parse(parser, graphs.with_node("Mystery", domain="ours"))
    assert found.split()[:2] in (["UNSUPPORTED_NODE", "2"], ["INVALID_NODE", "2"])
    assert "Plugin not found" in found
    error = parser.get_error(0)
    if tensorrt.__version__.startswith("8"):
        assert not hasattr(error, "node_name")
    else:
        assert (error.node_name(), error.node_operator()) == ("extra_0", "Mystery")
    parser.clear_errors()
    assert parser.num_errors == 0


def test_eight_stops_at_the_first_error_ten_gives_all(parser: Any, tensorrt: ModuleType) -> None:
    found = _parse(parser, graphs.with_node("Mystery", "Riddle", domain="ours"))
    assert len(found) == (1 if tensorrt.__version__.startswith("8") else 2)


def test_the_one_form_of_qdq_that_all_take(parser: Any) -> None:
    assert _parse(parser, graphs.quantized()) == []


@pytest.mark.parametrize(
    ("changes", "refused_by", "node"),
    [
        ({"int32_bias": True}, "all", 4),
        ({"zero_point": 3}, "all", 0),
        ({"scales": 3}, "all", 2),
        ({"int8_weights": True}, EIGHT, 2),
        ({"scale_type": "float16"}, EIGHT, 0),
        ({"zero_type": "uint8"}, ("8.6", "10.3", "10.13", "10.16"), 0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_qdq_that_some_refuse(
    parser: Any, tensorrt: ModuleType, changes: dict[str, Any], refused_by: Any, node: int
) -> None:
    found = _parse(parser, graphs.quantized(**changes))
    refused = refused_by == "all" or tensorrt.__simulation__.generation in refused_by
    assert bool(found) == refused
    if refused:
        assert found[0].startswith(f"INVALID_NODE {node} ")


def test_what_is_no_model(parser: Any, tmp_path: Path) -> None:
    assert not parser.parse(b"\x08\x07nonsense")
    assert parser.get_error(0).code().name == "MODEL_DESERIALIZE_FAILED"
    assert not parser.parse_from_file(str(tmp_path / "absent.onnx"))


def test_external_data_are_looked_for_beside_the_path(
    parser: Any, tmp_path: Path, errors: Any, network: Any
) -> None:
    path = tmp_path / "m.onnx"
    graphs.save_external(graphs.conv(), path)
    assert not parser.parse(path.read_bytes())
    assert parser.get_error(0).desc().endswith("Failed to import initializer: w")
    assert "Failed to open file: weights.bin" in errors()
    parser.clear_errors()
    assert parser.parse(path.read_bytes(), str(path))
    assert network.num_layers == 2


def test_supports_model_in_the_form_of_its_release(parser: Any, tensorrt: ModuleType) -> None:
    data = graphs.with_node("Mystery", domain="ours").SerializeToString()
    if hasattr(parser, "supports_model"):
        assert parser.supports_model(data) == (False, [([0, 1], True), ([2], False)])
    if hasattr(parser, "supports_model_v2"):
        parser.clear_errors()
        assert parser.supports_model_v2(data) is False
        assert [parser.is_subgraph_supported(k) for k in range(parser.num_subgraphs)] == [True, False]
        assert parser.get_subgraph_nodes(1) == [2]


@pytest.mark.parametrize("tensorrt", ["8.6"], indirect=True)
def test_eight_takes_no_implicit_batch(tensorrt: ModuleType, logger: Any) -> None:
    network = tensorrt.Builder(logger).create_network()
    parser = tensorrt.OnnxParser(network, logger)
    assert not parser.parse(graphs.conv().SerializeToString())
    assert "EXPLICIT_BATCH" in parser.get_error(0).desc()


def test_int64_is_int32_before_ten(parser: Any, network: Any, tensorrt: ModuleType) -> None:
    assert _parse(parser, graphs.int64_output()) == []
    wanted = "INT32" if tensorrt.__version__.startswith("8") else "INT64"
    assert network.get_output(0).dtype.name == wanted


def test_a_network_is_filled_once(parser: Any, errors: Any) -> None:
    assert _parse(parser, graphs.conv()) == []
    assert not parser.parse(graphs.conv().SerializeToString())
    assert "Parse was called with a non-empty network definition" in errors()


def test_a_parser_does_not_keep_its_network(tensorrt: ModuleType, logger: Any) -> None:
    parser = tensorrt.OnnxParser(tensorrt.Builder(logger).create_network(1), logger)
    gc.collect()
    with pytest.raises(SystemError, match="network was gone"):
        parser.parse(graphs.conv().SerializeToString())
    assert len(tensorrt.__simulation__.misuse) == 1
    tensorrt.__simulation__.misuse.clear()
