"""From the command line: build with the simulated TensorRT of each generation, run on the simulated driver.

What comes out is compared with ONNX Runtime's on the same model and pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeyolo.cli.main import app
from edgeyolo.runtime import open_engine
from tests.sim.cuda.simulator import Simulator
from tests.sim.tensorrt.fixtures import tensorrt
from tests.small_nets import converted

__all__ = ["tensorrt"]

pytestmark = pytest.mark.needs("cudasim", "onnx", "onnxruntime", "opencv")

lazily = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


def command(*words: object) -> None:
    app([*map(str, words)], standalone_mode=False)


def detections(engine: Path, folder: Path) -> list[dict[str, Any]]:
    command("run", engine, "test://", "--frames", 5, "--conf", 0.01, "--jsonl", folder / "out.jsonl")
    found = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "latency_ms"} for line in found]


def numbers(path: Path) -> dict[str, np.ndarray]:
    with open_engine(path) as engine:
        engine.input(0)[...] = np.random.default_rng(3).random(engine.input(0).shape, np.float32)
        return {name: array.copy() for name, array in engine.infer(0).items()}


@lazily
@pytest.mark.parametrize("batch", ["1", "dynamic"])
def test_build_and_run(batch: str, cuda: Simulator, tensorrt: ModuleType, tmp_path: Path) -> None:
    model = converted(tmp_path, "yolo", "--batch", batch)
    ours, theirs = tmp_path / "tensorrt.engine", tmp_path / "onnxruntime.engine"
    for path in (ours, theirs):
        command("build", model, "-o", path, "--backend", path.stem)
    # The simulated builder asks for free memory without a context; the real one has the primary one.
    cuda.expect("no_context")
    assert {note.split(":")[0] for note in cuda.report().noted("no_context")} <= {"cuMemGetInfo"}

    expected, found = numbers(theirs), numbers(ours)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-7)

    lines = detections(theirs, tmp_path)
    assert len(lines) == 5
    assert detections(ours, tmp_path) == lines
    assert {note.split(":")[0] for note in cuda.report().noted("no_context")} <= {"cuMemGetInfo"}
