"""Detectors that choose boxes themselves: end to end, ONNX's NonMaxSuppression, TensorRT's EfficientNMS."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions
from tests.adapt.foreign import BOXES, SIZE, Net, check, corners, is_kept, picture, run
from tests.adapt.test_predictions import anchor_free, class_scores

K = 10


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def end_to_end(classes: int = 5, **options: Any) -> onnx.ModelProto:
    """The best K of all boxes by their best class, as YOLOv10's exporter writes it."""
    net = Net(**options)
    boxes = net.transpose(anchor_free(net, corners_out=True), 0, 2, 1)
    scores = net.transpose(class_scores(net, classes), 0, 2, 1)
    best = net.op("ReduceMax", scores, axes=[2], keepdims=0)
    net.nodes.append(helper.make_node("TopK", [best, net.const([K], np.int64)], ["top", "where"], axis=1))
    class_id = net.op("ArgMax", scores, axis=2, keepdims=0)
    rows = net.op("GatherElements", class_id, "where", axis=1)
    wide = net.op("Expand", net.reshape("where", 0, K, 1), net.const([1, K, 4], np.int64))
    joined = [
        net.op("GatherElements", boxes, wide, axis=1),
        net.reshape("top", 0, K, 1),
        net.reshape(net.cast(rows, TensorProto.FLOAT), 0, K, 1),
    ]
    net.concat(*joined, axis=2, to="output0")
    return net.model({"output0": [1, K, 6]})


def spread(rows: np.ndarray, classes: int) -> np.ndarray:
    scores = np.zeros((*rows.shape[:2], classes))
    for picture_id, place in np.ndindex(*rows.shape[:2]):
        scores[picture_id, place, int(rows[picture_id, place, 5])] = rows[picture_id, place, 4]
    return scores


def test_end_to_end() -> None:
    original = end_to_end()
    adapted = adapt(original)
    rows = run(original, picture())["output0"]
    check(adapted.model, rows[..., :4].astype(np.float64), spread(rows, 5), picture())
    assert is_kept(original, adapted.model)
    assert (adapted.evidence.family, adapted.evidence.classes) == ("end2end", 5)
    assert any("TopK" in reason for reason in adapted.evidence.reasons)


def test_boxes_scores_and_classes_as_three_outputs() -> None:
    original = end_to_end()
    joined = original.graph.node.pop()
    boxes, scores, classes = joined.input
    flat = helper.make_tensor("flat", TensorProto.INT64, [2], [1, K])
    original.graph.initializer.append(flat)
    original.graph.node.extend(
        [
            helper.make_node("Identity", [boxes], ["out_boxes"]),
            helper.make_node("Reshape", [scores, "flat"], ["out_scores"]),
            helper.make_node("Reshape", [classes, "flat"], ["float_labels"]),
            helper.make_node("Cast", ["float_labels"], ["labels"], to=TensorProto.INT64),
        ]
    )
    del original.graph.output[:]
    for name, kind, shape in (
        ("labels", TensorProto.INT64, [1, K]),
        ("out_boxes", TensorProto.FLOAT, [1, K, 4]),
        ("out_scores", TensorProto.FLOAT, [1, K]),
    ):
        original.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    adapted = adapt(original)
    raw = run(original, picture())
    rows = np.concatenate([raw["out_boxes"], raw["out_scores"][..., None], raw["labels"][..., None]], axis=2)
    check(adapted.model, rows[..., :4].astype(np.float64), spread(rows, 5), picture())
    assert adapted.evidence.family == "end2end-apart"


def test_rows_of_one_class_are_not_end_to_end() -> None:
    net = Net()
    ones = net.const(np.ones((1, 1, BOXES)))
    joined = net.concat(anchor_free(net), ones, class_scores(net, 1), axis=1)
    net.transpose(joined, 0, 2, 1, to="output0")
    adapted = adapt(net.model({"output0": [1, BOXES, 6]}))
    assert (adapted.evidence.family, adapted.evidence.classes) == ("yolov5", 1)


