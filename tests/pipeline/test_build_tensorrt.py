"""``edgeyolo build --backend tensorrt`` from a model and its scales: the right graph for every generation."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import Batches, TensorRTOptions, tensorrt_builder
from edgeyolo.build.trt_log import BuildLog
from edgeyolo.build.trt_network import parse_network
from edgeyolo.cli.main import app
from edgeyolo.errors import ConfigError, PrecisionError, StaleScalesError
from edgeyolo.files import sha256_of
from edgeyolo.gpu import Gpu
from edgeyolo.machine import version_tuple
from edgeyolo.pipeline.build import BuildConfig, GraphNms, build_engine
from edgeyolo.pipeline.trtexec import write_trtexec_folder
from edgeyolo.qdq import GraphView, quant_plan
from edgeyolo.scales import Provenance, Scales, TensorScale, preprocess_sha256
from edgeyolo.sidecar import read_sidecar
from edgeyolo.spec import ModelSpec
from tests.command import edgeyolo
from tests.sim.tensorrt.fixtures import tensorrt
from tests.small_nets import converted

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
__all__ = ["tensorrt"]

ORIN = Gpu(name="Orin", sm=(8, 7), memory_mib=7620, integrated=True, cuda=(12, 6), multiprocessors=8)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: (ORIN, "Orin answers"))


def calibrated(model: Path, folder: Path) -> Path:
    """Write scales of a model, each tensor's amax 4."""
    graph = onnx.load(model)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in graph.metadata_props})
    assert spec is not None
    groups = quant_plan(GraphView(graph)).groups
    tensors = {name: TensorScale(amax=4.0, method="largest") for group in groups for name in group}
    origin = Provenance(
        model_sha256=sha256_of(model), preprocess_sha256=preprocess_sha256(spec.preprocess),
        manifest_sha256="", images=1, method="",
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    Scales(provenance=origin, tensors=tensors).write(folder / "scales.json")
    return folder


def built(tmp_path: Path, **options: Any) -> Any:
    config = BuildConfig(
        model=tmp_path / "m.onnx", output=tmp_path / "m.engine", backend="tensorrt", **options
    )
    build_engine(config)
    return read_sidecar(tmp_path / "m.engine")


def typed(trt: ModuleType) -> bool:
    return version_tuple(trt.__version__) >= (10, 12)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_on_every_generation(tensorrt: ModuleType, tmp_path: Path, precision: Any) -> None:
    model = converted(tmp_path, "yolo")
    scales = calibrated(model, tmp_path / "scales") if precision == "int8" else None
    info = built(tmp_path, precision=precision, calibration=scales)
    assert info.precision == precision
    assert info.made_from["onnx"] == sha256_of(model)
    assert ("scales" in info.made_from) == (precision == "int8")
    assert f"--precision {precision}" in info.command
    kinds = set(info.extra["precision_by_layer"].values())
    assert any({"fp32": "fp32", "fp16": "fp16", "int8": "int8"}[precision] in kind for kind in kinds)
    if precision == "int8":
        assert str(scales) in info.command
    assert info.extra["strongly_typed"] == typed(tensorrt)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("tensorrt", ["10.3", "11.4"], indirect=True)
def test_the_command_in_the_sidecar_builds_the_same_again(
    tensorrt: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the sidecar has all that an engine was made from."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    model = converted(folder, "yolo", "--batch", "dynamic")
    scales, engine = calibrated(model, folder / "my scales"), folder / "my.engine"
    words = ["build", model, "-o", engine, "--backend", "tensorrt", "--precision", "int8"]
    words += ["--calibration", scales, "--batches", "1,2,4", "--workspace", 300, "--optimization-level", 4]
    words += ["--no-timing-cache", "--sparse", "--version-compatible", "--nms", "graph", "--nms-iou", 0.5]
    app([*map(str, words)], standalone_mode=False)
    first, plan = read_sidecar(engine), engine.read_bytes()
    engine.unlink()
    pasted = shlex.split(first.command)
    assert pasted.pop(0) == "edgeyolo"
    app(pasted, standalone_mode=False)
    again = read_sidecar(engine)
    assert engine.read_bytes() == plan
    known = {"built_at": "", "extra": {**first.extra, "build_s": 0}}
    assert dataclasses.replace(again, **{**known, "extra": {**again.extra, "build_s": 0}}) == (
        dataclasses.replace(first, **known)
    )
    assert first.extra["profile"] == {"min": 1, "opt": 2, "max": 4}
    assert first.extra["workspace_mib"] == 300
    assert {"onnx", "scales"} <= first.made_from.keys()
    assert {"tensorrt", "cuda_driver", "python", "edgeyolo"} <= first.versions.keys()
    assert {"gpu", "sm", "multiprocessors", "gpu_memory_mib", "arch"} <= first.machine.keys()
    assert first.spec.heads
    assert first.spec.names
    assert [tensor.name for tensor in (*first.inputs, *first.outputs)] == ["images", "boxes", "scores"]
    assert set(first.extra["precision_by_layer"])
    capsys.readouterr()
    app(["inspect", str(engine)], standalone_mode=False)
    told = capsys.readouterr().out
    assert re.search(r"(?m)^layers       .*\bint8 \d+", told)
    assert "option       profile: min 1, opt 2, max 4\n" in told
    assert "option       nms: iou 0.5, conf 0.01\n" in told
    assert "outputs decoded, boxes final" in told


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("tensorrt", ["8.6", "10.3"], indirect=True)
def test_implicit(tensorrt: ModuleType, tmp_path: Path) -> None:
    model = converted(tmp_path, "yolo")
    info = built(tmp_path, precision="int8", calibration=calibrated(model, tmp_path / "s"), implicit=True)
    scales = tensorrt.__simulation__.builds[-1]["scales"]
    assert scales["images"] == pytest.approx(4 / 127)
    assert info.made_from.keys() == {"onnx", "scales"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)
def test_scales_of_another_model(tensorrt: ModuleType, tmp_path: Path) -> None:
    scales = calibrated(converted(tmp_path, "region"), tmp_path / "s")
    converted(tmp_path, "yolo")
    for implicit in (False, True):
        with pytest.raises(StaleScalesError):
            built(tmp_path, precision="int8", calibration=scales, implicit=implicit)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("tensorrt", ["10.13"], indirect=True)
def test_int8_without_scales(tensorrt: ModuleType, tmp_path: Path) -> None:
    converted(tmp_path, "yolo")
    with pytest.raises(PrecisionError, match=r"m\.onnx: int8 was asked for"):
        built(tmp_path, precision="int8")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    model = converted(tmp_path, "yolo")
    scales = calibrated(model, tmp_path / "s")
    for wrong in (
        {"precision": "fp16", "calibration": scales},
        {"precision": "int8", "implicit": True},
        {"precision": "int8", "calibration": scales, "calibrate_on_device": "images"},
        {"precision": "fp32", "calibrate_on_device": "images"},
    ):
        with pytest.raises(ConfigError):
            BuildConfig(model=model, output=tmp_path / "m.engine", **wrong)  # type: ignore[arg-type]
    options: Any = {"precision": "int8", "calibration": scales, "implicit": True}
    config = BuildConfig(model=model, output=tmp_path / "m.engine", backend="onnxruntime", **options)
    with pytest.raises(ConfigError, match="ONNX Runtime is the backend"):
        build_engine(config)


# ---- trtexec ----


def folder_for(tmp_path: Path, version: str, **options: Any) -> tuple[Path, list[str]]:
    config = BuildConfig(model=tmp_path / "m.onnx", output=tmp_path / "board", **options)
    made = write_trtexec_folder(config, version)
    assert set(made.files) == {path.name for path in (tmp_path / "board").iterdir()}
    return tmp_path / "board", made.command.split()


# What each release's trtexec knows: 8.2 has no pools and no layers, 8.6 renamed --buildOnly, 11 has no
# precision flags. Source: see `edgeyolo.pipeline.trtexec_command`.
@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("8.2", {"--fp16", "--workspace=512", "--buildOnly"}, {"--stronglyTyped", "--skipInference"}),
        (
            "8.4",
            {"--fp16", "--memPoolSize=workspace:512", "--precisionConstraints=obey"},
            {"--workspace=512"},
        ),
        ("8.5", {"--fp16", "--memPoolSize=workspace:512", "--buildOnly"}, {"--workspace=512"}),
        ("8.6", {"--fp16", "--memPoolSize=workspace:512", "--skipInference"}, {"--buildOnly"}),
        ("10.3", {"--fp16", "--precisionConstraints=obey"}, {"--stronglyTyped"}),
        ("10.13", {"--stronglyTyped"}, {"--fp16", "--precisionConstraints=obey"}),
        ("11.4", {"--skipInference"}, {"--fp16", "--stronglyTyped", "--buildOnly"}),
    ],
)
def test_the_command_line_of_each_release(
    version: str, present: set[str], absent: set[str], tmp_path: Path
) -> None:
    converted(tmp_path, "yolo")
    folder, words = folder_for(
        tmp_path, version, precision="fp16", tensorrt=TensorRTOptions(workspace_mib=512)
    )
    assert present <= set(words)
    assert not absent & set(words)
    script = (folder / "build.sh").read_text()
    assert " ".join(words) in script
    assert os.access(folder / "build.sh", os.X_OK)
    types = {tensor.data_type for tensor in onnx.load(folder / "model.onnx").graph.initializer}
    assert (onnx.TensorProto.FLOAT16 in types) == (version in ("10.13", "11.4"))


