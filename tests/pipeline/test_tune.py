"""``edgeyolo tune-preprocess`` on real models whose metadata is wrong on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.spec import ModelSpec
from tests.adapt.test_predictions import yolov8
from tests.command import edgeyolo

onnx = pytest.importorskip("onnx")

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")

WRONG = "channels=rgb,scale=1/255,mean=0.5/0.5/0.5,std=0.5/0.5/0.5"


def spec_of(path: Path) -> ModelSpec:
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props})
    assert spec is not None
    return spec


def tuned(*words: Any) -> dict[str, Any]:
    done = edgeyolo("tune-preprocess", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.needs("shared-data")
def test_yolox_wants_bgr_of_0_to_255(shared_data: Path, tmp_path: Path) -> None:
    source, output = shared_data / "onnx" / "yolox_nano.onnx", tmp_path / "nano.onnx"
    images = shared_data / "coco" / "val2017"
    found = tuned(source, "--images", images, "--preprocess", WRONG, "-o", output, "--limit", "10")
    assert (found["chosen"]["channels"], found["chosen"]["scale"]) == ("bgr", 1.0)
    assert found["chosen"]["mean"] == [0.0, 0.0, 0.0]
    assert found["chosen"]["resize"] == found["before"]["resize"] == "letterbox_top_left"
    spec = spec_of(output)
    assert (spec.preprocess.channels, spec.preprocess.scale) == ("bgr", 1.0)
    assert "tuned_from_sha256" in spec.provenance
    # A model that is right already stays so.
    again = tuned(output, "--images", images, "--limit", "5")
    assert again["chosen"] == again["before"]


@pytest.mark.needs("shared-data", "eval")
def test_labels_tell_how_a_picture_is_fitted(shared_data: Path, tmp_path: Path) -> None:
    """Yolo-Fastest: stretched, RGB, 0..1, as its own Darknet does it."""
    darknet, coco = shared_data / "darknet", shared_data / "coco"
    model, wrong = tmp_path / "m.onnx", tmp_path / "wrong.onnx"
    files = (darknet / "yolo-fastest-1.1.cfg", darknet / "yolo-fastest-1.1.weights")
    assert edgeyolo("convert", *files, "--names", darknet / "coco.names", "-o", model).returncode == 0
    right = spec_of(model).preprocess
    copy = onnx.load(model)
    for entry in copy.metadata_props:
        if entry.key == "edgeyolo.preprocess":
            value = {**json.loads(entry.value), "channels": "bgr", "scale": 1.0, "resize": "letterbox"}
            entry.value = json.dumps(value)
    onnx.save(copy, wrong)
    labels = ("--annotations", coco / "instances_val2017.json", "--limit", "32")
    found = tuned(wrong, "--images", coco / "val2017", *labels, "-o", tmp_path / "tuned.onnx")
    chosen = spec_of(tmp_path / "tuned.onnx").preprocess
    assert (chosen.channels, chosen.scale, chosen.resize) == (right.channels, right.scale, "stretch")
    scores = [row["score"] for row in found["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert found["labelled"]


def pictures(folder: Path) -> Path:
    import cv2

    folder.mkdir()
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 256, (48, 80, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


def test_the_table_says_what_was_chosen_and_what_cannot_be_told(tmp_path: Path) -> None:
    onnx.save(yolov8(), tmp_path / "m.onnx")
    done = edgeyolo("tune-preprocess", tmp_path / "m.onnx", "--images", pictures(tmp_path / "p"))
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "resize=" in line]
    assert len(rows) >= 12
    assert sum("chosen" in row for row in rows) == 1
    assert sum("as the model says" in row for row in rows) == 1
    assert "--annotations COCO.json tells" in done.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(("--images", "nowhere"), "nowhere"), (("--images", "p", "--limit", "0"), "--limit: 1 or more")],
)
def test_mistakes(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    onnx.save(yolov8(), tmp_path / "m.onnx")
    pictures(tmp_path / "p")
    done = edgeyolo("tune-preprocess", "m.onnx", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
