"""Which tensors carry a scale, and which share one."""

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from edgeyolo.errors import GraphError  # noqa: E402
from edgeyolo.qdq import GraphView, quant_plan  # noqa: E402
from tests.qdq.nets import Net, detector  # noqa: E402


def test_one_scale_where_values_only_move() -> None:
    plan = quant_plan(GraphView(detector()))
    shared = {group for group in plan.groups if len(group) > 1}
    # The route joins the upsampled neck with the residual stream, which a max-pool carries on as well.
    assert shared == {("sum", "pooled", "narrow_leaky", "bigger", "joined")}
    assert plan.sources["sum"] == ("sum", "narrow_leaky")


def test_the_residual_knows_its_branch() -> None:
    (residual,) = quant_plan(GraphView(detector())).residuals
    assert (residual.skip, residual.branch, residual.output) == ("stem_leaky", "thin", "sum")


def test_layers_with_their_activation_and_cost() -> None:
    layers = {layer.name: layer for layer in quant_plan(GraphView(detector())).layers}
    assert list(layers) == ["stem", "wide", "deep", "thin", "body", "head_a", "narrow", "neck", "head_b"]
    assert (layers["stem"].output, layers["stem"].slope) == ("stem_leaky", pytest.approx(0.1))
    assert (layers["thin"].output, layers["thin"].activation) == ("thin", None)
    assert layers["stem"].macs == 8 * 3 * 9 * 8 * 8
    assert layers["deep"].macs == 16 * 1 * 9 * 8 * 8


def test_a_sum_of_a_sum_is_residual_too() -> None:
    net = Net()
    first = net.conv("first", "images", 4, 3)
    second = net.conv("second", first, 4, 4)
    one = net.op("Add", [second, first], "one")
    third = net.conv("third", second, 4, 4)
    two = net.op("Add", [third, one], "two")
    net.conv("last", two, 4, 4)
    plan = quant_plan(GraphView(net.model(["last"])))
    assert [(r.skip, r.output) for r in plan.residuals] == [("first", "one"), ("one", "two")]


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (["Sigmoid"], "SiLU"),
        (["Softplus", "Tanh"], "Mish"),
        (["HardSigmoid"], "HardSwish"),
        (["Sigmoid", "Tanh"], "gate"),
    ],
)
def test_a_gate_is_one_activation(kinds: list[str], name: str) -> None:
    net = Net()
    raw = net.conv("raw", "images", 4, 3)
    gate = raw
    for kind in kinds:
        gate = net.op(kind, [gate], f"{kind}_out")
    product = net.op("Mul", [raw, gate], "product")
    net.conv("last", product, 4, 4)
    layer = quant_plan(GraphView(net.model(["last"]))).layers[0]
    assert (layer.activation, layer.output, layer.slope) == (name, "product", None)
    assert layer.gate == ("Sigmoid_out" if name == "SiLU" else None)


def test_a_quantised_model_is_refused() -> None:
    net = Net()
    net.constants |= {"s": np.float32(0.1), "z": np.int8(0)}
    net.op("QuantizeLinear", ["images", "s", "z"], "q")
    net.conv("last", net.op("DequantizeLinear", ["q", "s", "z"], "dq"), 4, 3)
    with pytest.raises(GraphError, match=r"node 'q' is a QuantizeLinear: the model is quantised already"):
        GraphView(net.model(["last"]))


def test_nothing_to_quantise_is_refused() -> None:
    net = Net()
    net.op("Sigmoid", ["images"], "out")
    with pytest.raises(GraphError, match="nothing to make INT8"):
        quant_plan(GraphView(net.model(["out"])))


def test_fp16_weights_are_named() -> None:
    model = detector()
    for tensor in model.graph.initializer:
        if tensor.data_type == tensor.FLOAT:
            halves = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(halves, tensor.name))
    with pytest.raises(GraphError, match="FP32 weights expected, FP16 weights found") as caught:
        quant_plan(GraphView(model))
    assert "half=False" in (caught.value.hint or "")