def test_class_count_that_nobody_knows_is_said() -> None:
    net = Net()
    rows = net.reshape(net.conv(K * 6, 64), 1, K, 6)
    net.op("Abs", rows, to="output0")
    adapted = adapt(net.model({"output0": [1, K, 6]}))
    assert adapted.evidence.classes == 80
    assert any("--names" in text for text in adapted.evidence.assumed)


def with_nms(*, centered: bool = False, classes: int = 3) -> onnx.ModelProto:
    net = Net()
    boxes = net.transpose(anchor_free(net, corners_out=not centered), 0, 2, 1)
    scores = class_scores(net, classes)
    limits = (net.const([20], np.int64), net.const([0.5]), net.const([0.55]))
    net.op("NonMaxSuppression", boxes, scores, *limits, to="selected", center_point_box=int(centered))
    net.nodes += [helper.make_node("Identity", [boxes], ["raw_boxes"])]
    net.nodes += [helper.make_node("Identity", [scores], ["raw_scores"])]
    model = net.model({"raw_boxes": [1, BOXES, 4], "raw_scores": [1, classes, BOXES]})
    model.graph.output.append(helper.make_tensor_value_info("selected", TensorProto.INT64, ["M", 3]))
    return model


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("strip", [True, False])
def test_non_max_suppression(centered: bool, strip: bool) -> None:
    original = with_nms(centered=centered)
    adapted = adapt(original, strip_nms=strip)
    raw = run(original, picture())
    boxes = raw["raw_boxes"].astype(np.float64)
    scores = raw["raw_scores"].transpose(0, 2, 1).astype(np.float64)
    selected = raw["selected"]
    assert 3 < len(selected) < BOXES * 3
    if not strip:
        kept = np.zeros_like(scores)
        for picture_id, class_id, place in selected:
            kept[picture_id, place, class_id] = scores[picture_id, place, class_id]
        scores = kept
    check(adapted.model, corners(boxes) if centered else boxes, scores, picture())
    assert adapted.evidence.family == "onnx-nms"
    has = any(node.op_type == "NonMaxSuppression" for node in adapted.model.graph.node)
    assert has != strip


@pytest.mark.parametrize("strip", [True, False])
def test_suppression_of_boxes_moved_apart_by_class(strip: bool) -> None:
    """YOLOv7's export for ONNX Runtime: rows of picture, corners, class, score."""
    net = Net()
    boxes = net.transpose(anchor_free(net, corners_out=True), 0, 2, 1)
    scores = net.transpose(class_scores(net, 3), 0, 2, 1)
    best = net.op("ReduceMax", scores, axes=[2], keepdims=1)
    class_id = net.cast(net.op("ArgMax", scores, axis=2, keepdims=1), TensorProto.FLOAT)
    moved = net.op("Add", boxes, net.op("Mul", class_id, net.const(640.0)))
    limits = (net.const([20], np.int64), net.const([0.5]), net.const([0.55]))
    net.op("NonMaxSuppression", moved, net.transpose(best, 0, 2, 1), *limits, to="selected")
    net.nodes += [helper.make_node("Identity", [boxes], ["b"]), helper.make_node("Identity", [scores], ["s"])]
    original = net.model({"b": [1, BOXES, 4], "s": [1, BOXES, 3]})
    original.graph.output.append(helper.make_tensor_value_info("selected", TensorProto.INT64, ["M", 3]))
    raw = run(original, picture())
    expected = raw["s"].astype(np.float64)
    if not strip:
        chosen = np.zeros((1, BOXES, 1))
        chosen[raw["selected"][:, 0], raw["selected"][:, 2]] = 1
        expected = expected * chosen
    # The user's file has the selection alone as output.
    only = copy.deepcopy(original)
    del only.graph.output[:2]
    adapted = adapt(only, strip_nms=strip)
    check(adapted.model, raw["b"].astype(np.float64), expected, picture())
    assert adapted.evidence.classes == 3


