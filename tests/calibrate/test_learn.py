"""Learnt steps: nearer to the float outputs than what they began with, on images nobody has seen."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgeyolo.calibrate.agreement import OutputDeviation  # noqa: E402
from edgeyolo.calibrate.collect import collect, taps_for  # noqa: E402
from edgeyolo.calibrate.equalize import channel_groups  # noqa: E402
from edgeyolo.calibrate.learn import Learnt, learn_steps  # noqa: E402
from edgeyolo.calibrate.ranges import uniform_amax  # noqa: E402
from edgeyolo.calibrate.simulate import float_outputs  # noqa: E402
from edgeyolo.qdq import GraphView, int8_model, quant_plan  # noqa: E402
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.calibrate.test_auto import uneven  # noqa: E402
from tests.calibrate.test_gradient import Net  # noqa: E402
from tests.qdq.nets import images, run  # noqa: E402

PROVENANCE = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=8, method="")


def error_of(scales: Scales) -> float:
    """The error that is learnt by, on images that nobody has seen."""
    model, unseen = uneven(), images(24, seed=11)
    int8 = int8_model(model, scales, "tensorrt")
    error = OutputDeviation(float_outputs(model, unseen))
    return sum(error.of(index, run(int8, image)) for index, image in enumerate(unseen))


def learnt(*, channels: bool) -> tuple[Scales, Scales, Learnt]:
    """Give the scales before and after learning, and what was learnt."""
    model = uneven()
    view = GraphView(model)
    plan = quant_plan(view)
    batches = images(24, seed=2)
    statistics = collect(model, taps_for(view, plan), batches)
    far_off = 2.5  # steps that are too coarse
    amax = {g: far_off * v for g, v in uniform_amax(plan, statistics, "percentile 99.99", ()).items()}

    def scales(amax: dict[str, float], **more: object) -> Scales:
        tensors = {n: TensorScale(amax=amax[g[0]], method="") for g in plan.groups for n in g}
        return Scales(provenance=PROVENANCE, tensors=tensors, **more)  # type: ignore[arg-type]

    before = scales(amax)
    said: list[tuple[int, int]] = []
    found = learn_steps(
        view,
        plan,
        before,
        batches,
        OutputDeviation(float_outputs(model, images(8, seed=3))),
        passes=160,
        rate=0.05,
        channels=channel_groups(view, plan) if channels else (),
        progress=lambda done, total: said.append((done, total)),
    )
    assert said[-1] == (160, 160)
    return before, scales({**amax, **found.amax}, channel_factors=found.factors), found


def test_ranges() -> None:
    before, after, found = learnt(channels=False)
    assert found.factors == {}
    assert found.stopped == ()
    assert error_of(after) < 0.5 * error_of(before)


def test_channels_are_better_than_ranges_and_leave_the_float_network_what_it_is() -> None:
    _, ranges, _ = learnt(channels=False)
    _, after, found = learnt(channels=True)
    model = uneven()
    assert error_of(after) < error_of(ranges)
    every = {layer.name: "" for layer in quant_plan(GraphView(model)).layers}
    as_float = Scales(
        provenance=PROVENANCE, tensors=after.tensors, channel_factors=found.factors, float_layers=every
    )
    image = images(1, seed=9)[0]
    for one, other in zip(
        run(model, image), run(int8_model(model, as_float, "tensorrt"), image), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_the_same_images_teach_the_same() -> None:
    assert learnt(channels=True)[1] == learnt(channels=True)[1]


def test_where_no_gradient_reaches_a_range_nothing_is_learnt_and_no_image_looked_at() -> None:
    net = Net()
    model = net.model(net.add("Sin", "x"))
    view = GraphView(model)
    plan = quant_plan(view)
    tensors = {n: TensorScale(amax=1.0, method="") for g in plan.groups for n in g}
    scales = Scales(provenance=PROVENANCE, tensors=tensors)
    error = OutputDeviation([[np.ones((1, 2), np.float32)]])

    def nothing(*_: int) -> None:
        raise AssertionError("it looked at an image")

    found = learn_steps(view, plan, scales, [], error, passes=8, rate=0.1, channels=(), progress=nothing)
    assert found == Learnt({}, {}, ("Sin",))


def behind_the_head(*, open_batch: bool) -> onnx.ModelProto:
    """Give a network whose output is reshaped and parted, as exporters with an open batch write it."""
    model = uneven()
    graph = model.graph
    head, channels = graph.output[0].name, GraphView(model).shapes[graph.output[0].name][1]
    constants = {
        "first": [0],
        "rest": [channels, -1],
        "static": [1, channels, -1],
        "sizes": [1, channels - 1],
    }
    made = [helper.make_node("Reshape", [head, "static"], ["flat"])]
    if open_batch:
        graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
        made = [
            helper.make_node("Shape", ["images"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["batch"]),
            helper.make_node("Concat", ["batch", "rest"], ["open"], axis=0),
            helper.make_node("Reshape", [head, "open"], ["flat"]),
        ]
    made += [
        helper.make_node("Split", ["flat", "sizes"], ["one", "other"], axis=1),
        helper.make_node("Concat", ["other", "one"], ["y"], axis=1),
    ]
    graph.node.extend(made)
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3))
    return model


def test_an_open_batch_hides_no_shape_and_teaches_the_same() -> None:
    """YOLOv8 as it is exported with dynamic axes ended in ONNX Runtime's ShapeInferenceError."""
    found = []
    for open_batch in (False, True):
        model = behind_the_head(open_batch=open_batch)
        view = GraphView(model)
        assert all(min(view.shapes[name], default=1) > 0 for node in view.nodes for name in node.output)
        plan = quant_plan(view)
        tensors = {n: TensorScale(amax=4.0, method="") for g in plan.groups for n in g}
        learnt = learn_steps(
            view, plan, Scales(provenance=PROVENANCE, tensors=tensors), images(8, seed=2),
            OutputDeviation(float_outputs(model, images(4, seed=3))),
            passes=16, rate=0.05, channels=channel_groups(view, plan), progress=lambda done, total: None,
        )  # fmt: skip
        assert learnt.stopped == ()
        found.append(learnt)
    assert found[0] == found[1]
    assert any(value != 4.0 for value in found[0].amax.values())
