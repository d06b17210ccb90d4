"""FastestDet and Yolo-FastestV2: small maps with a softmax over the classes."""

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
from edgeyolo.errors import ConfigError, GraphError
from tests.adapt.foreign import SIZE, Net, check, corners, is_kept, picture, run, sigmoid

C = 4
ANCHORS = ((4.0, 5.0), (8.0, 6.0), (12.0, 20.0), (20.0, 30.0), (30.0, 20.0), (50.0, 60.0))


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def fastestdet() -> onnx.ModelProto:
    net, side = Net(), SIZE // 16
    parts = (
        net.op("Sigmoid", net.conv(1, 16)),
        net.conv(4, 16),
        net.op("Softmax", net.conv(C, 16), axis=1),
    )
    net.concat(*parts, axis=1, to="output")
    return net.model({"output": [1, 5 + C, side, side]})


def test_fastestdet() -> None:
    original, side = fastestdet(), SIZE // 16
    adapted = adapt(original)
    raw = run(original, picture())["output"][0].astype(np.float64)
    boxes, scores = [], []
    for y, x in np.ndindex(side, side):
        values = raw[:, y, x]
        cx, cy = (x + np.tanh(values[1])) * SIZE / side, (y + np.tanh(values[2])) * SIZE / side
        boxes.append([cx, cy, sigmoid(values[3]) * SIZE, sigmoid(values[4]) * SIZE])
        scores.append(values[0] ** 0.6 * values[5:] ** 0.4)
    check(adapted.model, corners(np.array(boxes))[None], np.array(scores)[None], picture())
    assert is_kept(original, adapted.model)
    assert adapted.evidence.family == "fastestdet"
    preprocess = adapted.spec.preprocess
    assert (preprocess.resize, preprocess.channels) == ("stretch", "bgr")


def yolo_fastestv2(*, last: bool) -> onnx.ModelProto:
    net, outputs = Net(), {}
    for stride in (16, 32):
        side = SIZE // stride
        parts = (
            net.op("Sigmoid", net.conv(12, stride)),
            net.op("Sigmoid", net.conv(3, stride)),
            net.op("Softmax", net.conv(C, stride), axis=1),
        )
        joined = net.concat(*parts, axis=1, to=None if last else f"o{stride}")
        if last:
            net.transpose(joined, 0, 2, 3, 1, to=f"o{stride}")
        outputs[f"o{stride}"] = [1, side, side, 15 + C] if last else [1, 15 + C, side, side]
    return net.model(outputs)


@pytest.mark.parametrize("last", [True, False])
def test_yolo_fastestv2(last: bool) -> None:
    original = yolo_fastestv2(last=last)
    adapted = adapt(original, anchors=ANCHORS)
    raw = run(original, picture())
    boxes, scores = [], []
    for head, stride in enumerate((16, 32)):
        grid = raw[f"o{stride}"][0].astype(np.float64)
        grid = grid if last else grid.transpose(1, 2, 0)
        for y, x, anchor in np.ndindex(SIZE // stride, SIZE // stride, 3):
            tx, ty, tw, th = grid[y, x, 4 * anchor : 4 * anchor + 4]
            width, height = ANCHORS[3 * head + anchor]
            center = [(2 * tx - 0.5 + x) * stride, (2 * ty - 0.5 + y) * stride]
            boxes.append([*center, (2 * tw) ** 2 * width, (2 * th) ** 2 * height])
            scores.append(grid[y, x, 12 + anchor] * grid[y, x, 15:])
    check(adapted.model, corners(np.array(boxes))[None], np.array(scores)[None], picture())
    assert is_kept(original, adapted.model)
    assert adapted.evidence.family == "yolo-fastestv2"


def test_yolo_fastestv2_is_named_where_anchors_are_missing() -> None:
    with pytest.raises(GraphError, match=r"Yolo-FastestV2.* 6 anchors expected") as caught:
        adapt(yolo_fastestv2(last=True))
    assert "--anchors" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="2 heads of 3 sizes expected, 2 sizes found"):
        adapt(yolo_fastestv2(last=True), anchors=ANCHORS[:2])
