"""``edgeyolo convert``, from files to a file, through the command line and the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.class_names import COCO, VOC
from edgeyolo.darknet.cfg import parse_cfg, read_cfg
from edgeyolo.darknet.convert import ConvertOptions, convert
from edgeyolo.darknet.network import network_from_cfg
from edgeyolo.darknet.onnx_file import write_onnx
from edgeyolo.darknet.to_onnx import onnx_from_network
from edgeyolo.darknet.weights import random_parameters, write_weights
from edgeyolo.errors import ConfigError, UnsupportedOpError, WeightsError
from edgeyolo.files import sha256_of
from edgeyolo.spec import ModelSpec

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

TINY = """[net]
width=64
height=32
channels={channels}

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters={filters}
size=1
stride=8
pad=0
activation=linear

[yolo]
mask=0,1
anchors=10,14, 23,27
classes={classes}
num=2
"""


def tiny(folder: Path, *, classes: int = 3, channels: int = 3, extra: str = "") -> Path:
    path = folder / "tiny.cfg"
    path.write_text(TINY.format(classes=classes, filters=2 * (5 + classes), channels=channels) + extra)
    return path


def tiny_weights(cfg: Path) -> Path:
    network = network_from_cfg(read_cfg(cfg))
    path = cfg.with_suffix(".weights")
    write_weights(path, network, random_parameters(network, 7))
    return path


def edgeyolo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from edgeyolo.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def load(path: Path):
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


def spec_of(model) -> ModelSpec:
    spec = ModelSpec.from_metadata({item.key: item.value for item in model.metadata_props})
    assert spec is not None
    return spec


def run(path: Path, batch: int, channels: int = 3, wh: tuple[int, int] = (64, 32)) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((batch, channels, wh[1], wh[0]), np.float32)
    return session.run(None, {"images": images})


def test_graph_contract_and_metadata(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    weights = tiny_weights(cfg)
    lines: list[str] = []
    report = convert(cfg, weights, tmp_path / "m.onnx", report=lines.append)
    boxes, scores = run(tmp_path / "m.onnx", 1)
    assert boxes.shape == (1, 2 * 4 * 2, 4)
    assert scores.shape == (1, 2 * 4 * 2, 3)
    assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)
    assert report.outputs == (("boxes", (1, 16, 4)), ("scores", (1, 16, 3)))
    spec = spec_of(load(tmp_path / "m.onnx"))
    assert (spec.task, spec.input_wh, spec.batch, spec.outputs) == ("detect", (64, 32), 1, "decoded")
    assert spec.names == ("class_0", "class_1", "class_2")
    assert spec.preprocess.resize == "letterbox"
    assert (spec.preprocess.channels, spec.preprocess.scale) == ("rgb", 1 / 255)
    assert spec.provenance["cfg_sha256"] == sha256_of(cfg)
    assert spec.provenance["weights_sha256"] == sha256_of(weights)
    (head,) = spec.heads
    assert (head.kind, head.stride_wh, head.classes) == ("yolo", (16, 16), 3)
    assert head.anchors_wh == ((10, 14), (23, 27))
    assert any("--names was not given" in line for line in lines)


def test_how_pictures_are_fitted_can_be_asked_for(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    convert(cfg, None, tmp_path / "m.onnx", ConvertOptions(resize="stretch", random_seed=0))
    assert spec_of(load(tmp_path / "m.onnx")).preprocess.resize == "stretch"
    with pytest.raises(ConfigError, match="a classifier, whose pictures are cut"):
        convert("darknet19", None, tmp_path / "c.onnx", ConvertOptions(resize="stretch", random_seed=0))
    assert not (tmp_path / "c.onnx").exists()


def test_raw_outputs_are_the_heads_tensors(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    convert(cfg, None, tmp_path / "m.onnx", ConvertOptions(outputs="raw", random_seed=0))
    (raw,) = run(tmp_path / "m.onnx", 1)
    assert raw.shape == (1, 2 * (5 + 3), 2, 4)
    model = load(tmp_path / "m.onnx")
    assert spec_of(model).heads[0].output == model.graph.output[0].name == "001_convolutional"


def test_dynamic_batch_computes_each_picture_alone(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    convert(cfg, None, tmp_path / "one.onnx", ConvertOptions(random_seed=0))
    convert(cfg, None, tmp_path / "any.onnx", ConvertOptions(random_seed=0, batch=None))
    model = load(tmp_path / "any.onnx")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert spec_of(model).batch is None
    three = run(tmp_path / "any.onnx", 3)
    one = run(tmp_path / "one.onnx", 1)
    for many, single in zip(three, one, strict=True):
        assert many.shape == (3, *single.shape[1:])
        np.testing.assert_allclose(many[:1], single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 16, 18, 21])
def test_static_graph_has_no_shape_arithmetic(opset: int, tmp_path: Path) -> None:
    convert(
        "yolov4-tiny",
        None,
        tmp_path / "m.onnx",
        ConvertOptions(random_seed=0, opset=opset, input_wh=(64, 64)),
    )
    model = load(tmp_path / "m.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Shape", "Gather", "Unsqueeze", "BatchNormalization", "Constant", "NonMaxSuppression"}
    assert {node.domain for node in model.graph.node} == {""}
    assert model.opset_import[0].version == opset
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"000_convolutional", "000_convolutional_leaky", "boxes", "scores"} <= set(names)
    run(tmp_path / "m.onnx", 1, wh=(64, 64))


def test_known_shapes_are_those_that_onnx_infers(tmp_path: Path) -> None:
    import onnx

    convert("yolov3-tiny", None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, input_wh=(64, 96)))
    model = load(tmp_path / "m.onnx")
    told = {item.name: item for item in model.graph.value_info}
    assert len(told) > 30
    del model.graph.value_info[:]
    for item in onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info:
        if item.name in told:
            assert told.pop(item.name).type == item.type, item.name
    assert not told


def test_gray_input(tmp_path: Path) -> None:
    convert(tiny(tmp_path, channels=1), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))
    assert spec_of(load(tmp_path / "m.onnx")).preprocess.channels == "gray"
    run(tmp_path / "m.onnx", 1, channels=1)


def test_classifier(tmp_path: Path) -> None:
    convert("darknet19", None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, input_wh=(64, 64)))
    (probabilities,) = run(tmp_path / "m.onnx", 1, wh=(64, 64))
    assert probabilities.shape == (1, 1000)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    spec = spec_of(load(tmp_path / "m.onnx"))
    assert (spec.task, spec.outputs, spec.preprocess.resize) == ("classify", "probabilities", "center_crop")
    with pytest.raises(ConfigError, match="--outputs raw"):
        convert("darknet19", None, tmp_path / "r.onnx", ConvertOptions(random_seed=0, outputs="raw"))


@pytest.mark.parametrize(("classes", "expected"), [(80, COCO), (20, VOC), (2, ("class_0", "class_1"))])
def test_names_by_number_of_classes(classes: int, expected: tuple[str, ...], tmp_path: Path) -> None:
    convert(tiny(tmp_path, classes=classes), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))
    assert spec_of(load(tmp_path / "m.onnx")).names == expected


def test_coco_names_are_darknets(shared_data: Path) -> None:
    assert list(COCO) == (shared_data / "darknet" / "coco.names").read_text().splitlines()


def test_names_from_a_file(tmp_path: Path) -> None:
    names = tmp_path / "my.names"
    names.write_text("tea cup\nKäse\ndog\n\n", encoding="utf-8")
    convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, names=names))
    assert spec_of(load(tmp_path / "m.onnx")).names == ("tea cup", "Käse", "dog")
    names.write_text("one\ntwo\n")
    with pytest.raises(ConfigError, match="3 class names expected, 2 found"):
        convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, names=names))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"\n\n", b"a\0b"])
def test_names_that_are_none(content: bytes, tmp_path: Path) -> None:
    names = tmp_path / "bad.names"
    names.write_bytes(content)
    with pytest.raises(ConfigError, match="class names expected"):
        convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, names=names))


def test_a_file_of_names_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "no.names"
    with pytest.raises(ConfigError, match="cannot read the class names: No such file") as caught:
        convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, names=nowhere))
    assert caught.value.message.count("no.names") == 1
    assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()


def test_layers_that_no_head_needs_are_left_out(tmp_path: Path) -> None:
    extra = "\n[route]\nlayers=0\n\n[convolutional]\nfilters=4\nsize=1\nstride=1\nactivation=linear\n"
    convert(tiny(tmp_path, extra=extra), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))
    assert not [node.name for node in load(tmp_path / "m.onnx").graph.node if node.name.startswith("004")]


def test_reading_a_head_as_a_feature_map_is_refused(tmp_path: Path) -> None:
    extra = "\n[convolutional]\nfilters=16\nsize=1\nstride=1\nactivation=linear\n\n[yolo]\nmask=0,1\n"
    cfg = tiny(tmp_path, extra=extra + "anchors=10,14, 23,27\nclasses=3\nnum=2\n")
    with pytest.raises(
        UnsupportedOpError, match=r"tiny.cfg:27: \[convolutional\] reads layer 2, a detection head"
    ):
        convert(cfg, None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))


def test_heads_with_different_classes_are_refused() -> None:
    second = "\n[route]\nlayers=0\n[convolutional]\nfilters=12\nsize=1\nactivation=linear\n[yolo]\nmask=0,1\n"
    text = (
        TINY.format(classes=3, filters=16, channels=3) + second + "anchors=10,14, 23,27\nclasses=1\nnum=2\n"
    )
    network = network_from_cfg(parse_cfg(text, source="two.cfg"))
    with pytest.raises(UnsupportedOpError, match="same number of classes"):
        onnx_from_network(network, random_parameters(network, 0), names=("a", "b", "c"))


def test_network_without_head_or_classes_is_refused(tmp_path: Path) -> None:
    cfg = tmp_path / "features.cfg"
    cfg.write_text(TINY.format(classes=3, filters=16, channels=3).partition("[yolo]")[0])
    with pytest.raises(UnsupportedOpError, match="a detection head or one value a class expected"):
        convert(cfg, None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))


@pytest.mark.parametrize("option", [{"opset": 12}, {"opset": 22}, {"batch": 0}, {"outputs": "boxes"}])
def test_option_out_of_range(option: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))}:"):
        convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, **option))


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    cfg, output = tiny(tmp_path), tmp_path / "m.onnx"
    output.write_text("old")
    weights = tiny_weights(cfg)
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(WeightsError):
        convert(cfg, weights, output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "tiny.cfg", "tiny.weights"]


def test_sources_are_never_overwritten(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    weights = tiny_weights(cfg)
    before = weights.read_bytes()
    with pytest.raises(ConfigError, match="one to convert from"):
        convert(cfg, weights, weights)
    assert weights.read_bytes() == before


def test_file_written_in_pieces_is_what_protobuf_writes(tmp_path: Path) -> None:
    import onnx

    network = network_from_cfg(parse_cfg(TINY.format(classes=3, filters=16, channels=3), source="tiny"))
    model = onnx_from_network(network, random_parameters(network, 0), names=("a", "b", "c"))
    before = model.SerializeToString()
    size = write_onnx(model, tmp_path / "m.onnx")
    assert size == (tmp_path / "m.onnx").stat().st_size == len(before)
    assert onnx.load(tmp_path / "m.onnx") == model
    assert model.SerializeToString() == before


# VGG-16's matrices fix its input; the others take a small one.
REFERENCE_CFGS = {
    "csresnext50-panet-spp-original-optimal": 64,
    "darknet19": 64,
    "darknet53": 64,
    "densenet201": 64,
    "enet-coco": 64,
    "resnet50": 64,
    "vgg-16": 256,
    "yolov2": 64,
    "yolov2-tiny": 64,
    "yolov3": 64,
    "yolov3-spp": 64,
    "yolov3-tiny": 64,
    "yolov3-tiny_3l": 64,
    "yolov4": 64,
    "yolov4-csp": 64,
    "yolov4-tiny": 64,
    "yolov7-tiny": 64,
}


@pytest.mark.parametrize(("name", "side"), REFERENCE_CFGS.items())
def test_reference_cfg_converts_and_runs(name: str, side: int, shared_data: Path, tmp_path: Path) -> None:
    cfg = shared_data / "cfg" / f"{name}.cfg"
    convert(cfg, None, tmp_path / "m.onnx", ConvertOptions(random_seed=0, input_wh=(side, side)))
    for value in run(tmp_path / "m.onnx", 1, wh=(side, side)):
        assert np.isfinite(value).all()
        assert np.ptp(value) > 0


def test_no_reference_cfg_is_left_out(shared_data: Path) -> None:
    assert {path.stem for path in (shared_data / "cfg").glob("*.cfg")} == set(REFERENCE_CFGS)


def test_command_line(tmp_path: Path) -> None:
    cfg = tiny(tmp_path, extra="\nmsak=3\n")
    done = edgeyolo(
        "convert", cfg, tiny_weights(cfg), "-o", tmp_path / "m.onnx", "--size", "128x64", "--batch", "2"
    )
    assert done.returncode == 0, done.stderr
    assert "output boxes 2x64x4" in done.stdout
    assert "warning" in done.stderr
    assert "msak" in done.stderr
    assert spec_of(load(tmp_path / "m.onnx")).input_wh == (128, 64)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{cfg}"], "no .weights file was given"),
        (["{cfg}", "{folder}/absent.weights"], "no such file"),
        (["{cfg}", "{folder}"], "a .weights file expected, no file found"),
        (["{cfg}", "{cfg}", "--random-weights", "0"], "both found"),
        (["yolov33", "--random-weights", "0"], "yolov3"),
        (["{folder}/absent.cfg", "--random-weights", "0"], "absent.cfg"),
        (["{cfg}", "--random-weights", "0", "--size", "big"], "--size: N or WxH"),
        (["{cfg}", "--random-weights", "0", "--batch", "many"], "--batch: a number or dynamic"),
        (["{cfg}", "{cfg}"], "weights expected"),
    ],
)
def test_command_line_says_what_is_wrong(arguments: list[str], said: str, tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    filled = [argument.format(cfg=cfg, folder=tmp_path) for argument in arguments]
    done = edgeyolo("convert", *filled, "-o", tmp_path / "m.onnx")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "try:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.onnx").exists()


def test_metadata_is_json_that_any_tool_can_read(tmp_path: Path) -> None:
    convert(tiny(tmp_path), None, tmp_path / "m.onnx", ConvertOptions(random_seed=0))
    metadata = {item.key: json.loads(item.value) for item in load(tmp_path / "m.onnx").metadata_props}
    assert metadata["edgeyolo.names"] == ["class_0", "class_1", "class_2"]
    assert metadata["edgeyolo.provenance"]["batch_norm"] == "sqrt(variance) + 1e-6"
