"""Equalisation: which tensors take part, that the float network stays what it is, and that INT8 gains."""

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.calibrate.collect import collect, taps_for  # noqa: E402
from edgeyolo.calibrate.equalize import channel_groups, equalizing_factors  # noqa: E402
from edgeyolo.qdq import GraphView, quant_plan  # noqa: E402
from edgeyolo.qdq.weights import model_with_weights  # noqa: E402
from edgeyolo.scales import Provenance, Scales  # noqa: E402
from tests.qdq.nets import Net, detector, images, run  # noqa: E402


def groups_of(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    view = GraphView(model)
    return {group.tensors[0]: group.tensors for group in channel_groups(view, quant_plan(view))}


def equalised(model: onnx.ModelProto) -> onnx.ModelProto:
    view = GraphView(model)
    plan = quant_plan(view)
    amax = collect(model, taps_for(view, plan), images(8)).channel_amax
    factors = equalizing_factors(view, channel_groups(view, plan), amax)
    provenance = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=8, method="")
    return model_with_weights(view, plan, Scales(provenance=provenance, tensors={}, channel_factors=factors))


def test_who_takes_part() -> None:
    # The stem is tied to the residual sum, which a Concat reads: neither can be scaled alone.
    assert set(groups_of(detector())) == {"wide_leaky", "deep_leaky", "body_leaky", "neck_leaky"}


def test_a_residual_stream_is_scaled_as_one() -> None:
    net = Net()
    first = net.leaky(net.conv("first", "images", 4, 3))
    second = net.leaky(net.conv("second", first, 4, 4))
    total = net.op("Add", [first, second], "sum")
    net.conv("last", net.op("MaxPool", [total], "pooled", kernel_shape=[2, 2]), 4, 4)
    model = net.model(["last"])
    assert groups_of(model)["first_leaky"] == ("first_leaky", "second_leaky", "sum", "pooled")
    same_results(model, equalised(model))


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh"])
def test_other_activations_do_not(kind: str) -> None:
    net = Net()
    net.conv("last", net.op(kind, [net.conv("first", "images", 4, 3)], "curved"), 4, 4)
    assert groups_of(net.model(["last"])) == {}


def same_results(one: onnx.ModelProto, other: onnx.ModelProto) -> None:
    for image in images(3, seed=9):
        for a, b in zip(run(one, image), run(other, image), strict=True):
            assert b == pytest.approx(a, abs=1e-4)


def test_the_network_computes_what_it_did() -> None:
    model = detector()
    same_results(model, equalised(model))


def test_channels_before_a_depthwise_layer_become_even() -> None:
    model = detector()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "wide_w")
    values = onnx.numpy_helper.to_array(weights).copy()
    values *= np.logspace(-1.5, 1.5, 16, dtype=np.float32)[:, None, None, None]
    weights.CopyFrom(onnx.numpy_helper.from_array(values, "wide_w"))

    def spread(model: onnx.ModelProto) -> float:
        view = GraphView(model)
        amax = collect(model, taps_for(view, quant_plan(view)), images(8)).channel_amax["wide_leaky"]
        return float(amax.max() / amax.min())

    assert spread(model) > 100
    assert spread(equalised(model)) == pytest.approx(1, rel=1e-3)
