"""Offsets: who may have one, the same float network, finer steps, and both targets computing one thing."""

from __future__ import annotations

import dataclasses

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.errors import CalibrationError  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.qdq.offsets import model_with_offsets, offset_floors, without_offsets  # noqa: E402
from edgeyolo.scales import Scales, TensorScale, read_scales  # noqa: E402
from tests.qdq.nets import Net, detector, images, mobile, run  # noqa: E402
from tests.qdq.test_insert import constants_of, makers_of, scales_of  # noqa: E402

READ_WITHOUT_PADDING = {"deep0_silu", "deep1_silu", "deep2_silu", "wide2_silu"}


def offset(model: onnx.ModelProto) -> Scales:
    """Scales of `model` with an offset wherever there may be one, each with its exact range."""
    plain = scales_of(model)
    view = GraphView(model)
    floors = offset_floors(view, quant_plan(view))
    tensors, offsets = dict(plain.tensors), {}
    for name, floor in floors.items():
        amax = plain.tensors[name].amax
        offsets[name] = (amax + floor) / 2
        tensors[name] = TensorScale(amax=amax - offsets[name], method="minmax")
    return dataclasses.replace(plain, tensors=tensors, offsets=offsets)


def floors_of(model: onnx.ModelProto) -> dict[str, float]:
    view = GraphView(model)
    return offset_floors(view, quant_plan(view))


def test_what_pointwise_activations_give_to_convolutions_that_do_not_pad() -> None:
    assert floors_of(mobile()) == dict.fromkeys(READ_WITHOUT_PADDING, -0.278465)
    assert floors_of(mobile("Mish")).keys() == {name.replace("silu", "mish") for name in READ_WITHOUT_PADDING}
    assert set(floors_of(mobile("HardSwish")).values()) == {-0.375}
    assert floors_of(mobile("Relu")) == {}
    assert floors_of(detector()) == {}


def test_a_tensor_that_others_read_too_has_none() -> None:
    net = Net()
    first = net.activation("SiLU", net.conv("first", "images", 8, 3))
    second = net.activation("SiLU", net.conv("second", first, 8, 8, 1))
    third = net.activation("SiLU", net.conv("third", second, 8, 8, 1))
    total = net.op("Add", [second, third], "sum")
    last = net.activation("SiLU", net.conv("last", total, 8, 8, 1))
    net.conv("head", last, 8, 8, 1)
    model = net.model(["head", "first_silu"])  # what is an output must stay what it is
    assert floors_of(model).keys() == {"last_silu"}


def test_a_bias_that_two_layers_share_is_not_touched() -> None:
    model = mobile()
    for node in model.graph.node:
        if node.name == "wide1":
            node.input[2] = "wide0_b"
    assert floors_of(model).keys() == {"deep2_silu", "wide2_silu"}


@pytest.mark.parametrize("kind", ["SiLU", "Mish", "HardSwish"])
def test_the_float_network_stays_what_it_is(kind: str) -> None:
    model = mobile(kind)
    moved = model_with_offsets(model, offset(model).offsets)
    onnx.checker.check_model(moved, full_check=True)
    assert [node.op_type for node in moved.graph.node].count("Sub") == 4
    for image in images(3):
        np.testing.assert_allclose(run(model, image)[0], run(moved, image)[0], rtol=1e-4, atol=1e-4)
    assert model_with_offsets(moved, offset(model).offsets) is moved
    before, after = (quant_plan(GraphView(each)) for each in (model, moved))
    assert before.groups == after.groups
    assert [layer.output for layer in before.layers] == [layer.output for layer in after.layers]


