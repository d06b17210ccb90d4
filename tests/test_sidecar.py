"""A sidecar is believed only beside the engine that it describes."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeyolo.errors import EngineError, StaleEngineError
from edgeyolo.files import sha256_of
from edgeyolo.sidecar import EngineInfo, read_sidecar, sidecar_path
from edgeyolo.spec import TensorSpec
from tests.test_spec import SPEC


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "m.engine"
    path.write_bytes(b"plan")
    EngineInfo(
        backend="onnxruntime",
        precision="fp32",
        spec=SPEC,
        inputs=(TensorSpec(name="images", shape=(-1, 3, 320, 416), dtype="float32"),),
        outputs=(TensorSpec(name="boxes", shape=(-1, 10, 4), dtype="float32"),),
        engine_sha256=sha256_of(path),
        made_from={"onnx": "00"},
        versions={"onnxruntime": "1.23.2"},
        machine={"arch": "aarch64"},
        built_at="2026-01-01T00:00:00+00:00",
        command="edgeyolo build m.onnx -o m.engine",
    ).write(path)
    return path


def change(engine: Path, **values: Any) -> None:
    path = sidecar_path(engine)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_was_written_is_read(engine: Path) -> None:
    info = read_sidecar(engine)
    assert info.spec == SPEC
    assert info.inputs[0].shape == (-1, 3, 320, 416)
    assert info.made_from == {"onnx": "00"}


def test_another_engine_is_refused_with_the_command_that_rebuilds_it(engine: Path) -> None:
    engine.write_bytes(b"another plan")
    with pytest.raises(StaleEngineError, match=r"expected by m\.engine\.json") as caught:
        read_sidecar(engine)
    assert "edgeyolo build m.onnx" in (caught.value.hint or "")


def test_a_sidecar_that_is_older_than_its_engine_says_so(engine: Path) -> None:
    change(engine, engine_sha256="")  # as `build --trtexec` writes it
    with pytest.raises(StaleEngineError, match="written before the engine was built") as caught:
        read_sidecar(engine)
    assert "--trust" in (caught.value.hint or "")
    assert read_sidecar(engine, trust=True).engine_sha256 == ""


def test_either_file_alone_is_refused(engine: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such engine file"):
        read_sidecar(tmp_path / "other.engine")
    sidecar_path(engine).unlink()
    with pytest.raises(EngineError, match="with its sidecar"):
        read_sidecar(engine)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 99}, "format 1 expected, 99 found"),
        ({"backend": "openvino"}, "backend onnxruntime or tensorrt expected"),
        ({"precision": "fp64"}, "precision fp32 or fp16 or int8 expected"),
        ({"spec": {}}, "missing or has a wrong value"),
        ({"inputs": [{}]}, "an engine sidecar expected"),
        ({"unknown": 1}, "an engine sidecar expected"),
    ],
)
def test_a_wrong_field_is_an_engine_error(engine: Path, values: dict[str, Any], message: str) -> None:
    change(engine, **values)
    with pytest.raises(EngineError, match=message):
        read_sidecar(engine)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "<html>"])
def test_a_file_that_is_no_sidecar_is_an_engine_error(engine: Path, text: str) -> None:
    sidecar_path(engine).write_text(text)
    with pytest.raises(EngineError, match="an engine sidecar expected"):
        read_sidecar(engine)
