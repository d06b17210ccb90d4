"""Heads that give distributions of distances: NanoDet, PP-PicoDet, YOLOv8 cut before its decode."""

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
from tests.adapt.foreign import BOXES, SIZE, STRIDES, Net, cells, check, is_kept, picture, run, sigmoid

C = 5


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def decoded(bins: np.ndarray, points: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """One cell, one side at a time: ``[B, N, 4 * R]`` to corners in pixels."""
    boxes = np.zeros((*bins.shape[:2], 4))
    count = bins.shape[2] // 4
    for image, cell in np.ndindex(*bins.shape[:2]):
        sides = []
        for side in range(4):
            share = np.exp(bins[image, cell, side * count : (side + 1) * count].astype(np.float64))
            sides.append((share * np.arange(count)).sum() / share.sum() * strides[cell])
        (x, y), (left, up, right, down) = points[cell], sides
        boxes[image, cell] = (x - left, y - up, x + right, y + down)
    return boxes


def middles() -> tuple[np.ndarray, np.ndarray]:
    grid = cells()
    return (grid[:, :2] + 0.5) * grid[:, 2:], grid[:, 2]


def nanodet(strides: tuple[int, ...], *, activation: bool = True) -> onnx.ModelProto:
    """Scores and distributions of a stride are joined, then all strides."""
    net, parts = Net(), []
    for stride in strides:
        scores = net.conv(C, stride)
        joined = net.concat(net.op("Sigmoid", scores) if activation else scores, net.conv(32, stride), axis=1)
        parts.append(net.reshape(joined, 0, C + 32, -1))
    net.transpose(net.concat(*parts, axis=2), 0, 2, 1, to="output")
    return net.model({"output": [1, sum((SIZE // stride) ** 2 for stride in strides), C + 32]})


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize(("strides", "offset"), [((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)])
def test_nanodet(strides: tuple[int, ...], offset: float, activation: bool) -> None:
    original = nanodet(strides, activation=activation)
    adapted = adapt(original)
    raw = run(original, picture())["output"]
    grid = [(x, y, s) for s in strides for y in range(SIZE // s) for x in range(SIZE // s)]
    points = np.array([((x + offset) * s, (y + offset) * s) for x, y, s in grid])
    boxes = decoded(raw[..., C:], points, np.array([s for _, _, s in grid]))
    scores = raw[..., :C] if activation else sigmoid(raw[..., :C])
    check(adapted.model, boxes, scores.astype(np.float64), picture())
    assert is_kept(original, adapted.model)
    assert (adapted.evidence.family, adapted.spec.preprocess.channels) == ("nanodet", "bgr")


def pairs(*, rows: bool, bins: int, activation: bool) -> onnx.ModelProto:
    net, outputs, width = Net(), {}, 4 * bins
    for stride in reversed(STRIDES):
        side = SIZE // stride
        for what, channels, active in (("scores", C, activation), ("bins", width, False)):
            name = f"{what}_{stride}"
            tensor = net.conv(channels, stride)
            tensor = net.op("Sigmoid", tensor) if active else tensor
            if rows:
                net.transpose(net.reshape(tensor, 0, channels, side * side), 0, 2, 1, to=name)
                outputs[name] = [1, side * side, channels]
            else:
                net.op("Identity", tensor, to=name)
                outputs[name] = [1, channels, side, side]
    return net.model(outputs)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("bins", [8, 16])
@pytest.mark.parametrize("activation", [True, False])
def test_scores_and_distributions_apart(rows: bool, bins: int, activation: bool) -> None:
    """Rows as PP-PicoDet and NanoDet 0.x give them, maps as exports for other chips do; in any order."""
    original, width = pairs(rows=rows, bins=bins, activation=activation), 4 * bins
    adapted = adapt(original)
    raw = run(original, picture())

    def joined(what: str, channels: int) -> np.ndarray:
        found = [raw[f"{what}_{stride}"] for stride in STRIDES]
        return np.concatenate(
            [item if rows else item.reshape(1, channels, -1).transpose(0, 2, 1) for item in found], axis=1
        )

    scores = joined("scores", C)
    boxes = decoded(joined("bins", width), *middles())
    check(adapted.model, boxes, (scores if activation else sigmoid(scores)).astype(np.float64), picture())
    assert adapted.evidence.family == "distance-pairs"
    assert adapted.spec.preprocess.resize == ("letterbox" if bins == 16 else "stretch")


def test_as_many_classes_as_bins() -> None:
    """32 classes beside 4 x 8 bins: the probabilities are the scores."""
    net, outputs = Net(), {}
    for stride in STRIDES:
        side = SIZE // stride
        net.op("Identity", net.conv(32, stride), to=f"b{stride}")
        net.op("Sigmoid", net.conv(32, stride), to=f"s{stride}")
        outputs |= {f"b{stride}": [1, 32, side, side], f"s{stride}": [1, 32, side, side]}
    original = net.model(outputs)
    raw = run(original, picture())
    bins, scores = (
        np.concatenate([raw[f"{k}{s}"].reshape(1, 32, -1).transpose(0, 2, 1) for s in STRIDES], axis=1)
        for k in "bs"
    )
    check(adapt(original).model, decoded(bins, *middles()), scores.astype(np.float64), picture())


def heads(*, batch: Any = 1, last: bool = False) -> onnx.ModelProto:
    net, outputs = Net(batch=batch), {}
    for stride in STRIDES:
        side = SIZE // stride
        joined = net.concat(net.conv(64, stride), net.conv(C, stride), axis=1)
        if last:
            net.transpose(joined, 0, 2, 3, 1, to=f"o{stride}")
        else:
            net.op("Identity", joined, to=f"o{stride}")
        outputs[f"o{stride}"] = [batch, side, side, 64 + C] if last else [batch, 64 + C, side, side]
    return net.model(outputs)


@pytest.mark.parametrize("batch", [1, "b"])
@pytest.mark.parametrize("last", [False, True])
def test_maps_of_distributions_and_classes(batch: Any, last: bool) -> None:
    """YOLOv8 as it leaves its convolutions; channels last as some converters write it."""
    original = heads(batch=batch, last=last)
    adapted = adapt(original)
    value = picture(1 if batch == 1 else 2)
    raw = run(original, value)
    rows = np.concatenate(
        [
            (item if last else item.transpose(0, 2, 3, 1)).reshape(len(value), -1, 64 + C)
            for item in (raw[f"o{stride}"] for stride in STRIDES)
        ],
        axis=1,
    )
    check(adapted.model, decoded(rows[..., :64], *middles()), sigmoid(rows[..., 64:]), value)
    assert adapted.evidence.family == "yolov8-raw"


def test_all_strides_in_columns_before_the_decode() -> None:
    net = Net()
    parts = [
        net.reshape(net.concat(net.conv(64, stride), net.conv(C, stride), axis=1), 0, 64 + C, -1)
        for stride in STRIDES
    ]
    net.concat(*parts, axis=2, to="output0")
    original = net.model({"output0": [1, 64 + C, BOXES]})
    rows = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapt(original).model, decoded(rows[..., :64], *middles()), sigmoid(rows[..., 64:]), picture())


def test_the_family_is_taken_where_nothing_is_joined() -> None:
    net = Net()
    for stride in STRIDES:
        net.op("Identity", net.conv(64 + C, stride), to=f"o{stride}")
    original = net.model({f"o{s}": [1, 64 + C, SIZE // s, SIZE // s] for s in STRIDES})
    adapted = adapt(original, family="yolov8-raw")
    assert (adapted.evidence.classes, adapted.boxes) == (C, BOXES)
    with pytest.raises(GraphError):
        adapt(original)  # 69 channels might be three anchors of 23 values: anchors are asked for


def test_anchors_of_retinanet_are_no_bins() -> None:
    net, outputs = Net(), {}
    for stride in STRIDES:
        side = SIZE // stride
        net.op("Sigmoid", net.conv(9 * C, stride), to=f"s{stride}")
        net.op("Identity", net.conv(36, stride), to=f"b{stride}")
        outputs |= {f"s{stride}": [1, 9 * C, side, side], f"b{stride}": [1, 36, side, side]}
    with pytest.raises(GraphError, match="no YOLO that is known"):
        adapt(net.model(outputs))
