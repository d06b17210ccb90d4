"""The Q/DQ graph: its form, its numbers against NumPy, and what ONNX Runtime makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from edgeyolo.errors import CalibrationError, GraphError  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.qdq.placement import int8_layers  # noqa: E402
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.qdq.nets import Net, detector, images, run, straight  # noqa: E402

PROVENANCE = Provenance(
    model_sha256="m", preprocess_sha256="p", manifest_sha256="i", images=8, method="minmax"
)


def scales_of(model: onnx.ModelProto, **changes: Any) -> Scales:
    """Exact ranges over a few images, one a group, by running every tensor out."""
    every = onnx.ModelProto()
    every.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del every.graph.output[:]
    every.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    amax: dict[str, float] = {"images": 1.0}
    for image in images(8):
        for name, value in zip(names, run(every, image), strict=True):
            amax[name] = max(amax.get(name, 0.0), float(np.abs(value).max()))
    plan = quant_plan(GraphView(model))
    tensors = {
        name: TensorScale(amax=max(amax[member] for member in group), method="minmax")
        for group in plan.groups
        for name in group
    }
    return Scales(provenance=PROVENANCE, tensors=tensors, **changes)


def constants_of(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def makers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def test_the_form_that_every_tensorrt_loads() -> None:
    model = detector()
    int8 = int8_model(model, scales_of(model), "tensorrt")
    onnx.checker.check_model(int8, full_check=True)
    constants, makers = constants_of(int8), makers_of(int8)
    convs = [node for node in int8.graph.node if node.op_type == "Conv"]
    assert len(convs) == 9
    for conv in convs:
        activation, weight = (makers[name] for name in conv.input[:2])
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        quantise = makers[weight.input[0]]
        assert quantise.op_type == "QuantizeLinear"
        values = constants[quantise.input[0]]
        assert values.dtype == np.float32
        assert constants[conv.input[2]].dtype == np.float32  # the bias has no pair
        for node in (quantise, weight):
            assert {a.name: a.i for a in node.attribute} == {"axis": 0}
        scale, zero = constants[weight.input[1]], constants[weight.input[2]]
        assert scale.dtype == np.float32
        assert scale.shape == zero.shape == (values.shape[0],)
        assert np.allclose(scale * 127, np.abs(values).reshape(len(values), -1).max(axis=1), rtol=1e-6)
    zeros = [constants[n.input[2]] for n in int8.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero.dtype.name for zero in zeros} == {"int8"}
    assert not any(zero.any() for zero in zeros)
    assert list(int8.metadata_props) == list(model.metadata_props)


def test_placement_for_tensorrt() -> None:
    model = detector()
    int8 = int8_model(model, scales_of(model), "tensorrt")
    makers = makers_of(int8)
    # Nothing between a Conv and its activation, and the decode of a head gets the Conv's own float output.
    for node in int8.graph.node:
        if node.op_type == "LeakyRelu":
            assert makers[node.input[0]].op_type == "Conv"
    assert {makers[value.name].op_type for value in int8.graph.output} == {"Conv"}
    # The skip operand of the Add is quantised, its branch is not.
    (add,) = (node for node in int8.graph.node if node.op_type == "Add")
    assert [makers[name].op_type for name in add.input] == ["DequantizeLinear", "Conv"]
    # Movers stand on float tensors; the Q behind them has the same scale as every Q of their inputs.
    for kind in ("MaxPool", "Resize", "Concat"):
        (mover,) = (node for node in int8.graph.node if node.op_type == kind)
        assert all(makers[name].op_type != "DequantizeLinear" for name in mover.input if name in makers)
    quantised = {node.input[0]: node.input[1] for node in int8.graph.node if node.op_type == "QuantizeLinear"}
    assert quantised["pooled"] == quantised["joined"]
    assert quantised["stem_leaky"] != quantised["joined"]


def test_numbers_against_numpy() -> None:
    net = Net()
    net.conv("only", "images", 5, 3, 1)
    model = net.model(["only"])
    weights = net.constants["only_w"][:, :, 0, 0]
    int8 = int8_model(model, scales_of(model), "tensorrt")
    image = images(1, seed=7)[0]
    x = np.clip(np.rint(image[0].reshape(3, -1) * 127), -128, 127)
    step = np.abs(weights).max(axis=1, keepdims=True) / 127
    expected = step * np.rint(weights / step) @ x / 127 + net.constants["only_b"][:, None]
    (found,) = run(int8, image)
    assert found.reshape(5, -1) == pytest.approx(expected, abs=1e-5)


def test_both_targets_compute_the_same_but_for_one_more_rounding() -> None:
    model = detector()
    scales = scales_of(model)
    image = images(1, seed=3)[0]
    exact = run(model, image)
    for target, fuse in (("tensorrt", False), ("onnxruntime", True)):
        found = run(int8_model(model, scales, target), image, fuse=fuse)  # type: ignore[arg-type]
        for one, other in zip(exact, found, strict=True):
            error = np.sqrt(np.square(one - other).mean() / np.square(one).mean())
            assert 0 < error < 0.05  # quantised, and by no more than eight bits explain


def fused(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime makes of a model on this machine."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "fused.onnx")


def test_onnxruntime_fuses_every_layer_but_the_first_and_the_heads(tmp_path: Path) -> None:
    model = detector()
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    kinds = [node.op_type for node in fused(int8, tmp_path).graph.node]
    assert kinds.count("QLinearConv") == 6
    assert kinds.count("QLinearLeakyRelu") == 5
    assert (kinds.count("QLinearAdd"), kinds.count("QLinearConcat")) == (1, 1)
    assert sum(kind in ("Conv", "FusedConv", "Add") for kind in kinds) == 3
    assert "LeakyRelu" not in kinds


@pytest.mark.parametrize(
    ("kind", "integer"),
    [
        ("Relu", []),
        ("Clip", []),
        ("SiLU", ["QLinearSigmoid", "QLinearMul"]),
        ("LeakyRelu", ["QLinearLeakyRelu"]),
    ],
)
def test_onnxruntime_computes_activations_in_int8(kind: str, integer: list[str], tmp_path: Path) -> None:
    model = straight(kind)
    nodes = fused(int8_model(model, scales_of(model), "onnxruntime"), tmp_path).graph.node
    kinds = [node.op_type for node in nodes]
    kinds = kinds[kinds.index("QuantizeLinear") :]  # the first layer and its activation are float
    assert kinds.count("QLinearConv") == 3
    assert not set(kinds) & {"Relu", "Clip", "Sigmoid", "Mul", "LeakyRelu", "FusedConv"}
    assert all(kinds.count(name) == 3 for name in integer)


@pytest.mark.parametrize("kind", ["Relu", "Clip", "LeakyRelu", "SiLU", "Mish", "HardSwish"])
def test_uint8_loses_no_more_than_int8_though_it_rounds_twice(kind: str) -> None:
    model = straight(kind)
    scales = scales_of(model)
    errors = []
    for target, fuse in (("tensorrt", False), ("onnxruntime", True)):
        int8 = int8_model(model, scales, target)  # type: ignore[arg-type]
        pairs = [(run(model, image)[0], run(int8, image, fuse=fuse)[0]) for image in images(4, seed=3)]
        errors.append(np.sqrt(np.mean([np.square(a - b).mean() / np.square(a).mean() for a, b in pairs])))
    assert 0 < errors[1] < 1.1 * errors[0] < 0.05


def test_no_code_is_wasted_on_values_that_cannot_come() -> None:
    net = Net()
    net.op("MaxPool", ["images"], "largest", kernel_shape=[2, 2], strides=[2, 2])
    net.leaky(net.conv("a", "largest", 8, 3))
    net.activation("SiLU", net.conv("b", "a_leaky", 8, 8))
    net.activation("Relu", net.conv("c", "b_silu", 8, 8))
    net.conv("d", "c_relu", 4, 8, 1)
    model = net.model(["d"])
    amax = {
        "images": 0.9,
        "largest": 0.9,
        "a": 9.0,
        "a_leaky": 3.0,
        "b": 40.0,
        "b_silu": 20.0,
        "c": 7.0,
        "c_relu": 5.0,
    }
    tensors = {name: TensorScale(amax=value, method="by hand") for name, value in amax.items()}
    scales = Scales(provenance=PROVENANCE, tensors=tensors)
    constants = constants_of(int8_model(model, scales, "onnxruntime"))

    def ends(name: str) -> tuple[float, float]:
        step, zero = float(constants[f"{name}_scale"]), int(constants[f"{name}_zero_point"])
        assert constants[f"{name}_zero_point"].dtype == np.uint8
        return -zero * step, (255 - zero) * step

    def about(*values: float) -> Any:
        return pytest.approx(values, abs=(values[1] - values[0]) / 128)

    assert ends("images") == pytest.approx((0, 1))  # every pixel value is exact
    assert ends("a") == about(-9, 3)
    assert ends("a_leaky") == about(-0.9, 3)
    low, high = ends("b")
    assert -8 < low < -3  # SiLU makes less than half a step of what is below
    assert high == pytest.approx(20.28, abs=0.2)
    assert ends("b_gate") == pytest.approx((0, 1))
    assert ends("b_silu") == about(-0.278, 20)
    assert ends("c") == ends("c_relu") == pytest.approx((0, 5))
    tensors["a"] = TensorScale(amax=1.0, method="by hand")  # little below 0 takes nothing off what is above
    constants = constants_of(int8_model(model, dataclasses.replace(scales, tensors=tensors), "onnxruntime"))
    assert ends("a") == about(-1, 3)
    assert ends("a_leaky") == about(-0.1, 3)
    assert not {"a_scale", "b_scale"} & constants_of(int8_model(model, scales, "tensorrt")).keys()


def test_the_layer_that_reads_the_picture_is_the_float_model_s_on_onnxruntime() -> None:
    model = detector()
    shift = {"stem": (0.25,) * 8}
    int8 = int8_model(model, scales_of(model, bias_shift=shift), "onnxruntime")
    for each in (int8, model):
        each.graph.output.append(onnx.helper.make_empty_tensor_value_info("stem_leaky"))
    image = images(1, seed=5)[0]
    assert np.array_equal(run(int8, image)[-1], run(model, image)[-1])


def test_slices_of_the_picture_stay_float_in_front_of_the_first_pair() -> None:
    net = Net()
    net.constants |= {"two": np.array([2]), "end": np.array([99]), "y": np.array([2]), "x": np.array([3])}
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            net.constants |= {f"at{row}": np.array([row]), f"at{column}": np.array([column])}
            rows = net.op("Slice", ["images", f"at{row}", "end", "y", "two"], f"rows{row}{column}")
            parts.append(net.op("Slice", [rows, f"at{column}", "end", "x", "two"], f"part{row}{column}"))
    net.op("Concat", parts, "focus", axis=1)
    net.leaky(net.conv("a", "focus", 8, 12))
    net.conv("b", "a_leaky", 4, 8, 1)
    model = net.model(["b"])
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    quantised = [node.input[0] for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert [name for name in quantised if not name.endswith("_w")] == ["focus", "a", "a_leaky"]


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_a_float_layer_stays_exact(target: Any) -> None:
    model = detector()
    int8 = int8_model(model, scales_of(model, float_layers={"neck": "test", "head_b": "test"}), target)
    makers = makers_of(int8)
    for node in int8.graph.node:
        if node.name in ("neck", "head_b"):
            assert node.input[1] == f"{node.name}_w"
    node = {node.name: node for node in int8.graph.node}
    assert makers[node["neck"].input[0]].op_type == "Concat"
    # What the Concat joins, a residual sum among it, ONNX Runtime would round for all who read it.
    for name in ("stem", "thin", "narrow"):
        assert (node[name].input[1] == f"{name}_w") == (target == "onnxruntime")
    assert node["body"].input[1] != "body_w"


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_what_a_float_layer_reads_from_another_is_not_rounded(target: Any) -> None:
    """It stays float because its input cannot be rounded; ONNX Runtime would round that for all readers."""
    model = detector()
    scales = scales_of(model, float_layers={"deep": "test"})
    int8 = int8_model(model, scales, target)
    makers = makers_of(int8)
    node = {node.name: node for node in int8.graph.node}
    assert makers[node["deep"].input[0]].op_type == "LeakyRelu"
    assert (node["wide"].input[1] == "wide_w") == (target == "onnxruntime")
    assert node["thin"].input[1] != "thin_w"
    left = {layer.name for layer in int8_layers(quant_plan(GraphView(model)), target, scales)}
    weighed = {node.name for node in int8.graph.node if node.op_type == "Conv" and node.input[1] in makers}
    assert left == weighed


def test_equalised_weights_change_no_result() -> None:
    model = detector()
    factors = {"wide_leaky": tuple(np.linspace(0.5, 2, 16)), "deep_leaky": tuple(np.linspace(3, 0.2, 16))}
    scales = scales_of(model, channel_factors=factors)
    from edgeyolo.qdq.weights import model_with_weights

    view = GraphView(model)
    equal = model_with_weights(view, quant_plan(view), scales)
    assert not np.array_equal(constants_of(equal)["deep_w"], constants_of(model)["deep_w"])
    for image in images(3):
        for one, other in zip(run(model, image), run(equal, image), strict=True):
            assert other == pytest.approx(one, abs=1e-5)


def test_a_bias_shift_is_added() -> None:
    model = detector()
    shifted = int8_model(model, scales_of(model, bias_shift={"head_a": (0.25,) * 9}), "tensorrt")
    plain = int8_model(model, scales_of(model), "tensorrt")
    image = images(1)[0]
    assert run(shifted, image)[0] == pytest.approx(run(plain, image)[0] + 0.25, abs=1e-5)


def test_refusals_say_what_to_do() -> None:
    model = detector()
    scales = scales_of(model)
    lacking = Scales(
        provenance=PROVENANCE, tensors={k: v for k, v in scales.tensors.items() if k != "wide_leaky"}
    )
    with pytest.raises(CalibrationError, match=r"tensor 'wide_leaky' needs a scale") as caught:
        int8_model(model, lacking, "tensorrt")
    assert "edgeyolo calibrate" in (caught.value.hint or "")
    old = Net()
    old.conv("only", "images", 5, 3, 1)
    with pytest.raises(GraphError, match="opset 13 or newer expected, 12 found"):
        int8_model(old.model(["only"], opset=12), scales, "tensorrt")
    wrong = scales_of(model, channel_factors={"wide_leaky": (1.0, 2.0)})
    with pytest.raises(CalibrationError, match="channel_factors of 'wide_leaky': 16 expected, 2 found"):
        int8_model(model, wrong, "tensorrt")


def test_the_skip_of_an_add_behind_a_float_layer_has_no_pair() -> None:
    # Conv + Add fuse to one INT8 kernel only where the Conv is INT8.
    model = detector()
    int8 = int8_model(model, scales_of(model, float_layers={"thin": "test"}), "tensorrt")
    makers = makers_of(int8)
    (add,) = (node for node in int8.graph.node if node.op_type == "Add")
    assert [makers[name].op_type for name in add.input] == ["LeakyRelu", "Conv"]
