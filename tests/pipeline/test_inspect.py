"""`inspect` against published numbers, the files of other tools, and files that are nothing of ours."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from edgeyolo.errors import CfgError, ConfigError, EngineError, GraphError, ModelError, WeightsError
from edgeyolo.pipeline.inspect import inspect
from edgeyolo.pipeline.inspect_text import lines_from_facts
from tests.command import edgeyolo
from tests.parts import PROJECT

CFG = """# a comment

[net]
width=8
height=8
channels=3
[convolutional]
filters=2
size=3
stride=1
pad=1
"""
CFG_FLOATS = 2 + 2 * 3 * 3 * 3


def weights_bytes(floats: int) -> bytes:
    return struct.pack("<iiiQ", 0, 2, 5, 64) + bytes(4 * floats)


# "Bn ops" of pjreddie.com/darknet/imagenet and /darknet/yolo; parameters from the length of the published
# .weights file, (bytes - 20) / 4, as in open_model_zoo's yolo-v4-tf and yolo-v4-tiny-tf and Git LFS pointers.
@pytest.mark.parametrize(
    ("name", "gflops", "weights_bytes"),
    [
        ("darknet19", 7.29, None),
        ("darknet53", 18.57, None),
        ("darknet53_448", 56.87, None),
        ("yolov2-tiny", 5.41, None),
        ("yolov3", 65.86, 248_007_048),
        ("yolov3-tiny", 5.56, 35_434_956),
        ("yolov3-spp", 141.45, None),
        ("yolov4", 128.46, 257_717_640),
        ("yolov4-tiny", 6.91, 24_251_276),
    ],
)
def test_known_numbers_of_built_in_architectures(name: str, gflops: float, weights_bytes: int | None) -> None:
    facts = inspect(name)
    assert facts["kind"] == "cfg"
    # Darknet counts the additions of [shortcut] too: 0.05 % of YOLOv4.
    assert facts["gflops"] == pytest.approx(gflops, abs=0.006, rel=6e-4)
    if weights_bytes:
        assert facts["weights_bytes"] == weights_bytes


def test_the_architecture_and_its_cfg_file_say_the_same(shared_data: Path) -> None:
    ours, theirs = inspect("yolov3-tiny"), inspect(str(shared_data / "cfg" / "yolov3-tiny.cfg"))
    differ = {"name", "what", "warnings"}
    assert {k: v for k, v in ours.items() if k not in differ} == {
        k: v for k, v in theirs.items() if k not in differ
    }


def test_a_cfg_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(CFG, encoding="utf-8")
    facts = inspect(str(path))
    assert (facts["kind"], facts["input"], facts["parameters"]) == ("cfg", [3, 8, 8], CFG_FLOATS)
    assert facts["layers"][0]["out"] == [2, 8, 8]
    assert facts["gflops"] == pytest.approx(2 * 54 * 64 / 1e9)
    rows = [" ".join(line.split()) for line in lines_from_facts(facts)]
    assert "0 convolutional 3x3/1 2 logistic input 2x8x8 56 0.000" in rows


def test_weights_are_compared_with_what_could_belong_to_them(tmp_path: Path) -> None:
    path = tmp_path / "m.weights"
    path.write_bytes(weights_bytes(CFG_FLOATS))
    facts = inspect(str(path))
    assert (facts["kind"], facts["parameters"], facts["pictures_seen"]) == ("weights", CFG_FLOATS, 64)
    assert (facts["fits"], facts["cfg_beside"]) == ([], None)

    (tmp_path / "m.cfg").write_text(CFG, encoding="utf-8")
    assert inspect(str(path))["cfg_beside"]["fits"] is True
    path.write_bytes(weights_bytes(CFG_FLOATS - 1))
    facts = inspect(str(path))
    assert facts["cfg_beside"]["fits"] is False
    assert any("wants 56 floats, not what this file has" in line for line in lines_from_facts(facts))


def test_weights_name_the_architecture_of_their_length(tmp_path: Path) -> None:
    path = tmp_path / "unnamed"
    with path.open("wb") as file:  # sparse: only the header is on the disk
        file.write(weights_bytes(0))
        file.truncate(35_434_956)
    assert inspect(str(path))["fits"] == ["yolov3-tiny"]


@pytest.mark.needs("onnx")
def test_an_onnx_file_of_another_tool(shared_data: Path) -> None:
    facts = inspect(str(shared_data / "onnx" / "yolox_nano.onnx"))
    assert (facts["kind"], facts["opset"], facts["spec"]) == ("onnx", {"ai.onnx": 11}, None)
    assert facts["inputs"] == [{"name": "images", "dtype": "float", "shape": [1, 3, 416, 416]}]
    assert facts["outputs"] == [{"name": "output", "dtype": "float", "shape": [1, 3549, 85]}]
    assert facts["ops"]["Conv"] == 113
    assert sum(facts["ops"].values()) == facts["nodes"]


@pytest.mark.needs("onnx", "onnxruntime")
def test_our_own_files_carry_their_spec_down_the_road(tmp_path: Path) -> None:
    model, engine = tmp_path / "m.onnx", tmp_path / "m.engine"
    assert (
        edgeyolo("convert", "yolov3-tiny", "--size", "64", "--random-weights", "0", "-o", model).returncode
        == 0
    )
    assert edgeyolo("build", model, "-o", engine).returncode == 0

    converted = json.loads(edgeyolo("inspect", model, "--json").stdout)
    built = json.loads(edgeyolo("inspect", engine, "--json").stdout)
    assert converted["spec"]["provenance"]["architecture"] == "yolov3-tiny"
    assert converted["spec"]["heads"] == built["spec"]["heads"]
    assert (built["backend"], built["precision"]) == ("onnxruntime", "fp32")
    assert json.loads(edgeyolo("inspect", f"{engine}.json", "--json").stdout) == built
    for kind, facts in (("an ONNX model", converted), ("an engine", built)):
        text = edgeyolo("inspect", facts["name"]).stdout
        assert text.startswith(f"{facts['name']}: {kind}\n")
        assert "80 classes: person, bicycle, car" in text

    engine.write_bytes(b"other bytes")
    stale = edgeyolo("inspect", engine)
    assert (stale.returncode, stale.stdout) == (2, "")
    assert "sha256" in stale.stderr


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", ModelError, "an empty file found"),
        (b"<html>Sign in</html>", ModelError, "a web page found"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(64),
            ModelError,
            "rules of events expected, something else found",
        ),
        (b"Dear reader,\n", ModelError, "something else found"),
        (b'{"images": []}', ModelError, "something else found"),
        (b"\x08\x07\x12", GraphError, "ONNX"),
        (b"[yolo]\n", CfgError, "net"),
    ],
)
def test_what_is_nothing_of_ours_is_said_to_be(
    tmp_path: Path, content: bytes, error: type[Exception], said: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(error, match=said):
        inspect(str(path))


def test_names_of_files_that_lie(tmp_path: Path) -> None:
    for name, error in (("m.weights", WeightsError), ("m.onnx", GraphError), ("m.engine", EngineError)):
        (tmp_path / name).write_bytes(b"<html>Sign in</html>")
        with pytest.raises(error):
            inspect(str(tmp_path / name))


def test_neither_file_nor_architecture_nor_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a file nor a built-in architecture: yolov33"):
        inspect("yolov33")
    with pytest.raises(ModelError, match="a folder found"):
        inspect(str(tmp_path))
    done = edgeyolo("inspect", tmp_path / "absent.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_rules_of_events(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        """
        [[zone]]
        name = "till"
        camera = ["0", "yard"]
        points = [[0, 0], [1, 0], [0.5, 1]]
        dwell = 10
        [[line]]
        name = "door"
        a = [0.5, 1]
        b = [0.5, 0]
        """
    )
    facts = inspect(str(path))
    assert facts["kind"] == "rules"
    assert (facts["zones"][0]["dwell"], facts["lines"][0]["left_to_right"]) == (10, "in")
    done = edgeyolo("inspect", path)
    assert "zone         till: 3 corners; camera 0, yard; dwell 10.0" in done.stdout
    assert "line         door: [0.5, 1] to [0.5, 0], 'in' from left to right, 'out' back" in done.stdout


def test_a_recipe_is_no_rules_of_events() -> None:
    with pytest.raises(ModelError, match="a recipe found"):
        inspect(str(PROJECT / "engines" / "orin-nano" / "yolov3.toml"))