def test_the_tensorrt_form_rounds_what_is_left_and_is_nearer_to_float() -> None:
    model = mobile()
    scales = offset(model)
    int8 = int8_model(model, scales, "tensorrt")
    onnx.checker.check_model(int8, full_check=True)
    constants, makers = constants_of(int8), makers_of(int8)
    for name in READ_WITHOUT_PADDING:
        rounded = [node for node in int8.graph.node if list(node.input[:1]) == [name]]
        assert [node.op_type for node in rounded] == ["QuantizeLinear"]
        taken = makers[name]
        assert taken.op_type == "Sub"
        assert makers[taken.input[0]].op_type == "Mul"
        assert constants[taken.input[1]].shape == ()
        assert constants[rounded[0].input[1]] == np.float32(scales.tensors[name].amax / 127)
        assert constants[rounded[0].input[2]] == 0
    # of the layers that read them, the others in float
    plan = quant_plan(GraphView(model))
    others = {layer.name: "" for layer in plan.layers if layer.input not in scales.offsets}
    with_offsets, without = (
        int8_model(model, dataclasses.replace(each, float_layers=others), "tensorrt")
        for each in (scales, scales_of(model))
    )
    assert error(model, with_offsets) < 0.6 * error(model, without)


def test_layers_in_float_read_the_same() -> None:
    model = mobile()
    every = {layer.name: "" for layer in quant_plan(GraphView(model)).layers}
    scales = dataclasses.replace(offset(model), float_layers=every)
    for target in ("tensorrt", "onnxruntime"):
        assert error(model, int8_model(model, scales, target)) < 1e-9


def test_the_onnxruntime_form_has_no_offsets_and_computes_the_same() -> None:
    model = mobile()
    scales = offset(model)
    # Steps so coarse that their sum is far from that of the weights, and a bias that was fitted beside them
    coarse = {layer.name: (4.0,) * layer.channels for layer in quant_plan(GraphView(model)).layers}
    shift = {"wide1": tuple(np.linspace(-1, 1, 16))}
    scales = dataclasses.replace(scales, weight_amax=coarse, bias_shift=shift)
    int8 = int8_model(model, scales, "onnxruntime")
    onnx.checker.check_model(int8, full_check=True)
    assert "Sub" not in {node.op_type for node in int8.graph.node}
    plain = without_offsets(GraphView(model), quant_plan(GraphView(model)), scales)
    assert plain.offsets == {}
    assert plain.tensors["deep0_silu"].amax == pytest.approx(scales_of(model).tensors["deep0_silu"].amax)
    tensorrt = int8_model(model, scales, "tensorrt")
    apart = np.mean([(run(int8, i)[0] - run(tensorrt, i)[0]).mean(axis=(0, 2, 3)) for i in images(6)], axis=0)
    unmended = int8_model(model, dataclasses.replace(plain, bias_shift=shift), "onnxruntime")
    off = np.mean(
        [(run(unmended, i)[0] - run(tensorrt, i)[0]).mean(axis=(0, 2, 3)) for i in images(6)], axis=0
    )
    assert np.abs(apart).mean() < 0.3 * np.abs(off).mean()


@pytest.mark.parametrize(
    ("tensor", "value"), [("nowhere", 1.0), ("images", 1.0), ("wide0_silu", 1.0), ("deep0_silu", np.nan)]
)
def test_an_offset_that_the_model_cannot_have(tensor: str, value: float) -> None:
    scales = dataclasses.replace(scales_of(mobile()), offsets={tensor: value})
    for target in ("tensorrt", "onnxruntime"):
        with pytest.raises(CalibrationError, match=f"offset of '{tensor}': a finite number"):
            int8_model(mobile(), scales, target)


def test_they_are_written_down(tmp_path: object) -> None:
    path = f"{tmp_path}/scales.json"
    scales = offset(mobile())
    scales.write(path)
    assert read_scales(path) == scales


def error(model: onnx.ModelProto, int8: onnx.ModelProto) -> float:
    return float(np.mean([np.square(run(model, i)[0] - run(int8, i)[0]).mean() for i in images(6, seed=5)]))


@pytest.mark.needs("tensorrt-rtx")
def test_nvidias_compiler_makes_as_many_kernels_of_it() -> None:
    from tools.compiled_kernels import kernels_of

    model = mobile()
    with_offsets = kernels_of(int8_model(model, offset(model), "tensorrt").SerializeToString())
    without = kernels_of(int8_model(model, scales_of(model), "tensorrt").SerializeToString())
    assert sum(with_offsets.values()) == sum(without.values()) > 0
    assert any("SiluAdd" in name for name in with_offsets)
