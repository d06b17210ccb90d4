"""One tensor with everything in it, decoded by the exporter: YOLOv5 and v7 with grid, v6, v8 and its kin."""

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
from edgeyolo.errors import GraphError, UnsupportedOpError
from tests.adapt.foreign import BOXES, CELLS, SIZE, STRIDES, Net, cells, check, corners, is_kept, picture, run

ANCHORS = ((4, 5), (8, 6), (12, 20))


def yolov5(classes: int = 3, *, joined: bool = True, **options: Any) -> onnx.ModelProto:
    """Three anchors a cell; `joined` as the exporter of 6.0 on writes it, else as one product per tensor."""
    net = Net(**options)
    heads = []
    for stride in STRIDES:
        side, values = SIZE // stride, 5 + classes
        raw = net.reshape(net.conv(3 * values, stride), 0, 3, values, side * side)
        last = net.op("Sigmoid", net.transpose(raw, 0, 1, 3, 2))
        grid = np.stack(np.divmod(np.arange(side * side), side)[::-1], axis=1)[None, None]
        two = net.const(2.0)
        xy = net.op("Add", net.op("Mul", net.part(last, 3, 0, 2), two), net.const(grid - 0.5))
        xy = net.op("Mul", xy, net.const(stride))
        wh = net.op("Pow", net.op("Mul", net.part(last, 3, 2, 4), two), two)
        wh = net.op("Mul", wh, net.const(np.array(ANCHORS)[None, :, None]))
        if joined:
            head = net.concat(xy, wh, net.part(last, 3, 4, values), axis=3)
        else:
            head = net.op("Add", net.concat(xy, wh, net.part(last, 3, 4, values), axis=3), net.const(0.0))
        heads.append(net.reshape(head, 0, 3 * side * side, values))
    net.concat(*heads, axis=1, to="output")
    return net.model({"output": [net.batch, 3 * BOXES, 5 + classes]})


def anchor_free(net: Net, *, corners_out: bool = False) -> str:
    """Distances to four sides from each cell's middle, as the exporters of v6 and v8 write it: [B, 4, N]."""
    distances = net.op(
        "Softplus",
        net.concat(*(net.reshape(net.conv(4, stride), 0, 4, -1) for stride in STRIDES), axis=2),
    )
    middle = net.const((cells()[:, :2] + 0.5).T[None])
    low = net.op("Sub", middle, net.part(distances, 1, 0, 2))
    high = net.op("Add", middle, net.part(distances, 1, 2, 4))
    if corners_out:
        joined = net.concat(low, high, axis=1)
    else:
        center = net.op("Div", net.op("Add", low, high), net.const(2.0))
        joined = net.concat(center, net.op("Sub", high, low), axis=1)
    return net.op("Mul", joined, net.const(cells()[:, 2][None, None]))


def class_scores(net: Net, classes: int, *, activation: bool = True) -> str:
    logits = net.concat(
        *(net.reshape(net.conv(classes, stride), 0, classes, -1) for stride in STRIDES), axis=2
    )
    return net.op("Sigmoid", logits) if activation else logits


def yolov8(
    classes: int = 3, *, extra: int = 0, rows: bool = False, metadata: Any = None, **options: Any
) -> onnx.ModelProto:
    net = Net(**options)
    parts = [anchor_free(net), class_scores(net, classes)]
    outputs: dict[str, Any] = {"output0": [net.batch, 4 + classes + extra, BOXES]}
    if extra:
        parts.append(class_scores(net, extra, activation=False))
        net.op("Identity", net.conv(extra, 8), to="output1")
        outputs["output1"] = [net.batch, extra, SIZE // 8, SIZE // 8]
    joined = net.concat(*parts, axis=1, to=None if rows else "output0")
    if rows:
        net.transpose(joined, 0, 2, 1, to="output0")
        outputs["output0"] = [net.batch, BOXES, 4 + classes]
    return net.model(outputs, metadata=metadata)


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


@pytest.mark.parametrize("joined", [True, False])
def test_v5_with_grid(joined: bool) -> None:
    original = yolov5(joined=joined)
    adapted = adapt(original)
    raw = run(original, picture())["output"]
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:5] * raw[..., 5:].astype(np.float64), picture())
    assert is_kept(original, adapted.model)
    assert adapted.evidence.family == "yolov5"
    assert any("3 a cell on strides 8, 16, 32" in reason for reason in adapted.evidence.reasons)
    # Without the head's Concat the anchors speak for an objectness, and the values for centres.
    assert any("for a picture of noise" in reason for reason in adapted.evidence.reasons) != joined


def yolov6() -> onnx.ModelProto:
    net = Net()
    ones = net.const(np.ones((1, 1, BOXES)))
    joined = net.concat(anchor_free(net), ones, class_scores(net, 4), axis=1)
    net.transpose(joined, 0, 2, 1, to="outputs")
    return net.model({"outputs": [1, BOXES, 9]})


