"""Recipes: what is read, what is refused and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeyolo.config import read_recipe
from edgeyolo.darknet.architectures import ARCHITECTURES
from edgeyolo.errors import ConfigError, PrecisionError
from edgeyolo.fetch.catalogue import known_model
from tests.parts import PROJECT

RECIPES = sorted((PROJECT / "engines").glob("*/*.toml"))


def recipe(folder: Path, text: str) -> Path:
    path = folder / "r.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_our_own_recipes(path: Path) -> None:
    made = read_recipe(path)
    assert made.build.board == path.parent.name
    assert made.model.cfg in ARCHITECTURES
    assert made.model.fetch is not None
    assert any(file.name.endswith(".weights") for file in known_model(made.model.fetch).files)
    assert made.calibrate is not None


def test_there_is_one_for_every_board_and_model() -> None:
    boards = {"orin-nano", "orin-nx", "agx-orin", "xavier-nx", "thor"}
    models = {"yolov3", "yolov3-tiny", "yolov4-tiny"}
    assert {(path.parent.name, path.stem) for path in RECIPES} == {(b, m) for b in boards for m in models}


MODEL = '[model]\ncfg = "yolov3"\nrandom_weights = 1\n'


def test_defaults_and_names(tmp_path: Path) -> None:
    made = read_recipe(recipe(tmp_path, MODEL + 'size = "640x384"\n[run]\nconf = 1\n'))
    assert made.model.input_wh == (640, 384)
    assert made.graph.simplify
    assert made.calibrate is None
    assert made.run.conf == 1
    assert made.folder == tmp_path / "r"
    assert made.resolved("a/b.cfg") == tmp_path / "a/b.cfg"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"section \[model\] expected"),
        ("[model", "TOML expected"),
        (MODEL + "[grpah]\n", "section 'grpah' is not known; 'graph' is"),
        (MODEL + "[build]\nprecison = 'int8'\n", r"\[build\] key 'precison' is not known; 'precision' is"),
        (
            MODEL + "[build]\nprecision = 'int9'\n",
            r"\[build\] precision: 'fp32' or 'fp16' or 'int8' expected",
        ),
        (MODEL + "[build]\ndla = true\n", r"\[build\] dla: a whole number expected, True found"),
        (MODEL + "[graph]\nsimplify = 1\n", r"\[graph\] simplify: true or false expected, 1 found"),
        (MODEL + "[run]\nconf = 'low'\n", r"\[run\] conf: a number expected"),
        (MODEL + "[calibrate]\nlimit = 3\n", "key 'images' expected"),
        (MODEL + "[build]\nprecision = 'int8'\n", r"needs a section \[calibrate\]"),
        (MODEL + "[build]\nboard = 'orin-nona'\n", "near it: orin-nano"),
        (MODEL + "[build]\nboard = 'orin-nano'\nprecision = 'fp16'\ndla = 0\n", "has no DLA"),
        (MODEL + "weights = 'a.weights'\n", "weights and random_weights found"),
        ("[model]\nrandom_weights = 1\n", "cfg goes with weights"),
        ("[model]\nonnx = 'a.onnx'\ncfg = 'a.cfg'\n", "not with onnx"),
        ("[model]\ncfg = 'a.cfg'\n", "none found"),
        (MODEL + "size = '416px'\n", '"N" or "WxH" expected'),
        ("model = 3\n", "a section expected, 3 found"),
    ],
)
def test_what_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        read_recipe(recipe(tmp_path, text))
    assert "r.toml" in raised.value.message


def test_a_board_that_cannot_do_it(tmp_path: Path) -> None:
    text = MODEL + "[calibrate]\nimages='x'\n[build]\nboard = 'nano'\nprecision = 'int8'\n"
    with pytest.raises(PrecisionError, match="no fast int8"):
        read_recipe(recipe(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path / "absent.toml")