def named_layers(words: list[str], option: str) -> set[str]:
    (found,) = [word.partition("=")[2] for word in words if word.startswith(option)]
    pairs = [pair.split(":") for pair in found.split(",")]
    assert {kind for _, kind in pairs} == {"fp32"}
    return {name for name, _ in pairs}


@pytest.mark.parametrize("head", ["yolo", "region"])
@pytest.mark.parametrize("version", ["8.4", "8.6", "10.3"])
def test_trtexec_holds_every_layer_of_the_decode_by_its_name(version: str, head: str, tmp_path: Path) -> None:
    model = onnx.load(converted(tmp_path, head))
    folder, words = folder_for(tmp_path, version, precision="fp16")
    names = named_layers(words, "--layerPrecisions=")
    assert names == named_layers(words, "--layerOutputTypes=")
    written = onnx.load(folder / "model.onnx")
    assert names <= {node.name for node in written.graph.node}
    assert any(node.op_type == "Split" for node in model.graph.node)  # of which TensorRT invents names
    assert not any(node.op_type == "Split" for node in written.graph.node)
    onnx.checker.check_model(written, full_check=True)
    assert np.array_equal(outputs_of(model), outputs_of(written))


@pytest.mark.needs("tensorrt-rtx")
def test_the_names_that_trtexec_is_given_are_those_of_the_parser(tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    converted(tmp_path, "yolo")
    folder, words = folder_for(tmp_path, "8.5", precision="fp16")
    network = parse_network(trt, folder / "model.onnx", BuildLog(), strongly_typed=True).network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    last_conv = max(i for i, layer in enumerate(layers) if layer.type == trt.LayerType.CONVOLUTION)
    floats = {
        layer.name
        for layer in layers[last_conv + 1 :]
        if layer.get_output(0).dtype == trt.float32 and layer.metadata
    }
    assert named_layers(words, "--layerPrecisions=") == floats


def test_suppression_in_a_folder_for_trtexec(tmp_path: Path) -> None:
    converted(tmp_path, "yolo")
    folder, words = folder_for(tmp_path, "8.5", precision="fp16", nms=GraphNms(iou=0.5))
    written = onnx.load(folder / "model.onnx")
    assert any(node.op_type == "NonMaxSuppression" for node in written.graph.node)
    assert {"nms_kept", "nms_best_only"} <= named_layers(words, "--layerPrecisions=")
    assert "nms_chosen" not in named_layers(words, "--layerPrecisions=")  # indexes have no precision
    described = json.loads((folder / "model.engine.json").read_text())
    assert described["spec"]["final"]
    assert described["extra"]["nms"] == {"iou": 0.5, "conf": 0.01}


def outputs_of(model: Any) -> Any:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    return np.concatenate([array.ravel() for array in session.run(None, {"images": image})])


@pytest.mark.parametrize(
    ("version", "precision", "said"),
    [
        ("8.2", "fp16", ["cannot hold single layers"]),
        ("8.2", "int8", ["INT8 on tensorrt", "cannot hold single layers", "no fast INT8 on Jetson Nano"]),
        ("8.2", "fp32", []),
        ("8.5", "int8", ["INT8 on tensorrt: 3 of 3 layers, 100.0% of the multiply-adds"]),
    ],
)
def test_what_the_board_will_not_do_is_said(
    version: str, precision: Any, said: list[str], tmp_path: Path
) -> None:
    model = converted(tmp_path, "yolo")
    scales = calibrated(model, tmp_path / "s") if precision == "int8" else None
    config = BuildConfig(model=model, output=tmp_path / "b", precision=precision, calibration=scales)
    lines: list[str] = []
    write_trtexec_folder(config, version, report=lines.append)
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


@pytest.mark.parametrize(
    ("version", "header"),
    [("8.2", "TRT-8201"), ("8.5", "TRT-8502"), ("10.3", "TRT-100300"), ("10.7.1", "TRT-100701")],
)
def test_the_cache_has_the_boards_version(version: str, header: str, tmp_path: Path) -> None:
    scales = calibrated(converted(tmp_path, "yolo"), tmp_path / "s")
    folder, words = folder_for(tmp_path, version, precision="int8", calibration=scales, implicit=True)
    lines = (folder / "calibration.cache").read_text().splitlines()
    assert lines[0] == f"{header}-EntropyCalibration2"
    assert any(line.startswith("images: ") for line in lines)
    assert {"--int8", "--fp16", "--calib=calibration.cache"} <= set(words)
    assert not any(node.op_type == "QuantizeLinear" for node in onnx.load(folder / "model.onnx").graph.node)


def test_int8_by_nodes_and_a_dynamic_batch(tmp_path: Path) -> None:
    scales = calibrated(converted(tmp_path, "yolo", "--batch", "dynamic"), tmp_path / "s")
    folder, words = folder_for(
        tmp_path,
        "8.5",
        precision="int8",
        calibration=scales,
        tensorrt=TensorRTOptions(batches=Batches(1, 2, 4)),
    )
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(folder / "model.onnx").graph.node)
    assert "--optShapes=images:2x3x64x64" in words
    assert "--calib=calibration.cache" not in words
    described = json.loads((folder / "model.engine.json").read_text())
    assert described["versions"]["tensorrt"] == "8.5.2"
    assert described["made_from"].keys() == {"onnx", "scales"}


