"""The choice of float layers on a known table, and when a change counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

from edgeyolo.calibrate.float_layers import leave_float  # noqa: E402
from edgeyolo.calibrate.simulate import better_on_both_halves  # noqa: E402
from edgeyolo.qdq import GraphView, quant_plan  # noqa: E402
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.qdq.nets import detector  # noqa: E402


class Table:
    """A simulator for float layers: every layer in INT8 adds its own part to the error."""

    def __init__(self, scales: Scales, gains: Mapping[str, float]) -> None:
        self.images = [None] * 4
        self._error = sum(gain for name, gain in gains.items() if name not in scales.float_layers)

    def shares(self, amax: Mapping[str, float], images: range) -> list[float]:
        return [self._error / 4] * len(images)

    def agreement(self, amax: Mapping[str, float]) -> float:
        return 1 - self._error


def test_a_change_counts_where_both_halves_of_the_images_like_it() -> None:
    assert better_on_both_halves([1, 1, 1, 1], [2, 1, 1, 2])
    assert not better_on_both_halves([0, 0, 1, 1.1], [2, 2, 1, 1])
    assert not better_on_both_halves([1, 1.1, 0, 0], [1, 1, 2, 2])
    assert better_on_both_halves([1], [2])
    assert not better_on_both_halves([2], [1])


def left(gains: Mapping[str, float], *, target: float, budget: float) -> dict[str, str]:
    return chosen(lambda scales: Table(scales, gains), target=target, budget=budget)


def chosen(simulate: Any, *, target: float, budget: float) -> dict[str, str]:
    plan = quant_plan(GraphView(detector()))
    provenance = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=8, method="")
    tensors = {name: TensorScale(amax=1, method="") for group in plan.groups for name in group}
    scales = Scales(provenance=provenance, tensors=tensors)
    macs = int(budget * plan.macs)
    return leave_float(plan, scales, simulate, {}, target=target, budget=macs).layers


def test_nothing_stays_float_where_the_target_is_met() -> None:
    assert left({"head_a": 0.5}, target=0.0, budget=0.5) == {}


def test_most_error_for_its_cost_first_and_no_more_than_needed() -> None:
    # head_a has an eighth of neck's multiply-adds; the two together would be more than is needed
    assert list(left({"head_a": 0.3, "neck": 0.4}, target=0.5, budget=0.9)) == ["head_a"]
    found = left({"head_a": 0.3, "neck": 0.4}, target=0.9, budget=0.9)
    assert list(found) == ["head_a", "neck"]
    assert "alone in INT8 it makes an error of 0.3000, for" in found["head_a"]


def test_what_is_too_dear_makes_way_for_what_is_not() -> None:
    plan = quant_plan(GraphView(detector()))
    macs = {layer.name: layer.macs / plan.macs for layer in plan.layers}
    gains = {"neck": 1.0, "head_a": 0.01}
    assert gains["neck"] / macs["neck"] > gains["head_a"] / macs["head_a"]
    assert list(left(gains, target=2, budget=macs["neck"] * 0.99)) == ["head_a"]


def test_layers_that_together_do_harm_are_halved_until_they_do_not() -> None:
    class Crowded(Table):
        """Any one layer in float is well, two are worse than none."""

        def __init__(self, scales: Scales) -> None:
            super().__init__(scales, {})
            self._error = {0: 1.0, 1: 0.5, 2: 2.0}[min(2, len(scales.float_layers))]

    assert len(chosen(Crowded, target=2, budget=0.9)) == 1


def test_the_budget_is_never_passed() -> None:
    plan = quant_plan(GraphView(detector()))
    gains = {layer.name: 0.1 for layer in plan.layers}
    macs = {layer.name: layer.macs for layer in plan.layers}
    for budget in (0.0, 0.02, 0.05, 0.3):
        assert sum(macs[name] for name in left(gains, target=1, budget=budget)) <= budget * plan.macs


def test_a_layer_that_brings_nothing_is_not_left() -> None:
    assert left({"head_a": 0.0, "narrow": -0.1, "deep": 0.2}, target=1, budget=0.9).keys() == {"deep"}
