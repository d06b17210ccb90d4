"""Float layers by what ONNX Runtime's own kernels do: no worse than before, and within the budget."""

from __future__ import annotations

import dataclasses

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

from edgeyolo.calibrate.agreement import OutputDeviation  # noqa: E402
from edgeyolo.calibrate.auto import AutoConfig  # noqa: E402
from edgeyolo.calibrate.choice import Choice  # noqa: E402
from edgeyolo.calibrate.collect import collect, taps_for  # noqa: E402
from edgeyolo.calibrate.kernels import suited_to_onnxruntime  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.scales import Scales, TensorScale  # noqa: E402
from tests.qdq.nets import detector, images, run  # noqa: E402
from tests.qdq.test_insert import scales_of  # noqa: E402

MODEL = detector()
VIEW = GraphView(MODEL)
PLAN = quant_plan(VIEW)
HELD_BACK = images(6, seed=9)


def suited(scales: Scales, *, target: float, budget: float) -> Choice:
    statistics = collect(MODEL, taps_for(VIEW, PLAN), images(4))
    config = AutoConfig(target_agreement=target, max_float_macs=budget)
    return suited_to_onnxruntime(Choice(scales=scales), MODEL, PLAN, statistics, HELD_BACK, config)


def error_of(scales: Scales) -> float:
    error = OutputDeviation([run(MODEL, image) for image in HELD_BACK])
    int8 = int8_model(MODEL, scales, "onnxruntime")
    return sum(error.of(i, run(int8, image, fuse=True)) for i, image in enumerate(HELD_BACK))


def spoiled() -> Scales:
    """Scales that clip in front of one activation, which TensorRT does not read at all."""
    scales = scales_of(MODEL)
    return dataclasses.replace(
        scales,
        tensors={**scales.tensors, "wide": TensorScale(amax=scales.tensors["wide"].amax / 8, method="test")},
        float_layers={"neck": "chosen for TensorRT"},
    )


def test_the_layer_that_the_kernels_spoil_is_left_in_float_within_the_budget() -> None:
    before = spoiled()
    found = suited(before, target=1.0, budget=0.3)
    left = found.scales.float_layers
    assert "wide" in left
    assert sum(layer.macs for layer in PLAN.layers if layer.name in left) <= 0.3 * PLAN.macs
    assert error_of(found.scales) < error_of(before) / 2
    assert found.scales.tensors == before.tensors
    assert any("by onnxruntime's kernels" in line for line in found.log)


@pytest.mark.parametrize(("target", "budget"), [(0.0, 0.3), (1.0, 0.0)])
def test_what_is_good_enough_or_has_no_budget_stays_as_it_is(target: float, budget: float) -> None:
    before = spoiled()
    found = suited(before, target=target, budget=budget)
    assert found.scales == before
    assert "as onnxruntime computes it: agreement" in found.log[0]
