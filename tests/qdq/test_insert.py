"""The Q/DQ graph: its form, its numbers against NumPy, and what ONNX Runtime makes of it."""

from __future__ import annotations

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
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.qdq.nets import Net, detector, images, run  # noqa: E402

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


def test_onnxruntime_fuses_every_layer_but_the_heads(tmp_path: Path) -> None:
    import onnxruntime as ort

    model = detector()
    int8 = int8_model(model, scales_of(model), "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert kinds.count("QLinearConv") == 7
    assert kinds.count("QLinearLeakyRelu") == 6
    assert (kinds.count("QLinearAdd"), kinds.count("QLinearConcat")) == (1, 1)
    assert sum(kind in ("Conv", "FusedConv", "LeakyRelu", "Add") for kind in kinds) == 2  # the two heads


def test_no_step_is_wasted_in_front_of_a_leaky_relu_whose_input_is_lopsided() -> None:
    net = Net()
    net.leaky(net.conv("a", "images", 8, 3))
    net.conv("b", "a_leaky", 4, 8, 1)
    model = net.model(["b"])
    amax = {"images": 1.0, "a": 9.0, "a_leaky": 3.0}
    tensors = {name: TensorScale(amax=value, method="by hand") for name, value in amax.items()}
    constants = constants_of(int8_model(model, Scales(provenance=PROVENANCE, tensors=tensors), "onnxruntime"))
    assert constants["a_zero_point"].dtype == np.uint8
    step, zero = float(constants["a_scale"]), int(constants["a_zero_point"])
    assert step == pytest.approx(12 / 255)
    assert (0 - zero) * step == pytest.approx(-9, abs=step)
    assert (255 - zero) * step == pytest.approx(3, abs=step)
    assert int(constants["a_leaky_zero_point"]) == int(constants["images_zero_point"]) == 128
    assert not constants_of(
        int8_model(model, Scales(provenance=PROVENANCE, tensors=tensors), "tensorrt")
    ).keys() & {"a_scale", "a_zero_point"}


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_a_float_layer_stays_exact(target: Any) -> None:
    model = detector()
    int8 = int8_model(model, scales_of(model, float_layers={"neck": "test", "head_b": "test"}), target)
    makers = makers_of(int8)
    for node in int8.graph.node:
        if node.name in ("neck", "head_b"):
            assert node.input[1] == f"{node.name}_w"
    neck = next(node for node in int8.graph.node if node.name == "neck")
    assert (makers[neck.input[0]].op_type == "Concat") == (target == "tensorrt")


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