def test_what_a_release_does_not_have_is_refused(tmp_path: Path) -> None:
    scales = calibrated(converted(tmp_path, "yolo"), tmp_path / "s")
    for version, options in {
        "7.1": {}, "8": {}, "new": {},
        "8.5": {"tensorrt": TensorRTOptions(optimization_level=5)},
        "8.2": {"tensorrt": TensorRTOptions(version_compatible=True)},
        "8.4": {"nms": GraphNms()},
        "8.6": {"backend": "onnxruntime"},
        "10.3": {"precision": "int8", "calibrate_on_device": "images"},
    }.items():  # fmt: skip
        with pytest.raises(ConfigError):
            folder_for(tmp_path, version, **options)
    with pytest.raises(PrecisionError):
        folder_for(tmp_path, "11.0", precision="int8", calibration=scales, implicit=True)
    assert not (tmp_path / "board").exists()


def test_trtexec_from_the_command_line(tmp_path: Path) -> None:
    model = converted(tmp_path, "yolo")
    done = edgeyolo("build", model, "--trtexec", "8.2", "--precision", "fp16", "-o", tmp_path / "nano")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(
        "trtexec --onnx=model.onnx --saveEngine=model.engine --fp16"
    )
    done = edgeyolo("build", model, "--trtexec", "x", "-o", tmp_path / "none")
    assert done.returncode == 2
    assert "TensorRT version expected" in done.stderr
