"""``scales.json``: what goes in comes out, stale ones are named, wrong ones are refused."""

import json
import re
from pathlib import Path

import pytest

from edgeyolo.errors import CalibrationError, StaleScalesError
from edgeyolo.scales import Provenance, Scales, TensorScale, preprocess_sha256, read_scales
from edgeyolo.spec import Preprocess

PROVENANCE = Provenance(
    model_sha256="a" * 64,
    preprocess_sha256=preprocess_sha256(Preprocess()),
    manifest_sha256="c" * 64,
    images=294,
    method="auto",
    versions={"onnxruntime": "1.18"},
)
SCALES = Scales(
    provenance=PROVENANCE,
    tensors={
        "images": TensorScale(amax=1.0, method="mse"),
        "Größe/ü": TensorScale(amax=0.1 + 0.2, method="search"),
    },
    float_layers={"conv": "why"},
    weight_amax={"conv": (0.5, 0.25)},
    channel_factors={"images": (1.0, 2.0, 0.1)},
    bias_shift={"conv": (0.125, -3e-9)},
    plain={"images": TensorScale(amax=2.0, method="percentile 99.9")},
    int8_on_onnxruntime={"conv": "why not"},
)


def test_a_file_holds_it_all(tmp_path: Path) -> None:
    SCALES.write(tmp_path / "scales.json")
    assert read_scales(tmp_path / "scales.json") == SCALES


def test_a_file_of_before_has_no_layers_of_onnxruntime(tmp_path: Path) -> None:
    SCALES.write(tmp_path / "scales.json")
    data = json.loads((tmp_path / "scales.json").read_text(encoding="utf-8"))
    del data["int8_on_onnxruntime"]
    (tmp_path / "scales.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_scales(tmp_path / "scales.json").int8_on_onnxruntime == {}


@pytest.mark.parametrize("key", ["float_layers", "weight_steps", "plain"])
def test_a_file_that_lacks_a_table_is_refused(tmp_path: Path, key: str) -> None:
    SCALES.write(tmp_path / "scales.json")
    data = json.loads((tmp_path / "scales.json").read_text(encoding="utf-8"))
    del data[key]
    (tmp_path / "scales.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(CalibrationError, match=f"{key}: a table expected, nothing found"):
        read_scales(tmp_path / "scales.json")


def test_a_diff_can_be_read(tmp_path: Path) -> None:
    SCALES.write(tmp_path / "scales.json")
    lines = (tmp_path / "scales.json").read_text(encoding="utf-8").splitlines()
    assert '    "images": {"amax": 1.0, "method": "mse"},' in lines


def test_other_models_and_preprocesses_are_named() -> None:
    SCALES.check(model_sha256="a" * 64, preprocess=Preprocess())
    with pytest.raises(StaleScalesError, match="another model: model_sha256 bbbbbbbbbbbb… expected, aaaaaa"):
        SCALES.check(model_sha256="b" * 64)
    with pytest.raises(StaleScalesError, match="another preprocess: preprocess_sha256") as caught:
        SCALES.check(model_sha256="a" * 64, preprocess=Preprocess(pad_value=114))
    assert "edgeyolo calibrate" in (caught.value.hint or "")


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf")])
def test_a_range_is_positive_and_finite(amax: float) -> None:
    with pytest.raises(CalibrationError, match="a positive finite number expected"):
        TensorScale(amax=amax, method="mse")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 2 expected, 99 found"),
        (
            {"tensors": {"images": {"amax": -1, "method": ""}}},
            "tensors: a positive finite amax and a method expected for 'images', {",
        ),
        ({"tensors": {"images": 3}}, "amax and a method expected for 'images', 3 found"),
        ({"tensors": {"images": {"amax": 1.0}}}, "amax and a method expected for 'images'"),
        ({"int8_on_onnxruntime": ["stem"]}, 'int8_on_onnxruntime: a table expected, ["stem"] found'),
        ({"bias_shift": {"stem": ["a"]}}, "bias_shift: numbers expected for 'stem', [\"a\"] found"),
        ({"offsets": {"stem": []}}, "offsets: a number expected for 'stem', [] found"),
        ({"provenance": {}}, "versions expected, {} found"),
        ({"provenance": ["a"]}, "provenance: a table of model_sha256, preprocess_sha256"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "scales.json"
    SCALES.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(CalibrationError, match=re.escape(message)):
        read_scales(path)


@pytest.mark.parametrize("text", ["", "[]", "<html>", "{}"])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "scales.json").write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"scales.json: a scales file expected"):
        read_scales(tmp_path / "scales.json")


def test_an_absent_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read") as caught:
        read_scales(tmp_path / "scales.json")
    assert "edgeyolo calibrate" in (caught.value.hint or "")
