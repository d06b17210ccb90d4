"""Two engines over one folder: the figures, the pictures, the exit code."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgeyolo.build import build
from edgeyolo.errors import ConfigError, EvaluationError
from edgeyolo.pipeline.compare import CompareConfig, compare_engines
from tests import tiny_models
from tests.calibrate.pictures import write
from tests.command import edgeyolo

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")

RED, GREEN, BLACK, GREY = (0, 0, 255), (0, 255, 0), (0, 0, 0), (60, 60, 60)


def engine(path: Path, **changes: Any) -> Path:
    """The quarters detector; `changes` go to its preprocess, so that it sees other colours."""
    import onnx
    from onnx import helper

    model = onnx.load(tiny_models.write_detector(path.with_suffix(".onnx")))
    spec = tiny_models.spec()
    names = changes.pop("names", spec.names)
    preprocess = dataclasses.replace(spec.preprocess, **changes)
    del model.metadata_props[:]
    helper.set_model_props(model, dataclasses.replace(spec, preprocess=preprocess, names=names).to_metadata())
    onnx.save(model, path.with_suffix(".onnx"))
    build(path.with_suffix(".onnx"), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for n, quarters in enumerate(
        [(RED, GREEN, BLACK, GREY), (RED, RED, GREY, GREEN), (GREY, BLACK, RED, GREEN)]
    ):
        write(folder / f"{n}.png", tiny_models.picture(*quarters, wh=(64, 64)))
    return folder


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return engine(tmp_path / "reference.engine")


def test_an_engine_agrees_with_itself(reference: Path, images: Path) -> None:
    found = compare_engines(CompareConfig(reference=reference, engine=reference, images=str(images)))
    assert found.figures.agreement == 1
    assert found.figures.pseudo_map == 1
    assert found.figures.matched >= 6
    assert found.figures.worst == ()


def test_a_dimmer_engine_loses_nothing_and_is_shy(reference: Path, images: Path, tmp_path: Path) -> None:
    dim = engine(tmp_path / "dim.engine", scale=0.9 / 255)
    found = compare_engines(CompareConfig(reference=reference, engine=dim, images=str(images))).figures
    assert found.agreement == 1
    assert found.score_bias == pytest.approx(-0.1, abs=0.002)


def test_class_ids_are_matched_by_name(reference: Path, images: Path, tmp_path: Path) -> None:
    # The other engine calls its first output "green": every red box comes out as green.
    turned = engine(tmp_path / "turned.engine", names=("green", "red"))
    found = compare_engines(CompareConfig(reference=reference, engine=turned, images=str(images))).figures
    assert found.matched == 0
    assert found.lost == found.invented > 0


def test_engines_of_other_classes_are_refused(reference: Path, images: Path, tmp_path: Path) -> None:
    other = engine(tmp_path / "other.engine", names=("red", "blue"))
    with pytest.raises(EvaluationError, match="blue, green"):
        compare_engines(CompareConfig(reference=reference, engine=other, images=str(images)))


def test_the_command_draws_prints_and_fails_below_the_limit(
    reference: Path, images: Path, tmp_path: Path
) -> None:
    import cv2

    (images / "broken.png").write_bytes(b"")
    swapped = engine(tmp_path / "swapped.engine", channels="bgr")  # red is what it calls blue
    words = ["compare", reference, swapped, "--images", images, "--json", "-o", tmp_path / "worst"]
    done = edgeyolo(*words, "--min-agreement", "0.99")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] is False
    assert report["agreement"] < 0.99
    assert report["lost"] > 0
    assert report["skipped"] == ["broken.png"]
    assert len(report["worst"]) == len(report["files"]) == 3
    assert all(cv2.imread(path).shape[1] == 2 * 64 + 4 for path in report["files"])
    assert all(re.fullmatch(r"0\d-[^.]+\.jpg", Path(path).name) for path in report["files"])
    assert edgeyolo(*words, "--min-agreement", "0.1").returncode == 0
    text = edgeyolo("compare", reference, swapped, "--images", images)
    assert text.returncode == 0
    assert "agreement" in text.stdout
    assert "LESS THAN" not in text.stdout


def test_mistakes_are_said(reference: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert edgeyolo("compare", reference, reference, "--images", tmp_path / "empty").returncode == 2
    assert edgeyolo("compare", reference, tmp_path / "none", "--images", images).returncode == 2
    for wrong in ({"conf": 0.0}, {"min_agreement": 2.0}):
        with pytest.raises(ConfigError):
            CompareConfig(reference=reference, engine=reference, images="x", **wrong)


def test_pictures_that_a_classifier_sees_are_refused(images: Path, tmp_path: Path, reference: Path) -> None:
    build(tiny_models.write_classifier(tmp_path / "c.onnx"), tmp_path / "c.engine")
    done = edgeyolo("compare", reference, tmp_path / "c.engine", "--images", images)
    assert done.returncode == 2
    assert "detect" in done.stderr
