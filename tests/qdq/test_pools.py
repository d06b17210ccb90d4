"""LeakyRelu behind the pool on ONNX Runtime: fewer values, the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.qdq import int8_model  # noqa: E402
from edgeyolo.qdq.pools import with_pools_first  # noqa: E402
from edgeyolo.scales import Scales  # noqa: E402
from tests.qdq.nets import Net, images, run  # noqa: E402
from tests.qdq.test_insert import fused, scales_of  # noqa: E402


def pooling(*, twice: bool = False, alpha: float = 0.1) -> onnx.ModelProto:
    net = Net()
    stem = net.leaky(net.conv("stem", "images", 8, 3))
    first = net.conv("first", stem, 16, 8)
    leaky = net.op("LeakyRelu", [first], "leaky", alpha=alpha)
    pooled = net.op("MaxPool", [leaky], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    second = net.leaky(net.conv("second", pooled, 16, 16))
    net.conv("head", second, 8, 16, 1)
    outputs = ["head"]
    if twice:
        third = net.leaky(net.conv("third", leaky, 16, 16))
        outputs.append(net.conv("other", third, 8, 16, 1))
    return net.model(outputs)


def order(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.op_type in {"LeakyRelu", "MaxPool"}]


def without_exchange(
    model: onnx.ModelProto, scales: Scales, monkeypatch: pytest.MonkeyPatch
) -> onnx.ModelProto:
    with monkeypatch.context() as patch:
        patch.setattr("edgeyolo.qdq.insert.with_pools_first", lambda nodes, _: nodes)
        return int8_model(model, scales, "onnxruntime")


@pytest.mark.parametrize("fuse", [False, True])
def test_the_pool_comes_first_and_no_bit_changes(fuse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pooling()
    plain = without_exchange(model, scales_of(model), monkeypatch)
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    assert order(plain)[1:] == ["LeakyRelu", "MaxPool", "LeakyRelu"]
    assert order(int8)[1:] == ["MaxPool", "LeakyRelu", "LeakyRelu"]
    for image in images(4):
        (expected,), (found,) = run(plain, image, fuse=fuse), run(int8, image, fuse=fuse)
        assert np.ptp(expected) > 0
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("changes", [{"twice": True}, {"alpha": -0.1}])
def test_not_where_another_reads_between_or_the_order_of_values_turns(changes: dict[str, Any]) -> None:
    model = pooling(**changes)
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    assert order(int8)[1:3] == ["LeakyRelu", "MaxPool"]


@pytest.mark.parametrize("fuse", [False, True])
def test_behind_a_float_layer_the_pool_is_float_too(
    fuse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pooling()
    scales = scales_of(model, float_layers={"first": "test"})
    plain, int8 = without_exchange(model, scales, monkeypatch), int8_model(model, scales, "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    assert order(int8)[:3] == ["LeakyRelu", "MaxPool", "LeakyRelu"]
    for image in images(4):
        assert np.array_equal(run(int8, image, fuse=fuse)[0], run(plain, image, fuse=fuse)[0])
    kinds = [node.op_type for node in fused(int8, tmp_path).graph.node]
    assert kinds.index("MaxPool") < kinds.index("QuantizeLinear")


def test_tensorrt_keeps_its_order_and_so_does_a_float_reader() -> None:
    model = pooling()
    scales = scales_of(model)
    assert order(int8_model(model, scales, "tensorrt"))[1:3] == ["LeakyRelu", "MaxPool"]
    all_float = scales_of(model, float_layers={"first": "test", "second": "test"})
    assert order(int8_model(model, all_float, "onnxruntime"))[1:3] == ["LeakyRelu", "MaxPool"]
    assert with_pools_first(list(model.graph.node), ["head"]) == list(model.graph.node)
