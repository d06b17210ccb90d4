"""A model of another origin through every command that takes ONNX, with nothing done to it by hand."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import helper

from edgeyolo.config import read_recipe
from edgeyolo.errors import ConfigError
from edgeyolo.files import sha256_of
from edgeyolo.pipeline.make import make
from edgeyolo.sidecar import read_sidecar
from edgeyolo.spec import ModelSpec
from tests.adapt.foreign import Net
from tests.adapt.test_inputs import any_size
from tests.adapt.test_integers import body
from tests.adapt.test_predictions import yolov8
from tests.command import edgeyolo

pytestmark = pytest.mark.needs("opencv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import cv2

    onnx.save(yolov8(metadata={"names": "{0: 'a', 1: 'b', 2: 'c'}"}), tmp_path / "m.onnx")
    (tmp_path / "pictures").mkdir()
    for index in range(4):
        picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), picture)
    return tmp_path


def metadata(path: Path) -> ModelSpec:
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props})
    assert spec is not None
    return spec


def ok(*words: Any) -> Any:
    done = edgeyolo(*words)
    assert done.returncode == 0, done.stderr
    return done


def test_build_takes_it_and_the_sidecar_says_from_what(folder: Path) -> None:
    source, engine = folder / "m.onnx", folder / "m.engine"
    done = ok("build", source, "-o", engine, "--backend", "onnxruntime", "--preprocess", "channels=bgr")
    assert f"{source}: yolov8, 3 classes" in done.stderr
    assert "because" in done.stderr
    info = read_sidecar(engine)
    assert info.made_from["source"] == sha256_of(source)
    assert info.spec.provenance["adapted_from_sha256"] == sha256_of(source)
    assert (info.spec.names, info.spec.preprocess.channels) == (("a", "b", "c"), "bgr")
    before = engine.read_bytes()
    engine.unlink()
    ok(*shlex.split(info.command)[1:])
    assert engine.read_bytes() == before
    found = ok("run", engine, folder / "pictures" / "0.png", "--jsonl", "-")
    assert json.loads(found.stdout)["width"] == 64


def test_scales_fit_the_model_that_they_were_found_for(folder: Path) -> None:
    source, scales = folder / "m.onnx", folder / "int8"
    onnx.save(body(yolov8()), source)
    done = ok("calibrate", source, folder / "pictures", "-o", scales, "--method", "minmax")
    assert "because" in done.stderr
    assert metadata(scales / "model.int8.onnx").provenance["adapted_from_sha256"] == sha256_of(source)
    words = ("--backend", "onnxruntime", "--precision", "int8", "--calibration", scales)
    ok("build", source, "-o", folder / "a.engine", *words)
    # Adapted by hand it is the same file, so the same scales.
    ok("adapt", source, "-o", folder / "mine.onnx")
    ok("build", folder / "mine.onnx", "-o", folder / "b.engine", *words)
    other = edgeyolo("build", source, "-o", folder / "c.engine", *words, "--preprocess", "channels=bgr")
    assert other.returncode == 2
    assert "another" in other.stderr


@pytest.mark.needs("onnxsim")
def test_what_is_simplified_is_still_recognised_and_keeps_its_origin(folder: Path) -> None:
    source, simple = folder / "m.onnx", folder / "s.onnx"
    ok("simplify", source, "-o", simple)
    assert [item.name for item in onnx.load(simple).graph.output] == ["output0"]
    ok("build", simple, "-o", folder / "s.engine", "--backend", "onnxruntime")
    provenance = read_sidecar(folder / "s.engine").spec.provenance
    assert provenance["simplified_from_sha256"] == sha256_of(source)
    assert provenance["adapted_from_sha256"] == sha256_of(simple)


@pytest.mark.needs("tensorrt-rtx")
def test_check_checks_what_build_would_build(folder: Path) -> None:
    done = ok("check", folder / "m.onnx")
    assert "because" in done.stderr
    assert "output boxes float32 [1, 84, 4]" in done.stdout
    assert f"{folder / 'm.onnx'}: compiles" in done.stdout


@pytest.mark.needs("tensorrt-rtx")
def test_check_takes_what_is_no_detector_as_it_is(folder: Path) -> None:
    net = Net()
    net.op("ReduceMean", net.conv(4, 8), axes=[2, 3], keepdims=0, to="p")
    onnx.save(net.model({"p": [1, 4]}), folder / "c.onnx")
    done = ok("check", folder / "c.onnx")
    assert "taken as it is" in done.stderr
    assert "output p" in done.stdout


@pytest.mark.needs("onnxsim")
def test_make_takes_it(folder: Path) -> None:
    (folder / "names").write_text("x\ny\nz\n")
    recipe = folder / "r.toml"
    recipe.write_text(
        '[model]\nonnx = "m.onnx"\nnames = "names"\npreprocess = "channels=bgr"\n'
        '[build]\nbackend = "onnxruntime"\n'
    )
    made = make(read_recipe(recipe))
    assert made.done == ("adapt", "simplify", "build")
    info = read_sidecar(made.engine)
    assert info.spec.names == ("x", "y", "z")
    assert info.spec.provenance["adapted_from_sha256"] == sha256_of(folder / "m.onnx")
    assert make(read_recipe(recipe)).done == ()


def test_options_for_a_foreign_model_are_refused_for_our_own(folder: Path) -> None:
    ok("adapt", folder / "m.onnx", "-o", folder / "mine.onnx")
    for words in (
        ("build", folder / "mine.onnx", "-o", folder / "e.engine", "--backend", "onnxruntime"),
        ("calibrate", folder / "mine.onnx", folder / "pictures", "-o", folder / "c"),
    ):
        done = edgeyolo(*words, "--family", "yolov8")
        assert done.returncode == 2
        assert "--family is for a model of another origin" in done.stderr


def test_a_recipe_has_options_of_a_foreign_model_for_onnx_only(folder: Path) -> None:
    (folder / "r.toml").write_text('[model]\ncfg = "yolov3"\nrandom_weights = 1\nanchors = "1,2"\n')
    with pytest.raises(ConfigError, match="anchors: it goes with onnx"):
        read_recipe(folder / "r.toml")


def test_what_is_missing_is_asked_for_under_the_name_of_the_users_file(folder: Path) -> None:
    net = Net()
    net.op("Identity", net.conv(24, 8), to="o1")
    net.op("Identity", net.conv(24, 16), to="o2")
    onnx.save(net.model({"o1": [1, 24, 8, 8], "o2": [1, 24, 4, 4]}), folder / "raw.onnx")
    words = ("build", folder / "raw.onnx", "-o", folder / "e.engine", "--backend", "onnxruntime")
    done = edgeyolo(*words)
    assert done.returncode == 2
    assert f"{folder / 'raw.onnx'}: " in done.stderr
    assert "--anchors" in done.stderr
    ok(*words, "--anchors", "1,2,3,4,5,6,7,8,9,10,11,12")
    assert "--anchors 1,2,3,4" in read_sidecar(folder / "e.engine").command


def test_errors_of_later_stages_name_the_users_file(folder: Path) -> None:
    model = yolov8()
    model.graph.node.append(helper.make_node("Nonsense", ["images"], ["nonsense"], domain="my.domain"))
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    model.graph.node.append(helper.make_node("Cast", ["nonsense"], ["kept"], to=1))
    onnx.save(model, folder / "odd.onnx")
    done = edgeyolo("build", folder / "odd.onnx", "-o", folder / "e.engine", "--backend", "onnxruntime")
    assert "/edgeyolo-" not in done.stderr


def test_suppression_is_chosen_where_boxes_are_made(folder: Path) -> None:
    engine, picture = folder / "m.engine", folder / "pictures" / "0.png"
    ok("build", folder / "m.onnx", "-o", engine, "--backend", "onnxruntime")
    counts = {}
    for kind, overlap in (("class", "0.01"), ("agnostic", "0.01"), ("none", None), ("soft", None)):
        words = () if overlap is None else ("--iou", overlap)
        found = ok("run", engine, picture, "--jsonl", "-", "--nms", kind, *words)
        counts[kind] = len(json.loads(found.stdout)["detections"])
    assert counts["none"] > counts["class"] >= counts["agnostic"] > 0
    for words, complaint in (
        (("--nms", "best"), "nms: one of class, agnostic, none, soft expected, 'best' found"),
        (("--nms", "soft", "--iou", "0.3"), "--iou has no use with --nms soft"),
    ):
        done = edgeyolo("run", engine, picture, *words)
        assert done.returncode == 2
        assert complaint in done.stderr
    ok("bench", engine, "--frames", "2", "--nms", "agnostic")


def test_an_overlap_for_boxes_that_are_final_is_refused(folder: Path) -> None:
    engine, picture = folder / "final.engine", folder / "pictures" / "0.png"
    ok("build", folder / "m.onnx", "-o", engine, "--backend", "onnxruntime", "--nms", "graph")
    done = edgeyolo("run", engine, picture, "--iou", "0.3")
    assert done.returncode == 2
    assert "--iou has no use with --nms none" in done.stderr
    ok("run", engine, picture, "--iou", "0.3", "--nms", "class")


def test_an_onnx_file_is_run_as_it_is(folder: Path) -> None:
    done = ok("run", folder / "m.onnx", folder / "pictures" / "0.png", "--jsonl", "-")
    assert "yolov8, 3 classes" in done.stderr
    assert "edgeyolo build makes one that stays" in done.stderr
    assert json.loads(done.stdout)["detections"]
    assert not list(folder.glob("*.json"))
    onnx.save(any_size(), folder / "open.onnx")
    done = edgeyolo("run", folder / "open.onnx", folder / "pictures" / "0.png")
    assert done.returncode == 2
    assert f"edgeyolo build {folder / 'open.onnx'}" in done.stderr
    assert "--size 640" in done.stderr
    (folder / "no.onnx").write_text("nothing")
    done = edgeyolo("run", folder / "no.onnx", folder / "pictures" / "0.png")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
