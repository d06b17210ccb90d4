"""Fitted weights against straight least squares, and rounding against solving anew after every weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
onnx = pytest.importorskip("onnx")

from edgeyolo.calibrate import moments as moments_module  # noqa: E402
from edgeyolo.calibrate import reconstruct  # noqa: E402
from edgeyolo.calibrate.fitted import with_fitted_weights  # noqa: E402
from edgeyolo.calibrate.moments import Moments, collect_moments, layers_with_moments  # noqa: E402
from edgeyolo.calibrate.reconstruct import fit  # noqa: E402
from edgeyolo.errors import CalibrationError  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.qdq.weights import adjusted_weights, packed_steps, unpacked_steps  # noqa: E402
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.qdq.nets import Net, detector, images, run  # noqa: E402

PROVENANCE = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=8, method="")


def moments_of(x: Any, q: Any) -> Moments:
    return Moments(q.T[None] @ q / len(q), x.T[None] @ q / len(q), len(q))


def samples(count: int, inputs: int, *, step: float) -> tuple[Any, Any]:
    """Correlated inputs with a constant 1 behind them, and the same in steps."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(count, inputs)) @ rng.normal(size=(inputs, inputs))
    q = np.rint(x / step) * step
    ones = np.ones((count, 1))
    return np.hstack([x, ones]), np.hstack([q, ones])


def stacked(q: Any, share: float) -> tuple[Any, Any]:
    """The samples, and below them the rows that draw towards what the weights were, the bias hardly."""
    power = np.square(q[:, :-1]).mean()
    pull = np.sqrt(np.append(np.full(q.shape[1] - 1, share * power + reconstruct._TINY), reconstruct._TINY))
    return np.vstack([q / np.sqrt(len(q)), np.diag(pull)]), pull


def naive(weights: Any, x: Any, q: Any, step: float) -> tuple[Any, Any]:
    """Fit from the samples; then round one weight after the other, solving for all still free each time."""
    rows, pull = stacked(q, reconstruct._PULL)
    aim = np.concatenate([x @ weights / np.sqrt(len(x)), pull * weights])
    fitted = np.linalg.lstsq(rows, aim, rcond=None)[0]
    rows, _ = stacked(q, reconstruct._DAMPING)
    fixed: list[float] = []
    for place in range(len(weights)):
        rest = rows @ fitted - rows[:, :place] @ np.array(fixed, np.float64)
        free = np.linalg.lstsq(rows[:, place:], rest, rcond=None)[0][0]
        last = place == len(weights) - 1
        fixed.append(float(free) if last else float(np.clip(np.rint(free / step), -127, 127)) * step)
    return np.rint(np.array(fixed[:-1]) / step), fixed[-1]


def test_rounding_is_that_of_solving_anew_after_every_weight() -> None:
    x, q = samples(400, 6, step=1.5)
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(3, 6)), rng.normal(size=3)
    step = np.abs(weights).max(axis=1).astype(np.float32) / 20  # coarse, so that rounding matters
    fitted = fit(weights.reshape(3, 6, 1, 1), bias, step, moments_of(x, q))
    for row in range(3):
        steps, shifted = naive(np.append(weights[row], bias[row]), x, q, float(step[row]))
        assert fitted.steps[row].ravel().tolist() == steps.tolist()
        assert fitted.bias[row] == pytest.approx(shifted, abs=1e-5)


def test_the_output_comes_nearer_than_with_the_nearest_steps() -> None:
    x, q = samples(2000, 24, step=2.0)
    weights = np.random.default_rng(2).normal(size=(8, 24))
    step = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    fitted = fit(weights.reshape(8, 24, 1, 1), np.zeros(8), step, moments_of(x, q))
    wanted = x[:, :-1] @ weights.T
    nearest = q[:, :-1] @ (np.rint(weights / step[:, None]) * step[:, None]).T
    found = q[:, :-1] @ (fitted.steps.reshape(8, 24) * step[:, None]).T + fitted.bias
    assert np.square(found - wanted).mean() < 0.99 * np.square(nearest - wanted).mean()


def test_channels_that_are_never_on_change_nothing() -> None:
    x, q = samples(100, 4, step=0.5)
    x[:, 2] = q[:, 2] = 0
    weights = np.array([[0.5, -0.25, 1.0, 0.75]])
    fitted = fit(weights.reshape(1, 4, 1, 1), np.zeros(1), np.array([1 / 127], np.float32), moments_of(x, q))
    assert fitted.steps.ravel()[2] == 127
    assert np.isfinite(fitted.bias).all()


def strided() -> onnx.ModelProto:
    """Stride, dilation, uneven padding, groups and depthwise: everything that moves a patch."""
    net = Net()
    first = net.leaky(net.conv("first", "images", 8, 3, stride=2))
    net.conv("second", first, 8, 8, group=8)
    net.nodes[-1].attribute.append(onnx.helper.make_attribute("dilations", [2, 1]))
    del net.nodes[-1].attribute[2]
    net.nodes[-1].attribute.append(onnx.helper.make_attribute("pads", [2, 0, 1, 1]))
    net.conv("third", net.leaky("second"), 6, 8, group=2)
    return net.model(["third"])


