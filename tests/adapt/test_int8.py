"""Every layout the whole way to INT8: calibrated as a user does it, and taken by NVIDIA's compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from edgeyolo.build.check import check
from edgeyolo.pipeline.adapt import options_from_text
from edgeyolo.pipeline.calibrate import calibrate
from edgeyolo.pipeline.calibration import CalibrateConfig
from tests.adapt.test_apart import apart, queries
from tests.adapt.test_distances import heads, nanodet, pairs
from tests.adapt.test_fastest import ANCHORS as FASTEST_ANCHORS
from tests.adapt.test_fastest import fastestdet, yolo_fastestv2
from tests.adapt.test_final_boxes import efficient, end_to_end, with_nms
from tests.adapt.test_predictions import yolov5, yolov6, yolov8
from tests.adapt.test_raw_heads import ANCHORS, raw
from tests.adapt.test_yolox import yolox

pytestmark = pytest.mark.needs("opencv", "tensorrt-rtx")


def text(anchors: tuple[tuple[float, float], ...]) -> str:
    return ",".join(f"{w},{h}" for w, h in anchors)


NETS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "yolov5": (yolov5, {}),
    "yolov6": (yolov6, {}),
    "yolov8": (yolov8, {}),
    "yolov8 of one class": (lambda: yolov8(1), {}),
    "yolov8-segment": (lambda: yolov8(extra=32), {}),
    "yolov5-raw": (lambda: raw(rank=4), {"anchors": text(ANCHORS)}),
    # Random weights: of pixels to 255 the exponential of a size is beyond every float.
    "yolox": (yolox, {"preprocess": "scale=1/255"}),
    "boxes+scores": (apart, {}),
    "queries": (lambda: queries(3), {}),
    "end2end": (end_to_end, {}),
    "onnx-nms": (with_nms, {"strip_nms": True}),
    "efficient-nms": (lambda: efficient()[0], {"strip_nms": True}),
    "nanodet": (lambda: nanodet((8, 16, 32, 64)), {}),
    "picodet": (lambda: pairs(rows=True, bins=8, activation=True), {}),
    "yolov8-raw": (heads, {}),
    "fastestdet": (fastestdet, {}),
    "yolo-fastestv2": (lambda: yolo_fastestv2(last=True), {"anchors": text(FASTEST_ANCHORS)}),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    folder = tmp_path_factory.mktemp("pictures")
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


@pytest.mark.parametrize("name", NETS)
def test_int8_of_every_layout_compiles(name: str, pictures: Path, tmp_path: Path) -> None:
    make, options = NETS[name]
    onnx.save(make(), tmp_path / "m.onnx")
    found = calibrate(
        CalibrateConfig(
            model=tmp_path / "m.onnx",
            images=str(pictures),
            output=tmp_path / "int8",
            method="minmax",
            adapt=options_from_text(**options),
        )
    )
    assert found.int8_macs == 1.0
    report = check(tmp_path / "int8" / "model.int8.onnx")
    assert report.passed, report.findings
    assert [tensor.name for tensor in report.outputs] == ["boxes", "scores"]
