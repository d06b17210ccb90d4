"""What a plan's layers are and how long they take, on the simulated TensorRT of each generation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from edgeyolo.build import build
from edgeyolo.errors import ConfigError, EngineError
from edgeyolo.runtime import open_engine
from edgeyolo.runtime.tensorrt_layers import layer_facts, layer_facts_from_json, layer_times
from tests import tiny_models
from tests.runtime.tensorrt_plans import run_frames, write_engine
from tests.sim.cuda.simulator import Simulator
from tests.sim.tensorrt.fixtures import tensorrt

__all__ = ["tensorrt"]

pytestmark = pytest.mark.needs("cudasim", "onnx", "onnxruntime")

lazily = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
on_jetpack_6 = pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)


@pytest.fixture(params=[1, None], ids=["fixed", "dynamic"])
def engine(request: pytest.FixtureRequest, tensorrt: ModuleType, tmp_path: Path) -> Path:
    model = tiny_models.write_detector(tmp_path / "m.onnx", batch=request.param)
    return write_engine(model, tmp_path / "m.engine", tensorrt.__simulation__.generation)


@lazily
def test_layers_are_told(cuda: Simulator, tensorrt: ModuleType, engine: Path) -> None:
    with open_engine(engine) as opened:
        layers = layer_facts(opened)
    assert len(layers) == tensorrt.__simulation__.new("ICudaEngine", **_plan_of(tensorrt, engine)).num_layers
    assert {layer.kind for layer in layers} >= {"Pooling"}
    assert all(layer.name and layer.outputs and layer.tactic for layer in layers)


def _plan_of(trt: ModuleType, engine: Path) -> dict[str, object]:
    from tests.sim.tensorrt.plan import Plan

    return {"plan": Plan.from_bytes(engine.read_bytes()), "logger": None, "runtime": None}


@lazily
def test_each_layer_is_timed_and_frames_still_run(
    cuda: Simulator, tensorrt: ModuleType, engine: Path
) -> None:
    with open_engine(engine) as opened:
        assert run_frames(opened, frames=2) == []
        times = layer_times(opened, runs=3)
        assert list(times) == [layer.name for layer in layer_facts(opened)]
        assert all(ms == pytest.approx(0.001) for ms in times.values())  # what the simulator says of each run
        assert run_frames(opened) == []


@lazily
@on_jetpack_6
def test_failures(cuda: Simulator, tensorrt: ModuleType, engine: Path) -> None:
    simulation = tensorrt.__simulation__
    with open_engine(engine) as opened:
        for call, function in (
            ("ICudaEngine.create_engine_inspector", layer_facts),
            ("IExecutionContext.report_to_profiler", layer_times),
            ("IExecutionContext.execute_async_v3", layer_times),
        ):
            simulation.fail(call, ("ERROR", "the reason"))
            with pytest.raises(EngineError, match="the reason"):
                function(opened)
        with pytest.raises(ConfigError, match="1 or more"):
            layer_times(opened, runs=0)
        assert run_frames(opened) == []
    with pytest.raises(EngineError, match="closed"):
        layer_times(opened)
    with pytest.raises(EngineError, match="closed"):
        layer_facts(opened)


def test_other_engines_have_none(tmp_path: Path) -> None:
    model = tiny_models.write_detector(tmp_path / "m.onnx")
    build(model, tmp_path / "m.engine", backend="onnxruntime")
    with open_engine(tmp_path / "m.engine") as opened, pytest.raises(ConfigError, match="onnxruntime"):
        layer_times(opened)


def test_names_only_and_nonsense() -> None:
    assert [layer.name for layer in layer_facts_from_json('{"Layers": ["a", "b"], "Bindings": []}')] == [
        "a",
        "b",
    ]
    for text in ("", "[]", '{"Layers": [1]}', '{"Layers": [{"Kind": 1}]}'):
        with pytest.raises(EngineError, match="inspector"):
            layer_facts_from_json(text)


@lazily
@on_jetpack_6
def test_bench_prints_the_layers(
    cuda: Simulator, tensorrt: ModuleType, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeyolo.cli.main import app

    app(["bench", str(engine), "--frames", "4", "--layers"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    start = next(index for index, line in enumerate(lines) if "the slowest first" in line)
    assert any(line.startswith("first result after") for line in lines[:start])
    assert lines[start].split()[0] == str(len(lines) - start - 1)
    assert all(line.split()[:2] == ["0.001", "ms"] for line in lines[start + 1 :])


def test_bench_has_no_layers_of_other_engines(tmp_path: Path) -> None:
    from edgeyolo.pipeline.bench import bench

    build(tiny_models.write_detector(tmp_path / "m.onnx"), tmp_path / "m.engine", backend="onnxruntime")
    with pytest.raises(ConfigError, match="--layers: a TensorRT engine expected"):
        bench(tmp_path / "m.engine", layers=True)


@lazily
@on_jetpack_6
def test_inspect_prints_the_layers(
    cuda: Simulator, tensorrt: ModuleType, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeyolo.cli.main import app

    app(["inspect", str(engine), "--layers"], standalone_mode=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("layer ")]
    with open_engine(engine) as opened:
        assert len(lines) == len(layer_facts(opened))
    assert "Row major linear FP32 format" in lines[0]
    with pytest.raises(ConfigError, match="--layers: a TensorRT engine expected"):
        app(["inspect", "yolov3-tiny", "--layers"], standalone_mode=False)