def test_moments_are_those_of_the_patches_that_the_layer_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments_module, "_POSITIONS", range(1000, 1001))  # all there are
    model = strided()
    onnx.checker.check_model(model, full_check=True)
    view = GraphView(model)
    plan = quant_plan(view)
    layers = layers_with_moments(view, plan, ())
    assert [layer.name for layer in layers] == ["first", "second", "third"]
    batches = images(3)
    moments = collect_moments(model, layers, {layer.input: 0.05 for layer in layers}, batches)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(layer.raw_output) for layer in layers[:2]
    )
    for layer in layers:
        # A layer's mean output is w · E[x] + b, and E[x] stands in the last column.
        weights = np.asarray(view.constant(layer.weight), np.float64)
        mean = moments[layer.name].xq[:, :-1, -1]
        per_group = weights.reshape(layer.groups, -1, mean.shape[1])
        expected = np.einsum("grn,gn->gr", per_group, mean).ravel() + np.asarray(
            view.constant(layer.bias or "")
        )
        outputs = [
            dict(zip(("third", "first", "second"), run(probe, batch), strict=True)) for batch in batches
        ]
        found = np.mean([out[layer.name].mean(axis=(0, 2, 3)) for out in outputs], axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def uniform(model: onnx.ModelProto) -> Scales:
    """Coarse steps that clip nothing much, so that what is lost is lost by rounding."""
    names = [name for group in quant_plan(GraphView(model)).groups for name in group]
    return Scales(provenance=PROVENANCE, tensors={name: TensorScale(amax=24.0, method="") for name in names})


def error(model: onnx.ModelProto, scales: Scales) -> float:
    int8 = int8_model(model, scales, "tensorrt")
    return sum(
        float(np.square(one - other).sum())
        for image in images(12, seed=9)
        for one, other in zip(run(model, image), run(int8, image), strict=True)
    )


def test_a_network_with_fitted_weights_is_nearer_on_images_not_seen() -> None:
    model = detector()
    view = GraphView(model)
    plan = quant_plan(view)
    plain = uniform(model)
    done: list[tuple[int, int]] = []

    def fitted() -> Scales:
        return with_fitted_weights(
            view, plan, plain, images(32), 32, progress=lambda *state: done.append(state)
        )

    scales = fitted()
    assert scales.weight_steps.keys() == {layer.name for layer in plan.layers}
    assert error(model, scales) < 0.9 * error(model, plain)
    assert done[-1] == (32, 32)
    assert fitted() == scales


@pytest.mark.parametrize("count", [8, 64])
def test_a_layer_that_so_few_pictures_say_nothing_of_is_not_fitted(count: int) -> None:
    """Squeeze-and-excitation has one position an image."""
    net = Net()
    stem = net.leaky(net.conv("stem", "images", 16, 3))
    mean = net.op("GlobalAveragePool", [stem], "mean")
    squeezed = net.op("Relu", [net.conv("squeeze", mean, 16, 16, 1)], "squeezed")
    gate = net.op("Sigmoid", [net.conv("excite", squeezed, 16, 16, 1)], "gate")
    net.conv("head", net.op("Mul", [stem, gate], "scaled"), 8, 16, 1)
    model = net.model(["head"])
    view = GraphView(model)
    scales = with_fitted_weights(
        view, quant_plan(view), uniform(model), images(count), count, progress=lambda done, total: None
    )
    often = {"stem", "head"} if count == 8 else {"stem", "head", "squeeze", "excite"}
    assert scales.weight_steps.keys() == scales.weight_amax.keys() == scales.bias_shift.keys() == often
    int8_model(model, scales, "tensorrt")


def test_steps_stand_in_the_int8_model_as_they_were_written() -> None:
    model = detector()
    view = GraphView(model)
    plan = quant_plan(view)
    scales = with_fitted_weights(
        view, plan, uniform(model), images(32), 32, progress=lambda done, total: None
    )
    int8 = int8_model(model, scales, "tensorrt")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in int8.graph.initializer}
    weights = adjusted_weights(view, plan, scales)
    for layer in plan.layers:
        scale = constants[f"{layer.name}_weight_scale"][:, None, None, None]
        steps = np.asarray(view.constant(layer.weight), np.float64) / scale
        off = unpacked_steps(scales.weight_steps[layer.name], steps.shape)
        np.testing.assert_allclose(constants[layer.weight] / scale, np.rint(steps) + off, atol=1e-3)
        assert np.abs(np.rint(constants[layer.weight] / scale)).max() <= 127
        np.testing.assert_array_equal(weights[layer.weight], constants[layer.weight])


def test_a_layer_in_float_keeps_its_own_weights() -> None:
    model = detector()
    view = GraphView(model)
    plan = quant_plan(view)
    scales = with_fitted_weights(view, plan, uniform(model), images(8), 8, progress=lambda done, total: None)
    kept = Scales(
        provenance=PROVENANCE,
        tensors=scales.tensors,
        float_layers={"body": ""},
        weight_amax=scales.weight_amax,
        weight_steps=scales.weight_steps,
        bias_shift=scales.bias_shift,
    )
    changed = adjusted_weights(view, plan, kept)
    assert not {"body_w", "body_b"} & changed.keys()
    assert {"neck_w", "neck_b"} <= changed.keys()


@pytest.mark.parametrize("packed", ["", "?", "AAAA", packed_steps(np.zeros(3, np.int16))])
def test_steps_of_other_weights_are_refused(packed: str) -> None:
    with pytest.raises(CalibrationError, match=r"weight_steps: those of weights of shape \(2, 2\) expected"):
        unpacked_steps(packed, (2, 2))
