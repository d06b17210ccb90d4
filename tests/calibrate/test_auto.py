"""The whole search on a small detector: better than any one method, repeatable, within its budget."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.calibrate import auto  # noqa: E402
from edgeyolo.calibrate.auto import AutoConfig, choice_by_search  # noqa: E402
from edgeyolo.calibrate.choice import Choice, choice_by_method  # noqa: E402
from edgeyolo.calibrate.collect import collect, taps_for  # noqa: E402
from edgeyolo.calibrate.judge import PlannedModel  # noqa: E402
from edgeyolo.calibrate.learn import COST  # noqa: E402
from edgeyolo.errors import DeadTensorError  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.qdq.placement import Target  # noqa: E402
from edgeyolo.scales import Provenance, Scales  # noqa: E402
from tests.calibrate.tiny_detector import write_detector  # noqa: E402
from tests.qdq.nets import detector, images, mobile, run  # noqa: E402

PROVENANCE = Provenance(
    model_sha256="m", preprocess_sha256="p", manifest_sha256="i", images=24, method="auto"
)


def uneven() -> onnx.ModelProto:
    """The detector with channels of very different size, as trained networks have them."""
    model = detector()
    rng = np.random.default_rng(4)
    for tensor in model.graph.initializer:
        if tensor.name in ("wide_w", "body_w", "neck_w"):
            values = onnx.numpy_helper.to_array(tensor).copy()
            values *= np.exp(rng.normal(0, 1.2, len(values))).astype(np.float32)[:, None, None, None]
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model


def searched(model: onnx.ModelProto, **config: float) -> Choice:
    view = GraphView(model)
    batches, held = images(24, seed=2), images(12, seed=3)
    statistics = collect(model, taps_for(view, quant_plan(view)), batches)
    return choice_by_search(model, statistics, batches, held, PROVENANCE, config=AutoConfig(**config))


def error_of(model: onnx.ModelProto, scales: Scales, target: Target = "tensorrt") -> float:
    """Root mean square at the heads, on images that nobody has seen."""
    int8 = int8_model(model, scales, target)
    total = power = 0.0
    for image in images(16, seed=11):
        for one, other in zip(run(model, image), run(int8, image), strict=True):
            total += float(np.square(one - other).sum())
            power += float(np.square(one).sum())
    return float(np.sqrt(total / power))


def test_better_than_every_single_method() -> None:
    model = uneven()
    view = GraphView(model)
    plan = quant_plan(view)
    statistics = collect(model, taps_for(view, plan), images(24, seed=2))
    choice = searched(model, target_agreement=0.0)
    single = [
        error_of(model, choice_by_method(plan, statistics, method, PROVENANCE).scales)
        for method in ("minmax", "percentile", "mse")
    ]
    assert error_of(model, choice.scales) < 0.8 * min(single)
    assert choice.scales.float_layers == {}
    assert any("equalisation of" in line for line in choice.applied)


@pytest.mark.parametrize("model", [uneven(), detector(), mobile()], ids=["uneven", "leaky", "silu"])
def test_onnxruntime_loses_little_more_though_it_rounds_twice(model: onnx.ModelProto) -> None:
    scales = searched(model, target_agreement=1.0, max_float_macs=0.1).scales
    assert error_of(model, scales, "onnxruntime") < 1.7 * error_of(model, scales)


def test_the_scales_of_a_cache_are_those_of_the_plain_graph() -> None:
    choice = searched(uneven(), target_agreement=0.0)
    assert choice.scales.channel_factors
    assert choice.scales.plain.keys() == choice.scales.tensors.keys()
    assert choice.scales.plain["wide_leaky"].amax > 2 * choice.scales.tensors["wide_leaky"].amax
    # In front of an activation a cache has what holds both sides; only ONNX Runtime knows two ends.
    assert choice.scales.tensors["wide"].method == "mse behind the activation"
    assert choice.scales.plain["wide"].amax >= choice.scales.plain["wide_leaky"].amax


def test_offsets_where_they_pay_and_the_cache_without_them() -> None:
    model = mobile()
    choice = searched(model, target_agreement=0.0)
    scales = choice.scales
    assert scales.offsets.keys() == {"deep0_silu", "deep1_silu", "deep2_silu", "wide2_silu"}
    assert "offsets of 4 tensors" in choice.applied
    assert scales.plain.keys() == scales.tensors.keys()
    assert scales.plain["deep1_silu"].amax > 1.5 * scales.tensors["deep1_silu"].amax
    plan = quant_plan(GraphView(model))
    statistics = collect(model, taps_for(GraphView(model), plan), images(24, seed=2))
    mse = choice_by_method(plan, statistics, "mse", PROVENANCE).scales
    assert error_of(model, scales) < 0.8 * error_of(model, mse)


def test_the_same_images_give_the_same_scales() -> None:
    model = uneven()
    assert searched(model).scales == searched(model).scales


@pytest.mark.parametrize(
    ("looks", "said"), [(70, "learnt in 70 looks"), (59, "ranges are not learnt: 0.0 billion")]
)
def test_learning_costs_what_it_may(looks: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = uneven()
    found = PlannedModel(model)
    look = COST * (found.plan.macs + auto._VALUE * found.activation_values)
    monkeypatch.setattr(auto, "_LEARN_WORK", looks * look + 1)
    assert any(said in line for line in searched(model, target_agreement=0.0).log)


def test_float_layers_only_within_the_budget() -> None:
    model = uneven()
    macs = {layer.name: layer.macs for layer in quant_plan(GraphView(model)).layers}
    choice = searched(model, target_agreement=1.0, max_float_macs=0.06)
    assert choice.scales.float_layers
    assert sum(macs[name] for name in choice.scales.float_layers) <= 0.06 * sum(macs.values())
    assert all(any(name in line for line in choice.log) for name in choice.scales.float_layers)


def test_groups_share_one_value() -> None:
    model = uneven()
    tensors = searched(model).scales.tensors
    for group in quant_plan(GraphView(model)).groups:
        assert len({tensors[name] for name in group}) == 1


def test_dead_tensors_stop_it_where_the_float_budget_does_not_hold_their_readers(tmp_path: Path) -> None:
    model = onnx.load(write_detector(tmp_path / "m.onnx", dead=True))
    view = GraphView(model)
    rng = np.random.default_rng(0)
    batches = [rng.random((1, 3, 64, 64), np.float32) for _ in range(4)]
    statistics = collect(model, taps_for(view, quant_plan(view)), batches)
    with pytest.raises(
        DeadTensorError, match=r"tensor 'second' is 0 on all 4 images, and 1 layers behind it"
    ):
        choice_by_search(model, statistics, batches, batches, PROVENANCE, config=AutoConfig())
    allowed = AutoConfig(max_float_macs=0.5)
    choice = choice_by_search(model, statistics, batches, batches, PROVENANCE, config=allowed)
    assert "third_raw" in choice.scales.float_layers
