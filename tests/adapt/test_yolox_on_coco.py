"""yolox_nano the whole way, adapt to engine to average precision, beside a straight decode written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.class_names import COCO
from edgeyolo.detections import Detections

pytestmark = pytest.mark.needs("shared-data", "eval", "onnx", "onnxruntime", "opencv")

SIDE = 416


class Straight:
    """The published recipe: pad with 114 at the right and the bottom, BGR 0..255, suppress by class."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        cells = [(x, y, s) for s in (8, 16, 32) for y in range(SIDE // s) for x in range(SIDE // s)]
        self.cells = np.array(cells, np.float64)

    def __call__(self, image: Any) -> Detections:
        import cv2

        height, width = image.shape[:2]
        gain = min(SIDE / width, SIDE / height)
        canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
        small = cv2.resize(image, (int(width * gain), int(height * gain)), interpolation=cv2.INTER_LINEAR)
        canvas[: small.shape[0], : small.shape[1]] = small
        raw = self.session.run(None, {"images": canvas.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        center = (raw[:, :2] + self.cells[:, :2]) * self.cells[:, 2:]
        half = np.exp(raw[:, 2:4]) * self.cells[:, 2:] / 2
        boxes = np.concatenate([center - half, center + half], axis=1) / gain
        boxes = boxes.clip(0, [width, height, width, height])
        scores = raw[:, 4:5] * raw[:, 5:]
        found = []
        for class_id in np.flatnonzero(scores.max(axis=0) > 0.001):
            order = np.argsort(-scores[:, class_id], kind="stable")
            order = order[scores[order, class_id] > 0.001]
            found += [(scores[i, class_id], class_id, boxes[i]) for i in suppressed(boxes, order)]
        found.sort(key=lambda item: -item[0])
        found = found[:300]
        return Detections(
            np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
            np.array([score for score, _, _ in found], np.float32),
            np.array([class_id for _, class_id, _ in found], np.int64),
        )


def suppressed(boxes: Any, order: Any, iou: float = 0.45) -> list[int]:
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[rest, :2])
        high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        both = np.prod((high - low).clip(0), axis=1)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        order = rest[both <= iou * (area[first] + area[rest] - both)]
    return kept


def test_average_precision_is_that_of_a_straight_decode(shared_data: Path, tmp_path: Path) -> None:
    from edgeyolo.build import build
    from edgeyolo.evaluate.coco import evaluate
    from edgeyolo.pipeline.adapt import adapt, options_from_text
    from edgeyolo.pipeline.evaluate import evaluate_engine

    source = shared_data / "onnx" / "yolox_nano.onnx"
    images, truth = shared_data / "coco" / "val2017", shared_data / "coco" / "instances_val2017.json"
    adapt(source, tmp_path / "nano.onnx", options_from_text())
    build(tmp_path / "nano.onnx", tmp_path / "nano.engine", backend="onnxruntime")
    ours = evaluate_engine(tmp_path / "nano.engine", images, truth)
    straight = evaluate(Straight(source), images, truth, COCO)
    assert straight.ap > 0.25
    assert ours.ap == pytest.approx(straight.ap, abs=0.005)
    assert ours.ap50 == pytest.approx(straight.ap50, abs=0.005)
