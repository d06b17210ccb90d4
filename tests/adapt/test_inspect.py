"""`edgeyolo inspect` names the family of a model of another origin, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from edgeyolo.pipeline.inspect import inspect
from edgeyolo.pipeline.inspect_text import lines_from_facts
from tests.adapt.foreign import Net
from tests.adapt.test_inputs import any_size
from tests.adapt.test_predictions import yolov8


def test_the_family_and_its_reasons(tmp_path: Path) -> None:
    path = tmp_path / "anything.onnx"
    onnx.save(yolov8(classes=7), path)
    before = path.read_bytes()
    facts = inspect(str(path))
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["family"]["name"], facts["family"]["classes"]) == ("yolov8", 7)
    text = "\n".join(lines_from_facts(facts))
    assert "family       yolov8, 7 classes" in text
    assert "joined as 4 + 7" in text
    assert f"edgeyolo build {path}" in text
    assert path.read_bytes() == before


def test_an_open_size_is_no_obstacle(tmp_path: Path) -> None:
    onnx.save(any_size(), tmp_path / "m.onnx")
    assert inspect(str(tmp_path / "m.onnx"))["family"]["name"] == "yolox"


def test_no_detector_is_said(tmp_path: Path) -> None:
    net = Net()
    net.op("Flatten", net.op("GlobalAveragePool", net.conv(10, 8)), to="logits")
    onnx.save(net.model({"logits": [1, 10]}), tmp_path / "m.onnx")
    facts = inspect(str(tmp_path / "m.onnx"))
    assert facts["family"]["name"] is None
    assert any("no detector" in line for line in lines_from_facts(facts))


@pytest.mark.needs("shared-data")
def test_yolox_nano(shared_data: Path) -> None:
    facts = inspect(str(shared_data / "onnx" / "yolox_nano.onnx"))
    assert (facts["family"]["name"], facts["family"]["strides"]) == ("yolox", [8, 16, 32])