def efficient(*, box_coding: int = 1, score_activation: int = 0) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """TensorRT's plugin over centre boxes; and the same net without it, to run."""
    net = Net()
    net.transpose(anchor_free(net, corners_out=not box_coding), 0, 2, 1, to="b")
    net.transpose(class_scores(net, 3, activation=not score_activation), 0, 2, 1, to="s")
    plain = net.model({"b": [1, BOXES, 4], "s": [1, BOXES, 3]})
    outputs = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    net.nodes.append(
        helper.make_node(
            "EfficientNMS_TRT", ["b", "s"], outputs, domain="TRT", max_output_boxes=K,
            box_coding=box_coding, score_activation=score_activation,
        )
    )  # fmt: skip
    model = net.model({"det_boxes": [1, K, 4], "det_scores": [1, K]})
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    for name, shape in (("num_dets", [1, 1]), ("det_classes", [1, K])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT32, shape))
    return model, plain


@pytest.mark.parametrize(("box_coding", "score_activation"), [(0, 0), (1, 0), (1, 1)])
def test_efficient_nms_is_cut(box_coding: int, score_activation: int) -> None:
    model, plain = efficient(box_coding=box_coding, score_activation=score_activation)
    adapted = adapt(model, strip_nms=True)
    raw = run(plain, picture())
    boxes, scores = raw["b"].astype(np.float64), raw["s"].astype(np.float64)
    scores = 1 / (1 + np.exp(-scores)) if score_activation else scores
    check(adapted.model, corners(boxes) if box_coding else boxes, scores, picture())


