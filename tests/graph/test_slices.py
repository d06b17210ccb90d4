"""Split nodes as Slice nodes: the same outputs from ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeyolo.graph.slices import slices_from_splits

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def model(opset: int, sizes: list[int] | None, axis: int, **attributes: Any) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    constants = [] if sizes is None else [numpy_helper.from_array(np.array(sizes, np.int64), "sizes")]
    inputs = ["x"] if sizes is None else ["x", "sizes"]
    nodes = [
        helper.make_node("Split", inputs, ["a", "b", "c"], "cut", axis=axis, **attributes),
        helper.make_node("Relu", ["c"], ["d"], "cut_1"),  # has the name that a slice would get
    ]
    shapes = {"x": ["N", 6, 4]}
    values = {
        n: helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes.get(n, [None] * 3)) for n in "xabd"
    }
    graph = helper.make_graph(nodes, "g", [values["x"]], [values[n] for n in "abd"], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def outputs(built: Any) -> list[Any]:
    session = ort.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    return list(session.run(None, {"x": x}))


@pytest.mark.parametrize(
    "built",
    [
        model(13, [1, 2, 3], 1),
        model(13, [3, 2, 1], -2),
        model(13, None, 1),
        model(18, None, 1, num_outputs=3),
        model(11, None, 1, split=[2, 1, 3]),
    ],
    ids=["sizes", "negative axis", "equal parts", "number of outputs", "attribute"],
)
def test_the_outputs_are_the_same(built: Any) -> None:
    expected = outputs(built)
    replaced = slices_from_splits(built, {"cut", "another"})
    assert replaced == {"cut": ("cut_0", "cut_1_", "cut_2")}
    assert [node.op_type for node in built.graph.node] == ["Slice"] * 3 + ["Relu"]
    onnx.checker.check_model(built, full_check=True)
    for one, other in zip(expected, outputs(built), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("names", "axis"), [({"another"}, 1), ({"cut"}, 0)], ids=["not named", "open size"])
def test_what_stays(names: set[str], axis: int) -> None:
    built = model(13, None, axis)
    assert slices_from_splits(built, names) == {}
    assert [node.op_type for node in built.graph.node] == ["Split", "Relu"]
