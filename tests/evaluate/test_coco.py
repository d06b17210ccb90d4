"""The whole measure on pictures made here, with a callable that knows or does not know the truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.errors import EvaluationError
from edgeyolo.evaluate.coco import evaluate

pytestmark = pytest.mark.needs("eval", "opencv")
NAMES = ("cup", "car", "person")
# (file, width, [(category id, xywh)]); the width tells the callable which picture it sees
PICTURES = [
    ("a.png", 60, [(1, [5, 5, 20, 30]), (3, [30, 5, 20, 20])]),
    ("b.png", 70, [(3, [10, 10, 30, 30])]),
    ("sub/c.png", 80, [(1, [0, 0, 40, 40]), (90, [1, 1, 5, 5])]),
]
CLASS_OF = {1: 2, 3: 1}


@pytest.fixture
def data(tmp_path):
    import cv2

    truth = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": i, "name": n} for i, n in ((1, "person"), (3, "car"), (90, "toothbrush"))]
    for number, (name, width, boxes) in enumerate(PICTURES, 10):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((50, width, 3), number, np.uint8))
        truth["images"].append({"id": number, "file_name": name, "width": width, "height": 50})
        for category_id, bbox in boxes:
            truth["annotations"].append({"image_id": number, "category_id": category_id, "bbox": bbox})

    class Data:
        images = tmp_path / "images"
        annotations = tmp_path / "truth.json"
        json = truth

        def write(self) -> None:
            self.annotations.write_text(json.dumps(self.json))

    made = Data()
    made.write()
    return made


def knows(image: np.ndarray) -> Detections:
    boxes = next(p[2] for p in PICTURES if p[1] == image.shape[1])
    rows = [(CLASS_OF[c], x, y, x + w, y + h) for c, (x, y, w, h) in boxes if c in CLASS_OF]
    return Detections(
        np.array([r[1:] for r in rows], np.float32),
        np.full(len(rows), 0.9, np.float32),
        np.array([r[0] for r in rows]),
    )


def test_whoever_knows_the_truth_gets_one(data) -> None:
    calls = []
    report = evaluate(
        knows, data.images, data.annotations, NAMES, on_image=lambda done, total: calls.append((done, total))
    )
    assert (report.ap, report.ap50, report.ap75) == (1, 1, 1)
    assert (report.images, report.boxes, report.detections) == (3, 4, 4)
    assert [(c.name, c.boxes, c.ap50) for c in report.classes] == [("car", 2, 1.0), ("person", 2, 1.0)]
    assert report.classes_without_category == ("cup",)
    assert report.categories_without_class == ("toothbrush",)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    text = "\n".join(report.lines())
    assert "1 classes of the model without a category (not measured): cup" in text
    assert "1 categories without a class of the model (not measured): toothbrush" in text


def test_whoever_finds_nothing_gets_nothing(data) -> None:
    report = evaluate(lambda image: Detections.empty(), data.images, data.annotations, NAMES)
    assert (report.ap, report.ap50, report.detections) == (0, 0, 0)


def test_boxes_of_classes_without_a_category_do_not_count(data) -> None:
    def sees_cups(image: np.ndarray) -> Detections:
        known = knows(image)
        return Detections(
            np.concatenate([known.xyxy, known.xyxy]),
            np.concatenate([known.scores, known.scores]),
            np.concatenate([known.class_ids, 0 * known.class_ids]),
        )

    report = evaluate(sees_cups, data.images, data.annotations, NAMES)
    assert (report.ap, report.detections) == (1, 4)


def test_a_class_without_a_box_is_not_in_the_mean(data) -> None:
    report = evaluate(knows, data.images, data.annotations, (*NAMES, "toothbrush"), limit=2)
    assert report.images == 2
    assert report.ap == 1
    assert math.isnan(report.classes[-1].ap)
    assert report.to_json()["classes"][-1] == {"name": "toothbrush", "boxes": 0, "ap": None, "ap50": None}
    json.dumps(report.to_json(), allow_nan=False)


def test_absent_and_broken_pictures_are_counted_and_named(data) -> None:
    (data.images / "a.png").unlink()
    (data.images / "b.png").write_bytes(b"<html>")
    report = evaluate(knows, data.images, data.annotations, NAMES)
    assert (report.images, report.boxes, report.ap) == (1, 1, 1)
    assert (report.absent, report.unreadable) == (("a.png",), ("b.png",))
    text = "\n".join(report.lines())
    assert "1 images of the annotations that are not in the folder: a.png" in text
    assert "1 files that are no pictures: b.png" in text


def test_files_are_found_without_their_folders(data) -> None:
    (data.images / "sub/c.png").rename(data.images / "c.png")
    assert evaluate(knows, data.images, data.annotations, NAMES).images == 3


@pytest.mark.parametrize("labelled", ["as stored", "upright"])
def test_a_picture_is_seen_the_way_up_that_its_boxes_are(data, labelled: str) -> None:
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter before it is shown
    stored = (60, 50) if labelled == "as stored" else (50, 60)
    image.new("RGB", stored).save(data.images / "a.png", exif=exif)
    assert evaluate(knows, data.images, data.annotations, NAMES).ap == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda d: [p.unlink() for p in d.images.rglob("*.png")],
            r"a.png, b.png, sub/c.png .*not one of 3 found",
        ),
        (lambda d: [p.write_bytes(b"no") for p in d.images.rglob("*.png")], "not one of 3 files is readable"),
        (lambda d: d.json.update(annotations=[]), "boxes of the model's classes expected, none in 3 images"),
        (lambda d: d.json["images"][0].update(width=50, height=60), r"50x60 .* 60x50 found"),
        (lambda d: d.json["images"][0].update(width=640), "640x50 pixels expected"),
        (lambda d: d.json.update(images=[]), "not one of 0 found"),
    ],
)
def test_what_does_not_fit_is_explained(data, change, text) -> None:
    change(data)
    data.write()
    with pytest.raises(EvaluationError, match=text):
        evaluate(knows, data.images, data.annotations, NAMES)


def test_a_folder_that_is_not_there(data, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="a folder of pictures expected, none found"):
        evaluate(knows, tmp_path / "no", data.annotations, NAMES)
