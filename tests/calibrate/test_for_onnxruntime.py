"""Float layers that take wide ones with them on ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

from edgeyolo.calibrate.for_onnxruntime import keep_wide_layers_in_int8  # noqa: E402
from edgeyolo.calibrate.judge import PlannedModel  # noqa: E402
from edgeyolo.qdq import int8_model  # noqa: E402
from edgeyolo.qdq.placement import int8_layers  # noqa: E402
from edgeyolo.scales import Scales  # noqa: E402
from tests.qdq.nets import Net, images, run  # noqa: E402
from tests.qdq.test_insert import scales_of  # noqa: E402

LEFT = {"small": "", "thin": ""}


def two_branches(*, more: int = 0) -> PlannedModel:
    """``wide`` (576 multiply-adds a value) in front of ``small``, ``narrow`` (64) in front of ``thin``."""
    net = Net()
    stem = net.leaky(net.conv("stem", "images", 64, 3))
    wide = net.leaky(net.conv("wide", stem, 64, 64))
    small = net.leaky(net.conv("small", wide, 8, 64, 1))
    narrow = net.leaky(net.conv("narrow", stem, 64, 64, 1))
    thin = net.leaky(net.conv("thin", narrow, 8, 64, 1))
    net.conv("head_a", small, 8, 8, 1)
    net.conv("head_b", thin, 8, 8, 1)
    heads = ["head_a", "head_b"]
    if more:
        heads.append(net.conv("head_c", net.leaky(net.conv("big", stem, more, 64)), 8, more, 1))
    return PlannedModel(net.model(heads))


def chosen(
    error: Callable[[Scales], float], *, budget: float = 0.05, dead: tuple[str, ...] = ()
) -> tuple[dict[str, str], list[str]]:
    model = two_branches()
    scales = scales_of(model.model, float_layers=LEFT)
    return keep_wide_layers_in_int8(model, scales, error, budget=int(budget * model.plan.macs), dead=dead)


def in_int8(error: float) -> Callable[[Scales], float]:
    """The error is 1, or another where ``small`` is INT8, which wins 84 % of the multiply-adds."""
    return lambda scales: 1.0 if "small" in scales.float_layers else error


def test_the_layer_behind_a_wide_one_is_int8_and_no_other() -> None:
    found, log = chosen(in_int8(1.4))
    assert list(found) == ["small"]
    assert found["small"].startswith("in float it would take 8")  # the share of `wide`
    assert log == [f"small in INT8 on ONNX Runtime: {found['small']}; error there 1.0000 to 1.4000"]


def test_not_at_any_price() -> None:
    found, log = chosen(in_int8(2.6))
    assert found == {}
    assert log[0].endswith("error there 1.0000 to 2.6000, not kept")


def test_the_fewer_multiply_adds_are_won_the_less_error_is_accepted() -> None:
    model = two_branches(more=256)  # a layer behind, which leaves `wide` a smaller share
    share = model.plan.share(layer for layer in model.plan.layers if layer.name == "wide")
    assert 0.1 < share < 0.4
    scales = scales_of(model.model, float_layers=LEFT)
    for error, expected in ((1 + 2.9 * share, ["small"]), (1 + 3.1 * share, [])):
        found, _ = keep_wide_layers_in_int8(model, scales, in_int8(error), budget=0, dead=())
        assert list(found) == expected


def test_all_readers_of_a_wide_layer_or_none() -> None:
    net = Net()
    wide = net.leaky(net.conv("wide", net.leaky(net.conv("stem", "images", 64, 3)), 64, 64))
    for name in ("one", "two"):
        net.conv(f"{name}_head", net.leaky(net.conv(name, wide, 8, 64, 1)), 8, 8, 1)
    model = PlannedModel(net.model(["one_head", "two_head"]))
    scales = scales_of(model.model, float_layers={"one": "", "two": ""})
    found, log = keep_wide_layers_in_int8(model, scales, lambda scales: 1.0, budget=0, dead=())
    assert list(found) == ["one", "two"]
    assert len(log) == 1


def test_a_budget_that_holds_the_wide_ones_is_kept_to() -> None:
    def never(scales: Scales) -> float:
        raise AssertionError("nothing is to be measured")

    assert chosen(never, budget=0.9) == ({}, [])


def test_what_reads_a_tensor_without_a_known_range_stays_float() -> None:
    assert chosen(in_int8(1.0), dead=("wide_leaky",))[0] == {}


def test_only_onnxruntime_computes_it_in_int8() -> None:
    model = two_branches()
    scales = scales_of(model.model, float_layers=LEFT)
    there = dataclasses.replace(scales, int8_on_onnxruntime={"small": "why"})
    for target, gained in (("tensorrt", set()), ("onnxruntime", {"wide", "small"})):
        before, after = (
            {layer.name for layer in int8_layers(model.plan, target, each)}  # type: ignore[arg-type]
            for each in (scales, there)
        )
        assert after - before == gained
        graph = int8_model(model.model, there, target)  # type: ignore[arg-type]
        weighed = {node.name for node in graph.graph.node if f"{node.name}_weight_dq" in node.input}
        assert weighed == after
        (head, _), (plain, _) = run(graph, images(1)[0]), run(model.model, images(1)[0])
        assert head == pytest.approx(plain, abs=0.1)