def test_efficient_nms_as_it_is() -> None:
    """The plugin is replaced by inputs of its outputs' kinds: ONNX Runtime has none."""
    adapted = adapt(efficient()[0])
    assert any("no other backend has it" in reason for reason in adapted.evidence.reasons)
    tail = copy.deepcopy(adapted.model)
    (plugin,) = (node for node in tail.graph.node if node.op_type == "EfficientNMS_TRT")
    kinds = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    shapes = ([1, 1], [1, K, 4], [1, K], [1, K])
    extra = [helper.make_tensor_value_info(*item) for item in zip(plugin.output, kinds, shapes, strict=True)]
    start = list(tail.graph.node).index(plugin)
    kept = [copy.deepcopy(node) for node in tail.graph.node][start + 1 :]
    del tail.graph.node[:], tail.graph.input[:]
    tail.graph.node.extend(kept)
    tail.graph.input.extend(extra)
    del tail.opset_import[1:]
    import onnxruntime

    session = onnxruntime.InferenceSession(tail.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(3)
    boxes, score = rng.uniform(0, 64, (1, K, 4)), rng.uniform(0.1, 1, (1, K))
    class_id = rng.integers(0, 3, (1, K))
    feed = (np.array([[7]], np.int32), boxes, score, class_id)
    types = (np.int32, np.float32, np.float32, np.int32)
    found = session.run(
        ["boxes", "scores"],
        {item.name: value.astype(kind) for item, value, kind in zip(extra, feed, types, strict=True)},
    )
    rows = np.concatenate([boxes, score[..., None], class_id[..., None]], axis=2)
    rows[:, 7:, 4] = 0  # what is behind the number of boxes is not there
    np.testing.assert_allclose(found[0], boxes, atol=1e-5)
    np.testing.assert_allclose(found[1], spread(rows, 3), atol=1e-6)


def chosen(net: Net, classes: int = 5) -> tuple[str, str, str]:
    """Boxes ``[1, K, 4]``, scores ``[1, K]`` and integer classes ``[1, K]`` of the best cells."""
    boxes = net.transpose(anchor_free(net, corners_out=True), 0, 2, 1)
    scores = net.transpose(class_scores(net, classes), 0, 2, 1)
    best = net.op("ReduceMax", scores, axes=[2], keepdims=0)
    net.nodes.append(helper.make_node("TopK", [best, net.const([K], np.int64)], ["top", "where"], axis=1))
    class_id = net.op("GatherElements", net.op("ArgMax", scores, axis=2, keepdims=0), "where", axis=1)
    wide = net.op("Expand", net.reshape("where", 0, K, 1), net.const([1, K, 4], np.int64))
    return net.op("GatherElements", boxes, wide, axis=1), "top", class_id


def test_boxes_with_their_scores_and_classes_apart() -> None:
    """mmdeploy's ``dets`` and ``labels``."""
    net = Net()
    boxes, scores, class_id = chosen(net)
    net.concat(boxes, net.reshape(scores, 0, K, 1), axis=2, to="dets")
    net.op("Identity", class_id, to="labels")
    original = net.model({"dets": [1, K, 5], "labels": [1, K]})
    original.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    adapted = adapt(original)
    raw = run(original, picture())
    rows = np.concatenate([raw["dets"], raw["labels"][..., None]], axis=2)
    check(adapted.model, raw["dets"][..., :4].astype(np.float64), spread(rows, 5), picture())
    assert adapted.spec.final


@pytest.mark.parametrize(("order", "score", "class_id"), [((0, 2, 1), 5, 4), ((2, 1, 0), 1, 0)])
@pytest.mark.parametrize("relative", [False, True])
def test_columns_in_another_order(order: Any, score: int, class_id: int, relative: bool) -> None:
    net = Net()
    boxes, scores, classes = chosen(net)
    if relative:
        boxes = net.op("Div", boxes, net.const(float(SIZE)))
    label = net.reshape(net.cast(classes, TensorProto.FLOAT), 0, K, 1)
    parts = [boxes, net.reshape(scores, 0, K, 1), label]
    net.concat(*(parts[place] for place in order), axis=2, to="o")
    original = net.model({"o": [1, K, 6]})
    rows = run(original, picture())["o"]
    usual = np.concatenate(
        [
            rows[..., 2:] if class_id == 0 else rows[..., :4],
            rows[..., score : score + 1],
            rows[..., class_id : class_id + 1],
        ],
        axis=2,
    )
    factor = SIZE if relative else 1
    check(adapt(original).model, usual[..., :4].astype(np.float64) * factor, spread(usual, 5), picture())


def test_classes_of_queries_are_counted_where_the_best_of_all_scores_are_chosen() -> None:
    """RT-DETR as it is deployed, simplified: the division of the place by the classes is folded away."""
    net, queries, classes = Net(), 20, 7
    scores = net.op("Sigmoid", net.reshape(net.conv(queries * classes, 64), 0, queries, classes))
    flat = net.reshape(scores, 0, queries * classes)
    net.nodes.append(helper.make_node("TopK", [flat, net.const([K], np.int64)], ["s", "place"], axis=1))
    count = net.const(classes, np.int64)
    query = net.op("Div", "place", count)
    net.op("Sub", "place", net.op("Mul", query, count), to="labels")
    low = net.op("Sigmoid", net.reshape(net.conv(queries * 2, 64), 0, queries, 2))
    corner = net.op("Mul", net.concat(low, net.op("Add", low, net.const(0.2)), axis=2), net.const(64.0))
    wide = net.op("Expand", net.reshape(query, 0, K, 1), net.const([1, K, 4], np.int64))
    net.op("GatherElements", corner, wide, axis=1, to="b")
    original = net.model({"labels": [1, K], "b": [1, K, 4], "s": [1, K]})
    original.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    adapted = adapt(original)
    raw = run(original, picture())
    rows = np.concatenate([raw["b"], raw["s"][..., None], raw["labels"][..., None]], axis=2)
    check(adapted.model, raw["b"].astype(np.float64), spread(rows, classes), picture())
