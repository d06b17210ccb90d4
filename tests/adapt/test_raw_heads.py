"""YOLOv5 and YOLOv7 cut before their decode."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions, options_from_text
from edgeyolo.errors import ConfigError, GraphError
from tests.adapt.foreign import SIZE, STRIDES, Net, check, corners, is_kept, picture, run, sigmoid

ANCHORS = tuple((2.0 + 3 * i, 30.0 - 2 * i) for i in range(9))
CLASSES = 3


def raw(
    *, rank: int = 5, activation: bool = False, stored: Any = None, order: Any = STRIDES
) -> onnx.ModelProto:
    net, values = Net(batch="batch"), 5 + CLASSES
    outputs: dict[str, Any] = {}
    for stride in order:
        side, name = SIZE // stride, f"p{stride}"
        head = net.conv(3 * values, stride)
        if activation:
            head = net.op("Sigmoid", head)
        if rank == 5:
            split = net.reshape(head, 0, 3, values, side, side)
            net.transpose(split, 0, 1, 3, 4, 2, to=name)
            outputs[name] = [net.batch, 3, side, side, values]
        else:
            net.op("Identity", head, to=name)
            outputs[name] = [net.batch, 3 * values, side, side]
    if stored is not None:
        net.const(stored)
    return net.model(outputs)


def decoded(outputs: dict[str, Any], *, activation: bool) -> tuple[np.ndarray, np.ndarray]:
    """Box by box, anchor by anchor, finest stride first."""
    boxes, scores = [], []
    for head, stride in enumerate(STRIDES):
        value, side = outputs[f"p{stride}"], SIZE // stride
        if value.ndim == 4:
            value = value.reshape(len(value), 3, 5 + CLASSES, side, side).transpose(0, 1, 3, 4, 2)
        value = value if activation else sigmoid(value)
        for anchor, y, x in np.ndindex(3, side, side):
            width, height = ANCHORS[3 * head + anchor]
            cell = value[:, anchor, y, x].astype(np.float64)
            cx = (cell[:, 0] * 2 - 0.5 + x) * stride
            cy = (cell[:, 1] * 2 - 0.5 + y) * stride
            w, h = (2 * cell[:, 2]) ** 2 * width, (2 * cell[:, 3]) ** 2 * height
            boxes.append(np.stack([cx, cy, w, h], axis=1))
            scores.append(cell[:, 5:] * cell[:, 4:5])
    return corners(np.stack(boxes, axis=1)), np.stack(scores, axis=1)


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


@pytest.mark.parametrize("rank", [4, 5])
@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize("order", [STRIDES, STRIDES[::-1]])
def test_maps_are_decoded_with_the_anchors_given(rank: int, activation: bool, order: Any) -> None:
    original = raw(rank=rank, activation=activation, order=order)
    adapted = adapt(original, anchors=ANCHORS)
    boxes, scores = decoded(run(original, picture(2)), activation=activation)
    check(adapted.model, boxes, scores, picture(2))
    assert is_kept(original, adapted.model)
    assert (adapted.evidence.family, adapted.evidence.strides) == ("yolov5-raw", STRIDES)


@pytest.mark.parametrize("unit", ["pixels", "cells"])
def test_anchors_of_the_graph(unit: str) -> None:
    grid = np.array(ANCHORS, np.float32).reshape(3, 1, 3, 1, 1, 2)
    if unit == "cells":
        grid = grid / np.array(STRIDES, np.float32).reshape(3, 1, 1, 1, 1, 1)
        grid *= 0.5  # at 64 pixels the coarsest head has two cells a side
    original = raw(stored=grid)
    adapted = adapt(original)
    boxes, scores = decoded(run(original, picture()), activation=False)
    if unit == "cells":
        center, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 4
        boxes = np.concatenate([center - half, center + half], axis=-1)
    check(adapted.model, boxes, scores, picture())
    assert any(f"in {unit}" in text for text in adapted.evidence.assumed)


def test_anchors_are_asked_for_by_name() -> None:
    with pytest.raises(GraphError, match="9 anchors expected, none in the graph") as caught:
        adapt(raw())
    assert caught.value.hint is not None
    assert "--anchors" in caught.value.hint


def test_too_few_anchors() -> None:
    with pytest.raises(ConfigError, match="3 heads of 3 anchors, 9 sizes, expected, 2 found"):
        adapt(raw(), anchors=ANCHORS[:2])


@pytest.mark.parametrize("text", ["1,2,3", "a,b", "1,-2", ""])
def test_anchors_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="--anchors"):
        options_from_text(anchors=text)
