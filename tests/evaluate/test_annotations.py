"""Good files are read, wrong ones are explained: nothing but an EvaluationError comes out."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.errors import EvaluationError
from edgeyolo.evaluate.annotations import read_annotations
from edgeyolo.evaluate.classes import match_classes

GOOD = {
    "images": [{"id": 5, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 90, "bbox": [1, 2, 3.5, 4], "iscrowd": 1},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [1, 2, 0, 4]},
        {"id": 3, "image_id": 77, "category_id": 3, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
}


@pytest.fixture
def read(tmp_path):
    def go(data):
        path = tmp_path / "truth.json"
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return read_annotations(path)

    return go


def test_a_good_file(read) -> None:
    truth = read(GOOD)
    assert [(p.image_id, p.file_name, p.wh) for p in truth.pictures] == [
        (5, "a.jpg", (64, 48)),
        (9, "b.jpg", None),
    ]
    assert [(b.image_id, b.category_id, b.xywh, b.crowd) for b in truth.boxes] == [
        (5, 90, (1, 2, 3.5, 4), True),
        (9, 3, (1, 2, 0, 4), False),
    ]
    assert truth.categories == {3: "car", 90: "toothbrush"}


def test_ids_as_text_and_a_byte_order_mark_are_read(read) -> None:
    data = copy.deepcopy(GOOD)
    data["images"][0]["id"] = "5"
    data["annotations"][0]["image_id"] = 5.0
    truth = read(b"\xef\xbb\xbf" + json.dumps(data).encode())
    assert len(truth.boxes) == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "JSON expected"),
        (b"<html>", "JSON expected"),
        (b"\xff\xfe\x00", "JSON expected"),
        (b"[" * 100_000, "JSON expected"),
        ([{"image_id": 1, "bbox": [0, 0, 1, 1]}], "a list .COCO results have this form. found"),
        ({}, 'a list under the key "images" expected, nothing found'),
        ({"info": {}, "images": []}, 'under the key "annotations" expected, info, images found'),
        ({**GOOD, "categories": {"1": "car"}}, 'under the key "categories" expected'),
        ({**GOOD, "images": ["a.jpg"]}, r"images\[0\]: an object expected, str found"),
        ({**GOOD, "images": [{"id": 1}]}, r"images\[0\]: file_name: a name expected, None found"),
        ({**GOOD, "images": [{"file_name": "a"}]}, r"images\[0\]: id: a whole number expected"),
        ({**GOOD, "images": GOOD["images"] * 2}, "an id found twice"),
        ({**GOOD, "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]}, "'x' found twice"),
        ({**GOOD, "categories": GOOD["categories"][1:]}, r"annotations\[1\]: category_id: .* 3 found"),
    ],
)
def test_wrong_files_are_explained(read, data, text) -> None:
    with pytest.raises(EvaluationError, match=text) as error:
        read(data)
    assert "truth.json" in str(error.value)


@pytest.mark.parametrize(
    "bbox",
    [None, [1, 2, 3], [1, 2, "3", 4], [1, 2, -3, 4], [1, 2, float("nan"), 4], [1, 2, float("inf"), 4], "1"],
)
def test_wrong_boxes_are_explained(read, bbox) -> None:
    data = copy.deepcopy(GOOD)
    data["annotations"][1]["bbox"] = bbox
    with pytest.raises(EvaluationError, match=r"annotations\[1\]: bbox: \[x, y, width, height\] expected"):
        read(data)


def test_an_absent_file(tmp_path) -> None:
    with pytest.raises(EvaluationError, match="cannot be read: No such file"):
        read_annotations(tmp_path / "no.json")


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("id", "file_name", "width", "height", "image_id", "category_id", "bbox", "iscrowd", "name")
entries = st.lists(st.one_of(values, st.dictionaries(st.sampled_from(KEYS), values, max_size=6)), max_size=3)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("images", "annotations", "categories"), entries | values)
    )
)
def test_any_json_gives_annotations_or_an_explanation(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(data))
    with contextlib.suppress(EvaluationError):
        read_annotations(path)


def test_names_are_matched_whatever_the_ids() -> None:
    match = match_classes(["car", "person", "cup"], {1: "person", 3: "car", 90: "toothbrush"})
    assert match.category_of == {0: 3, 1: 1}
    assert match.without_category == ("cup",)
    assert match.without_class == ("toothbrush",)


def test_darknet_s_own_names_of_coco_all_match() -> None:
    # data/coco.names of Darknet has these where COCO has those.
    darknet = ["motorbike", "aeroplane", "sofa", "pottedplant", "diningtable", "tvmonitor", "Traffic_Light"]
    coco = ["motorcycle", "airplane", "couch", "potted plant", "dining table", "tv", "traffic light"]
    match = match_classes(darknet, dict(enumerate(coco, 10)))
    assert match.category_of == {i: 10 + i for i in range(7)}


def test_names_that_have_nothing_in_common_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"classes 'class 0', .*; categories 'person'"):
        match_classes([f"class {i}" for i in range(80)], {1: "person"})


def test_two_names_that_are_the_same_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="'hot dog' and 'hot-dog' are the same"):
        match_classes(["hot dog", "hot-dog"], {1: "hot dog"})
