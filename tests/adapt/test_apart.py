"""Boxes and scores as two outputs: YOLO-NAS, PP-YOLOE, RT-DETR and their kin."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions
from edgeyolo.errors import GraphError
from tests.adapt.foreign import BOXES, SIZE, Net, check, corners, is_kept, picture, run, sigmoid
from tests.adapt.test_predictions import anchor_free, class_scores


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def apart(*, columns: bool = False, box_name: str = "boxes", score_name: str = "scores") -> onnx.ModelProto:
    net = Net()
    net.transpose(anchor_free(net, corners_out=True), 0, 2, 1, to=box_name)
    scores = class_scores(net, 3)
    shape = [1, 3, BOXES]
    if columns:
        net.op("Identity", scores, to=score_name)
    else:
        shape = [1, BOXES, 3]
        net.transpose(scores, 0, 2, 1, to=score_name)
    return net.model({score_name: shape, box_name: [1, BOXES, 4]})


def queries(classes: int) -> onnx.ModelProto:
    net, count = Net(), 20
    features = net.transpose(net.reshape(net.conv(16 * count, 64), 0, 16, count), 0, 2, 1)

    def linear(width: int, to: str | None = None) -> str:
        weights, bias = net.const(net.rng.normal(0, 0.5, (16, width))), net.const(net.rng.normal(0, 1, width))
        return net.op("Add", net.op("MatMul", features, weights), bias, to=to)

    linear(classes, to="logits")
    net.op("Sigmoid", linear(4), to="pred_boxes")
    return net.model({"logits": [1, count, classes], "pred_boxes": [1, count, 4]})


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("names", [("pred_boxes", "pred_scores"), ("boxes", "scores"), ("scores", "boxes")])
def test_corners_in_pixels(columns: bool, names: tuple[str, str]) -> None:
    """YOLO-NAS has rows, PP-YOLOE has its scores class by class; the names say nothing."""
    box_name, score_name = names
    original = apart(columns=columns, box_name=box_name, score_name=score_name)
    adapted = adapt(original)
    raw = run(original, picture())
    scores_raw = raw[score_name].transpose(0, 2, 1) if columns else raw[score_name]
    check(adapted.model, raw[box_name].astype(np.float64), scores_raw.astype(np.float64), picture())
    assert is_kept(original, adapted.model)
    assert (adapted.evidence.family, adapted.evidence.classes) == ("boxes+scores", 3)


def test_nodes_that_are_called_as_the_new_outputs() -> None:
    """A model of `convert` whose metadata another tool has lost: ONNX Runtime takes no node name twice."""
    original = apart(box_name="b", score_name="s")
    for node in original.graph.node:
        node.name = {"b": "boxes", "s": "scores"}.get(node.output[0], node.name)
    raw = run(original, picture())
    check(adapt(original).model, raw["b"].astype(np.float64), raw["s"].astype(np.float64), picture())


def test_centres_in_pixels() -> None:
    net = Net()
    net.transpose(anchor_free(net), 0, 2, 1, to="b")
    net.transpose(class_scores(net, 3), 0, 2, 1, to="s")
    original = net.model({"b": [1, BOXES, 4], "s": [1, BOXES, 3]})
    raw = run(original, picture())
    check(adapt(original).model, corners(raw["b"]), raw["s"].astype(np.float64), picture())


def test_offsets_of_unknown_anchors_are_no_boxes() -> None:
    """SSD and RetinaNet: both outputs come straight from convolutions."""
    net = Net()
    net.transpose(class_scores(net, 4, activation=False), 0, 2, 1, to="b")
    net.transpose(class_scores(net, 3), 0, 2, 1, to="s")
    with pytest.raises(GraphError, match="no YOLO that is known"):
        adapt(net.model({"b": [1, BOXES, 4], "s": [1, BOXES, 3]}))


@pytest.mark.parametrize("classes", [3, 4])
def test_queries_of_a_transformer(classes: int) -> None:
    """RT-DETR: logits straight from a Linear layer, boxes as parts of the input's sides."""
    original = queries(classes)
    adapted = adapt(original)
    raw = run(original, picture())
    check(adapted.model, corners(raw["pred_boxes"]) * SIZE, sigmoid(raw["logits"]), picture())
    assert adapted.spec.preprocess.resize == "stretch"
    assert any("Sigmoid is added" in reason for reason in adapted.evidence.reasons)