def test_v6_has_an_objectness_of_one() -> None:
    original = yolov6()
    adapted = adapt(original)
    raw = run(original, picture())["outputs"]
    check(adapted.model, corners(raw[..., :4]), raw[..., 5:].astype(np.float64), picture())
    assert adapted.evidence.classes == 4


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("batch", [1, "batch"])
def test_v8_has_no_objectness(rows: bool, batch: Any) -> None:
    original = yolov8(rows=rows, batch=batch)
    adapted = adapt(original)
    value = picture(2 if batch == "batch" else 1)
    raw = run(original, value)["output0"]
    raw = raw if rows else raw.transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), value)
    assert is_kept(original, adapted.model)
    assert (adapted.evidence.family, adapted.evidence.classes) == ("yolov8", 3)


def test_boxes_that_are_corners_already_stay() -> None:
    net = Net()
    net.concat(anchor_free(net, corners_out=True), class_scores(net, 3), axis=1, to="output0")
    original = net.model({"output0": [1, 7, BOXES]})
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapt(original).model, raw[..., :4].astype(np.float64), raw[..., 4:].astype(np.float64), picture())


@pytest.mark.parametrize("rows", [True, False])
def test_masks_of_one_class_are_no_classes(rows: bool) -> None:
    net = Net()
    parts = (anchor_free(net), class_scores(net, 1), class_scores(net, 32, activation=False))
    joined = net.concat(*parts, axis=1, to=None if rows else "output0")
    if rows:
        net.transpose(joined, 0, 2, 1, to="output0")
    net.op("Identity", net.conv(32, 8), to="output1")
    shape = [1, BOXES, 37] if rows else [1, 37, BOXES]
    original = net.model({"output0": shape, "output1": [1, 32, SIZE // 8, SIZE // 8]})
    adapted = adapt(original)
    raw = run(original, picture())["output0"]
    raw = raw if rows else raw.transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:5].astype(np.float64), picture())


def test_masks_are_ignored_and_that_is_said() -> None:
    original = yolov8(extra=6)
    adapted = adapt(original)
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:7].astype(np.float64), picture())
    assert any("6 values" in reason and "ignored" in reason for reason in adapted.evidence.reasons)
    assert any("output1" in note for note in adapted.notes)


def test_keypoints_of_one_class_are_no_classes() -> None:
    net = Net()
    keypoints = net.op("Mul", class_scores(net, 6, activation=False), net.const(8.0))
    net.concat(anchor_free(net), class_scores(net, 1), keypoints, axis=1, to="output0")
    original = net.model({"output0": [1, 11, BOXES]}, metadata={"task": "pose", "names": "{0: 'person'}"})
    adapted = adapt(original)
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:5].astype(np.float64), picture())
    assert adapted.spec.names == ("person",)


def test_names_come_from_the_metadata() -> None:
    adapted = adapt(yolov8(metadata={"names": "{0: 'a', 1: \"b's\", 2: 'c'}"}))
    assert adapted.spec.names == ("a", "b's", "c")


def test_names_of_another_number_are_refused() -> None:
    with pytest.raises(GraphError, match="3 classes in the graph, 2 names"):
        adapt(yolov8(metadata={"names": '["a", "b"]'}))


@pytest.mark.parametrize("classes", [1, 3])
def test_rotated_boxes_are_refused_by_name(classes: int) -> None:
    net = Net()
    angle = class_scores(net, 1)
    turned = net.op("Mul", anchor_free(net), net.op("Cos", angle))
    net.concat(turned, class_scores(net, classes), angle, axis=1, to="output0")
    with pytest.raises(UnsupportedOpError, match="rotated boxes"):
        adapt(net.model({"output0": [1, 5 + classes, BOXES]}))


def test_logits_get_a_sigmoid() -> None:
    net = Net()
    net.concat(anchor_free(net), class_scores(net, 3, activation=False), axis=1, to="output0")
    original = net.model({"output0": [1, 7, BOXES]})
    adapted = adapt(original)
    raw = run(original, picture())["output0"].transpose(0, 2, 1).astype(np.float64)
    check(adapted.model, corners(raw[..., :4]), 1 / (1 + np.exp(-raw[..., 4:])), picture())
    assert any("Sigmoid" in text for text in adapted.evidence.assumed)


def test_undecoded_rows_that_nothing_divides_need_the_family() -> None:
    net = Net()
    flat = net.concat(*(net.reshape(net.conv(8, stride), 0, 8, -1) for stride in STRIDES), axis=2)
    net.transpose(net.op("Sigmoid", flat), 0, 2, 1, to="output")
    model = net.model({"output": [1, BOXES, 8]})
    with pytest.raises(GraphError, match="no YOLO that is known"):
        adapt(model)
    assert adapt(model, family="yolox").evidence.assumed


def test_a_classifier_is_no_detector() -> None:
    net = Net()
    net.op("Flatten", net.op("GlobalAveragePool", net.conv(10, 8)), to="logits")
    with pytest.raises(GraphError, match=r"no detector.*'logits'"):
        adapt(net.model({"logits": [1, 10]}))


def test_the_asked_family_must_fit() -> None:
    with pytest.raises(GraphError, match=r"--family yolox: .* expected, found 'output0'"):
        adapt(yolov8(), family="yolox")


def test_the_cells_of_these_nets() -> None:
    assert sum(CELLS) == BOXES == len(cells())
