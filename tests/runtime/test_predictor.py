"""Pictures in, results out: against what the tiny models must say of plain colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.class_names import class_ids_from_names
from edgeyolo.errors import ConfigError, EngineError
from edgeyolo.runtime import Classifier, Detector
from edgeyolo.spec import Head
from tests import tiny_models

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

RED, GREEN, BLUE, BLACK = (0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 0, 0)


@pytest.fixture(scope="module")
def detector_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    build(tiny_models.write_detector(folder / "m.onnx"), folder / "m.engine")
    return folder / "m.engine"


@pytest.fixture(scope="module")
def classifier_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    build(tiny_models.write_classifier(folder / "c.onnx"), folder / "c.engine")
    return folder / "c.engine"


def test_boxes_are_in_pixels_of_the_picture(detector_path: Path) -> None:
    half_green = (0, 128, 0)
    with Detector(detector_path) as detector:
        found = detector(tiny_models.picture(RED, BLACK, BLACK, half_green, wh=(128, 128)))
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [1, 128 / 255], atol=1e-6)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 64, 64], [64, 64, 128, 128]], atol=1e-4)


def test_a_wide_picture_is_letterboxed(detector_path: Path) -> None:
    # 64x32 fills 32x16 in the middle: each quarter of the input sees 8 rows of picture, 8 of padding (0.5).
    found = Detector(detector_path, conf=0.6)(tiny_models.picture(RED, BLUE, BLUE, BLUE, wh=(64, 32)))
    assert found.class_ids.tolist() == [0]
    np.testing.assert_allclose(found.scores, [0.75], atol=0.01)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 32, 16]], atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "expected"), [(["green"], [1]), (["0"], [0]), ([1, "RED"], [0, 1]), (None, [0, 1])]
)
def test_classes(classes: list[str | int] | None, expected: list[int], detector_path: Path) -> None:
    found = Detector(detector_path, classes=classes)(tiny_models.picture(RED, GREEN, BLACK, BLACK))
    assert sorted(found.class_ids.tolist()) == expected


@pytest.mark.parametrize(
    ("item", "hint"), [("gren", "did you mean green"), ("2", "it knows red, green"), ("-1", "ids are 0..1")]
)
def test_an_unknown_class(item: str, hint: str, detector_path: Path) -> None:
    with pytest.raises(ConfigError, match="not one of the engine's 2 classes") as raised:
        Detector(detector_path, classes=[item])
    assert raised.value.hint
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("names", "item", "expected"),
    [
        (["a", "A"], "A", 1),  # case counts where nothing else differs
        (["cat", "0"], "0", 1),  # a name before an id
        (["cat", "dog"], " Dog ", 1),
    ],
)
def test_class_names(names: list[str], item: str, expected: int) -> None:
    assert class_ids_from_names(names, [item]) == (expected,)


def test_no_class_at_all() -> None:
    with pytest.raises(ConfigError, match="none found"):
        class_ids_from_names(["cat"], [])


@pytest.mark.parametrize("option", [{"conf": 1.5}, {"iou": -0.1}, {"conf": float("nan")}])
def test_thresholds_out_of_range(option: dict[str, float], detector_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0\.\.1 expected"):
        Detector(detector_path, **option)


def test_classifier_ranks(classifier_path: Path) -> None:
    ranked = Classifier(classifier_path)(tiny_models.picture((100, 200, 50)))
    logits = 10 * np.array([50, 200, 100]) / 255
    softmax = np.exp(logits) / np.exp(logits).sum()
    assert ranked.class_ids.tolist() == [1, 2, 0]
    np.testing.assert_allclose(ranked.scores, softmax[[1, 2, 0]], atol=1e-6)


def test_classifier_top_and_classes(classifier_path: Path) -> None:
    image = tiny_models.picture((100, 200, 50))
    assert Classifier(classifier_path, top=1)(image).class_ids.tolist() == [1]
    assert Classifier(classifier_path, classes=["red", "blue"])(image).class_ids.tolist() == [2, 0]
    with pytest.raises(ConfigError, match="top"):
        Classifier(classifier_path, top=0)


def test_an_engine_of_the_other_task(detector_path: Path, classifier_path: Path) -> None:
    with pytest.raises(EngineError, match="'detect' expected, one for 'classify' found") as raised:
        Detector(classifier_path)
    assert raised.value.hint
    assert "Classifier" in raised.value.hint
    with pytest.raises(EngineError, match="'classify' expected"):
        Classifier(detector_path)


def test_an_engine_with_raw_outputs(tmp_path: Path) -> None:
    path = tiny_models.write_detector(tmp_path / "m.onnx")
    model = onnx.load(path)
    # Any rank-4 float output will do: the mean colours of the quarters.
    del model.graph.output[:]
    info = onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1, 3, 2, 2])
    model.graph.output.append(info)
    head = Head(kind="yolo", output="mean", stride_wh=(16, 16), anchors_wh=((1, 1),), classes=2)
    onnx.helper.set_model_props(model, tiny_models.spec(outputs="raw", heads=(head,)).to_metadata())
    onnx.save(model, path)
    build(path, tmp_path / "m.engine")
    with pytest.raises(EngineError, match="decoded outputs expected, one with raw") as raised:
        Detector(tmp_path / "m.engine")
    assert raised.value.hint
    assert "--outputs decoded" in raised.value.hint


def test_the_three_steps_are_the_call(detector_path: Path) -> None:
    image = tiny_models.picture(RED, GREEN, BLUE, BLACK)
    detector = Detector(detector_path)
    whole = detector(image)
    geometry = detector.preprocess(image, slot=1)
    steps = detector.postprocess(detector.infer(slot=1), geometry)
    np.testing.assert_array_equal(whole.xyxy, steps.xyxy)
    np.testing.assert_array_equal(whole.scores, steps.scores)
