"""Building: the pair of files, the contract, what is refused and what is left behind."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.build import build, choose_backend
from edgeyolo.errors import (
    ConfigError,
    EdgeYoloError,
    GraphError,
    MissingDependencyError,
    ModelError,
    OutputError,
    PrecisionError,
)
from edgeyolo.files import sha256_of
from edgeyolo.sidecar import read_sidecar
from tests import tiny_models
from tests.command import edgeyolo

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_models.write_detector(tmp_path / "m.onnx")


def test_engine_and_sidecar_say_what_they_are(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    said: list[str] = []
    info = build(model, tmp_path / "out" / "m.engine", report=said.append)

    assert info == read_sidecar(tmp_path / "out" / "m.engine")
    assert info.spec == tiny_models.spec()
    assert [t.shape for t in info.outputs] == [(1, 4, 4), (1, 4, 2)]
    assert info.made_from == {"onnx": sha256_of(model)}
    assert info.versions["onnxruntime"] == onnxruntime.__version__
    assert {"arch"} <= info.machine.keys()
    assert {"edgeyolo", "numpy", "onnxruntime", "os", "python"} == info.versions.keys()
    assert len(said) == 1
    assert said[0].startswith("backend onnxruntime: ")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["m.engine", "m.engine.json"]


def test_the_recorded_command_builds_the_same_engine(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = model.rename(tmp_path / "a model.onnx")
    monkeypatch.chdir(tmp_path)
    first = build(spaced.name, "x.engine")
    Path("x.engine").unlink()
    words = shlex.split(first.command)
    assert words[0] == "edgeyolo"
    assert edgeyolo(*words[1:]).returncode == 0
    assert read_sidecar("x.engine").engine_sha256 == first.engine_sha256


def test_a_dynamic_batch_is_proved_with_more_than_one_picture(tmp_path: Path) -> None:
    info = build(tiny_models.write_detector(tmp_path / "d.onnx", batch=None), tmp_path / "d.engine")
    assert info.inputs[0].shape == (-1, 3, 32, 32)
    assert info.spec.batch is None


def _without_metadata(path: Path) -> Path:
    return tiny_models.write_detector(path, metadata=False)


def _without_boxes(path: Path) -> Path:
    return tiny_models.write_detector(path, rename="bboxes")


def _with_another_class_count(path: Path) -> Path:
    model = onnx.load(tiny_models.write_detector(path))
    onnx.helper.set_model_props(model, tiny_models.spec(names=("a", "b", "c")).to_metadata())
    onnx.save(model, path)
    return path


def _garbage(path: Path) -> Path:
    path.write_bytes(b"<html>not a model</html>")
    return path


def _cut(path: Path) -> Path:
    whole = tiny_models.write_detector(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _external_data(path: Path) -> Path:
    model = onnx.load(tiny_models.write_detector(path))
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def _fails_when_run(path: Path) -> Path:
    """Read beyond the end of an axis, which only an inference finds out."""
    model = onnx.load(tiny_models.write_detector(path))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(4, 9), "beyond"))
    reduce = next(i for i, node in enumerate(model.graph.node) if node.op_type == "ReduceSum")
    model.graph.node[reduce].input[0] = "read"
    model.graph.node.insert(reduce, onnx.helper.make_node("Gather", ["scores", "beyond"], ["read"], axis=1))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("make", "error", "text", "hint"),
    [
        (_without_metadata, GraphError, "edgeyolo.* metadata", "edgeyolo adapt"),
        (_without_boxes, GraphError, "output 'boxes' float32 [1, N, 4] is missing", "edgeyolo convert"),
        (_with_another_class_count, GraphError, "'scores' float32 [1, N, 3] expected", "edgeyolo convert"),
        (_garbage, GraphError, "does not load it", "edgeyolo inspect"),
        (_cut, GraphError, "does not load it", "edgeyolo inspect"),
        (_empty, ModelError, "an empty file found", None),
        (_external_data, GraphError, "external data", "onnx.save"),
        (_fails_when_run, GraphError, "first inference", None),
    ],
)
def test_a_model_that_is_refused_leaves_nothing(
    make: object, error: type[EdgeYoloError], text: str, hint: str | None, tmp_path: Path
) -> None:
    assert callable(make)
    source = make(tmp_path / "m.onnx")
    with pytest.raises(error) as raised:
        build(source, tmp_path / "out" / "m.engine")
    assert text in raised.value.message
    assert str(source) in raised.value.message
    assert ".engine" not in raised.value.message
    assert raised.value.exit_code == 2
    if hint:
        assert raised.value.hint
        assert hint in raised.value.hint
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_failed_build_leaves_the_old_pair_usable(model: Path, tmp_path: Path) -> None:
    before = build(model, tmp_path / "m.engine")
    with pytest.raises(GraphError):
        build(_garbage(tmp_path / "bad.onnx"), tmp_path / "m.engine")
    assert read_sidecar(tmp_path / "m.engine") == before


@pytest.mark.parametrize("old", [True, False])
def test_a_failure_between_the_two_files_is_undone(
    old: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step, renaming the engine, fails when the sidecar is there already."""
    output = tmp_path / "m.engine"
    before = build(model, output) if old else None
    other = tiny_models.write_detector(tmp_path / "other.onnx", batch=None)
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if Path(target) == output:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(KeyboardInterrupt):
        build(other, output)
    monkeypatch.undo()
    if before is None:
        assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "other.onnx"]
    else:
        assert read_sidecar(output) == before


