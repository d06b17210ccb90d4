"""Opening engines: sidecar against file and machine, buffers, batches, closing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.errors import (
    ConfigError,
    EngineError,
    MissingDependencyError,
    StaleEngineError,
    TensorMismatchError,
)
from edgeyolo.runtime import open_engine
from tests import tiny_models

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    build(tiny_models.write_detector(tmp_path / "m.onnx"), tmp_path / "m.engine")
    return tmp_path / "m.engine"


def _edit(engine: Path, **changes: Any) -> None:
    sidecar = engine.with_name(engine.name + ".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **changes}))


def test_input_is_the_same_memory_and_infer_reads_it(engine: Path) -> None:
    with open_engine(engine) as opened:
        assert opened.slots == 2
        first, second = opened.input(0), opened.input(1)
        assert first.shape == (1, 3, 32, 32)
        assert first.dtype == np.float32
        assert first.ctypes.data == opened.input(0).ctypes.data
        assert not np.shares_memory(first, second)

        first[0, 0], first[0, 1], first[0, 2] = 0.75, 0.25, 0.5
        second[...] = 0.125
        outputs = opened.infer(0)
        np.testing.assert_array_equal(outputs["scores"], np.full((1, 4, 2), [0.75, 0.25], np.float32))
        np.testing.assert_array_equal(outputs["boxes"][0], tiny_models.QUARTERS)

        other = opened.infer(1)
        np.testing.assert_array_equal(other["scores"], np.full((1, 4, 2), 0.125, np.float32))
        assert outputs["scores"][0, 0, 0] == 0.75  # a slot's outputs live until its own next inference
        first[...] = 0.5
        assert opened.infer(0)["scores"][0, 0, 0] == 0.5


@pytest.mark.parametrize("batch", [3, None])
def test_a_part_of_a_batch(batch: int | None, tmp_path: Path) -> None:
    build(tiny_models.write_detector(tmp_path / "m.onnx", batch=batch), tmp_path / "m.engine")
    with open_engine(tmp_path / "m.engine", max_batch=3) as opened:
        assert opened.batch == 3
        for index in range(3):
            opened.input(0)[index] = index / 4
        for count in (1, 3, 2, 3):
            scores = opened.infer(0, batch=count)["scores"]
            np.testing.assert_array_equal(scores[:, 0, 0], [0, 0.25, 0.5][:count])
        for wrong in (0, 4):
            with pytest.raises(EngineError, match=r"1\.\.3 expected"):
                opened.infer(0, batch=wrong)


def test_closing(engine: Path) -> None:
    opened = open_engine(engine)
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="closed"):
        opened.infer(0)


def test_an_engine_that_is_not_the_sidecars(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes() + b"\0")
    with pytest.raises(StaleEngineError, match="sha256") as raised:
        open_engine(engine)
    assert raised.value.hint
    assert "edgeyolo build" in raised.value.hint
    assert raised.value.exit_code == 2


def test_half_a_pair(engine: Path) -> None:
    sidecar = engine.with_name(engine.name + ".json")
    text = sidecar.read_bytes()
    sidecar.unlink()
    with pytest.raises(EngineError, match="with its sidecar"):
        open_engine(engine)
    sidecar.write_bytes(text[: len(text) // 2])
    with pytest.raises(EngineError, match="sidecar expected"):
        open_engine(engine)
    sidecar.write_bytes(text)
    engine.unlink()
    with pytest.raises(EngineError, match="no such engine"):
        open_engine(engine)


def test_a_runtime_older_than_the_build(engine: Path) -> None:
    import onnxruntime

    info = json.loads(engine.with_name("m.engine.json").read_text())
    _edit(engine, versions={**info["versions"], "onnxruntime": "99.0.1"})
    with pytest.raises(StaleEngineError) as raised:
        open_engine(engine)
    assert "onnxruntime: built for 99.0.1 or later" in raised.value.message
    assert f"running on {onnxruntime.__version__}" in raised.value.message
    assert raised.value.hint
    assert info["command"] in raised.value.hint


@pytest.mark.parametrize("older", ["1.9.0", "0.1"])
def test_a_runtime_newer_than_the_build_and_another_machine_are_fine(older: str, engine: Path) -> None:
    info = json.loads(engine.with_name("m.engine.json").read_text())
    versions = {**info["versions"], "onnxruntime": older, "python": "3.99"}
    _edit(engine, versions=versions, machine={"arch": "riscv64"})
    open_engine(engine).close()


def test_a_tensorrt_engine_is_not_run_here(engine: Path) -> None:
    _edit(engine, backend="tensorrt")
    with pytest.raises(MissingDependencyError, match="'tensorrt'") as raised:
        open_engine(engine)
    assert raised.value.exit_code == 3


def test_a_sidecar_that_promises_other_tensors(engine: Path) -> None:
    from edgeyolo.sidecar import read_sidecar

    inputs = [dataclasses.asdict(t) for t in read_sidecar(engine).inputs]
    inputs[0]["shape"] = [1, 3, 64, 64]
    _edit(engine, inputs=inputs)
    with pytest.raises(TensorMismatchError, match="input tensors"):
        open_engine(engine)


@pytest.mark.parametrize("option", [{"threads": 0}, {"max_batch": 0}])
def test_options_out_of_range(option: dict[str, int], engine: Path) -> None:
    with pytest.raises(ConfigError, match="1 or more expected, 0 found"):
        open_engine(engine, **option)


def test_running_needs_no_onnx(engine: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "for name in ('onnx', 'onnxsim', 'tensorrt', 'pycuda'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "from edgeyolo import Detector\n"
        f"print(len(Detector({str(engine)!r})(np.full((64, 64, 3), 255, np.uint8))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"
