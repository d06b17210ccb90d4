"""YOLOX as its exporter leaves it, undecoded: a small one with random weights and the published nano."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions
from edgeyolo.spec import ModelSpec
from tests.adapt.foreign import BOXES, STRIDES, Net, cells, check, corners, is_kept, picture, run
from tests.command import edgeyolo


def yolox(classes: int = 3, **options: Any) -> onnx.ModelProto:
    """Box, objectness and classes joined on the channels of each head, flattened, joined, transposed."""
    net = Net(**options)
    heads = []
    for stride in STRIDES:
        box = net.conv(4, stride, spread=0.5)
        objectness = net.op("Sigmoid", net.conv(1, stride))
        scores = net.op("Sigmoid", net.conv(classes, stride))
        joined = net.concat(box, objectness, scores, axis=1)
        heads.append(net.reshape(joined, 0, 5 + classes, -1))
    net.transpose(net.concat(*heads, axis=2), 0, 2, 1, to="output")
    return net.model({"output": [net.batch, BOXES, 5 + classes]})


def decoded(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode as the paper has it, box by box."""
    boxes = np.empty((*raw.shape[:2], 4))
    for place, (column, row, stride) in enumerate(cells()):
        x, y, w, h = np.moveaxis(raw[:, place, :4].astype(np.float64), -1, 0)
        boxes[:, place, 0] = (x + column) * stride
        boxes[:, place, 1] = (y + row) * stride
        boxes[:, place, 2] = np.exp(w) * stride
        boxes[:, place, 3] = np.exp(h) * stride
    return corners(boxes), raw[..., 4:5].astype(np.float64) * raw[..., 5:]


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_the_decode_is_added(opset: int) -> None:
    original = yolox(opset=opset)
    adapted = adapt_model(copy.deepcopy(original), AdaptOptions(), {})
    boxes, scores = decoded(run(original, picture())["output"])
    check(adapted.model, boxes, scores, picture())
    assert is_kept(original, adapted.model)
    # INT8 needs 13; what is there already stays.
    assert adapted.model.opset_import[0].version == max(opset, 13)
    assert any("opset 11 is raised to 13" in note for note in adapted.notes) == (opset == 11)
    assert adapted.evidence.family == "yolox"
    assert adapted.evidence.classes == 3
    assert adapted.evidence.strides == STRIDES
    assert not adapted.evidence.assumed


def test_decoded_yolox_is_seen_by_its_exponentials() -> None:
    """The exporter's other form: the decode is in the graph, the pictures are YOLOX's all the same."""
    net = Net()
    heads = []
    for stride in STRIDES:
        joined = net.concat(net.conv(4, stride, spread=0.5), net.op("Sigmoid", net.conv(4, stride)), axis=1)
        heads.append(net.reshape(joined, 0, 8, -1))
    rows = net.transpose(net.concat(*heads, axis=2), 0, 2, 1)
    place, stride_of = net.const(cells()[None, :, :2]), net.const(cells()[None, :, 2:])
    xy = net.op("Mul", net.op("Add", net.part(rows, 2, 0, 2), place), stride_of)
    wh = net.op("Mul", net.op("Exp", net.part(rows, 2, 2, 4)), stride_of)
    net.concat(xy, wh, net.part(rows, 2, 4, 8), axis=2, to="output")
    original = net.model({"output": [1, BOXES, 8]})
    adapted = adapt_model(copy.deepcopy(original), AdaptOptions(), {})
    raw = run(original, picture())["output"].astype(np.float64)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:5] * raw[..., 5:], picture())
    assert adapted.spec.preprocess.channels == "bgr"


def test_a_dynamic_batch_stays_dynamic() -> None:
    original = yolox(batch="N")
    adapted = adapt_model(copy.deepcopy(original), AdaptOptions(), {})
    check(adapted.model, *decoded(run(original, picture(3))["output"]), picture(3))
    assert adapted.spec.batch is None


def test_the_spec_says_how_yolox_sees_a_picture() -> None:
    adapted = adapt_model(yolox(), AdaptOptions(), {"adapted_from_sha256": "0" * 64})
    metadata = {entry.key: entry.value for entry in adapted.model.metadata_props}
    spec = ModelSpec.from_metadata(metadata)
    assert spec == adapted.spec
    assert spec.names == ("class_0", "class_1", "class_2")
    preprocess = spec.preprocess
    assert (preprocess.resize, preprocess.channels, preprocess.scale, preprocess.pad_value) == (
        "letterbox_top_left", "bgr", 1.0, 114.0,
    )  # fmt: skip
    assert any("a guess" in note for note in adapted.notes)


@pytest.mark.needs("shared-data")
def test_nano_agrees_with_a_straight_decode(shared_data: Path, tmp_path: Path) -> None:
    source, output = shared_data / "onnx" / "yolox_nano.onnx", tmp_path / "nano.onnx"
    done = edgeyolo("adapt", source, "-o", output)
    assert done.returncode == 0, done.stderr
    assert "yolox, 80 classes, 3549 boxes at 416x416" in done.stdout
    assert "strides 8, 16, 32" in done.stdout
    assert "COCO's 80" in done.stdout
    original, adapted = onnx.load(source), onnx.load(output)
    assert is_kept(original, adapted)
    value = np.random.default_rng(1).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    raw = run(original, value)["output"].astype(np.float64)
    columns, rows, strides = [], [], []
    for stride in (8, 16, 32):
        side = 416 // stride
        rows += [y for y in range(side) for _ in range(side)]
        columns += [x for _ in range(side) for x in range(side)]
        strides += [stride] * side * side
    center = (raw[0, :, :2] + np.stack([columns, rows], axis=1)) * np.array(strides)[:, None]
    size = np.exp(raw[0, :, 2:4]) * np.array(strides)[:, None]
    found = run(adapted, value)
    np.testing.assert_allclose(
        found["boxes"][0], np.concatenate([center - size / 2, center + size / 2], axis=1), atol=1e-3
    )
    np.testing.assert_allclose(found["scores"][0], raw[0, :, 4:5] * raw[0, :, 5:], atol=1e-5)
    names = json.loads({entry.key: entry.value for entry in adapted.metadata_props}["edgeyolo.names"])
    assert names[0] == "person"