def test_precision_is_delivered_or_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="fp16 was asked for") as fp16:
        build(model, tmp_path / "m.engine", precision="fp16")
    with pytest.raises(PrecisionError, match="no QuantizeLinear node") as int8:
        build(model, tmp_path / "m.engine", precision="int8")
    assert fp16.value.exit_code == int8.value.exit_code == 2
    assert int8.value.hint
    assert "edgeyolo calibrate" in int8.value.hint
    with pytest.raises(ConfigError, match="'int4' found"):
        build(model, tmp_path / "m.engine", precision="int4")  # type: ignore[arg-type]


def _quantize_input(path: Path) -> None:
    """Put one Q/DQ pair behind the input."""
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1 / 127, np.float32), "scale"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int8), "zero_point"))
    model.graph.node[0].input[0] = "dq"
    for op, names in (("DequantizeLinear", ("q", "dq")), ("QuantizeLinear", ("images", "q"))):
        node = onnx.helper.make_node(op, [names[0], "scale", "zero_point"], [names[1]])
        model.graph.node.insert(0, node)
    onnx.save(model, path)


def test_a_quantized_graph_is_an_int8_engine_and_nothing_else(model: Path, tmp_path: Path) -> None:
    _quantize_input(model)
    info = build(model, tmp_path / "m.engine", precision="int8", made_from={"scales": "ab" * 32})
    assert info.precision == "int8"
    assert info.made_from == {"onnx": sha256_of(model), "scales": "ab" * 32}
    with pytest.raises(PrecisionError, match="the graph is quantized"):
        build(model, tmp_path / "m.engine")


def test_a_name_that_contains_an_operator_is_no_operator(model: Path, tmp_path: Path) -> None:
    changed = onnx.load(model)
    changed.graph.node[0].name = "before/QuantizeLinear"
    onnx.save(changed, model)
    assert build(model, tmp_path / "m.engine").precision == "fp32"


def test_backends() -> None:
    assert choose_backend("auto")[0] == "onnxruntime"
    with pytest.raises(MissingDependencyError, match="TensorRT") as raised:
        choose_backend("tensorrt")
    assert raised.value.exit_code == 3
    with pytest.raises(ConfigError, match="'openvino' found"):
        choose_backend("openvino")  # type: ignore[arg-type]


def test_paths_that_cannot_be(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="overwrite the model"):
        build(model, model)
    with pytest.raises(ModelError, match="no such ONNX file"):
        build(tmp_path / "absent.onnx", tmp_path / "m.engine")
    (tmp_path / "m.engine.json").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        build(model, tmp_path / "m.engine")


def test_the_sidecar_is_readable_json(model: Path, tmp_path: Path) -> None:
    build(model, tmp_path / "m.engine")
    data = json.loads((tmp_path / "m.engine.json").read_text())
    assert data["spec"]["names"] == ["red", "green"]
    assert data["command"].startswith("edgeyolo build ")
