"""LeakyRelu behind the pool on ONNX Runtime: fewer values, the same bits."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.qdq import int8_model  # noqa: E402
from edgeyolo.qdq.pools import with_pools_first  # noqa: E402
from tests.qdq.nets import Net, images, run  # noqa: E402
from tests.qdq.test_insert import scales_of  # noqa: E402


def pooling(*, twice: bool = False, alpha: float = 0.1) -> onnx.ModelProto:
    net = Net()
    first = net.conv("first", "images", 16, 3)
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


def without_exchange(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    with monkeypatch.context() as patch:
        patch.setattr("edgeyolo.qdq.insert.with_pools_first", lambda nodes, _: nodes)
        return int8_model(model, scales_of(model), "onnxruntime")


@pytest.mark.parametrize("fuse", [False, True])
def test_the_pool_comes_first_and_no_bit_changes(fuse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pooling()
    plain = without_exchange(model, monkeypatch)
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    assert order(plain) == ["LeakyRelu", "MaxPool", "LeakyRelu"]
    assert order(int8) == ["MaxPool", "LeakyRelu", "LeakyRelu"]
    for image in images(4):
        (expected,), (found,) = run(plain, image, fuse=fuse), run(int8, image, fuse=fuse)
        assert np.ptp(expected) > 0
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("changes", [{"twice": True}, {"alpha": -0.1}])
def test_not_where_another_reads_between_or_the_order_of_values_turns(changes: dict[str, Any]) -> None:
    model = pooling(**changes)
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    assert order(int8)[:2] == ["LeakyRelu", "MaxPool"]


def test_tensorrt_keeps_its_order_and_so_does_float() -> None:
    model = pooling()
    assert order(int8_model(model, scales_of(model), "tensorrt"))[:2] == ["LeakyRelu", "MaxPool"]
    as_float = scales_of(model, float_layers={"first": "test"})
    assert order(int8_model(model, as_float, "onnxruntime"))[:2] == ["LeakyRelu", "MaxPool"]
    assert with_pools_first(list(model.graph.node), ["head"]) == list(model.graph.node)
