"""Which plans the simulated runtime takes, and what an engine says of itself."""

from __future__ import annotations

import gc
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.sim.tensorrt import BOARDS, HostDevice, graphs, simulated_tensorrt
from tests.sim.tensorrt.plan import Plan

ONE = pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)


@pytest.fixture
def load(tensorrt: ModuleType, logger: Any) -> Any:
    return tensorrt.Runtime(logger).deserialize_cuda_engine


def test_what_was_built_loads_and_has_its_tensors(tensorrt: ModuleType, built: Any, load: Any) -> None:
    engine = load(bytes(built(graphs.conv())))
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    assert names == ["x", "y"]
    assert [engine.get_tensor_mode(name) for name in names] == [
        tensorrt.TensorIOMode.INPUT, tensorrt.TensorIOMode.OUTPUT,
    ]  # fmt: skip
    assert engine.get_tensor_shape("y") == (1, 4, 8, 8)
    assert tensorrt.nptype(engine.get_tensor_dtype("y")) is np.float32
    assert engine.get_tensor_profile_shape("x", 0) == [(1, 3, 8, 8)] * 3
    assert engine.get_tensor_mode("z") == tensorrt.TensorIOMode.NONE


@pytest.mark.parametrize("tensorrt", ["8.6"], indirect=True)
def test_eight_has_both_apis(built: Any, load: Any) -> None:
    engine = load(built(graphs.conv()))
    assert (engine.num_bindings, len(engine), engine[0], engine["y"]) == (2, 2, "x", 1)
    assert (engine.binding_is_input(0), engine.binding_is_input("y")) == (True, False)
    assert engine.get_binding_shape(1) == tuple(engine.get_tensor_shape("y"))  # Dims == Dims is a TypeError


def test_a_dynamic_engine_has_its_profiles(built: Any, load: Any) -> None:
    def profiles(builder: Any, config: Any) -> None:
        for most in (2, 8):
            profile = builder.create_optimization_profile()
            profile.set_shape("x", (1, 3, 8, 8), (most // 2, 3, 8, 8), (most, 3, 8, 8))
            config.add_optimization_profile(profile)

    engine = load(built(graphs.conv("N"), profiles))
    assert engine.num_optimization_profiles == 2
    assert engine.get_tensor_shape("x") == (-1, 3, 8, 8)
    assert engine.get_tensor_profile_shape("x", 1) == [(n, 3, 8, 8) for n in (1, 4, 8)]
    assert engine.get_tensor_profile_shape("x", 2) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda plan: b"", "Magic tag does not match"),
        (lambda plan: b"ftrt" + plan, "Magic tag does not match"),
        (lambda plan: plan[:-1], "Serialization assertion"),
        (lambda plan: plan[:200] + b"?" + plan[201:], "Serialization assertion"),
    ],
    ids=["empty", "foreign", "cut", "changed"],
)
@ONE
def test_a_broken_plan(built: Any, load: Any, errors: Any, damage: Any, said: str) -> None:
    assert load(damage(bytes(built(graphs.conv())))) is None
    assert said in errors()


def test_a_plan_of_another_release(tensorrt: ModuleType, built: Any, load: Any, errors: Any) -> None:
    plan = Plan.from_bytes(bytes(built(graphs.conv())))
    foreign = Plan({**plan.facts, "version": [9, 9, 9]}, plan.onnx)
    assert load(foreign.to_bytes()) is None
    assert f"expecting library version {tensorrt.__version__} got 9.9.9, please rebuild" in errors()


def test_a_plan_of_another_gpu(tensorrt: ModuleType, built: Any, load: Any, errors: Any) -> None:
    plan = built(graphs.conv())
    tensorrt.__simulation__.board = BOARDS["thor"]
    assert load(plan) is None
    assert "expecting compute 11.0 got compute 8.7, please rebuild" in errors()


@pytest.mark.parametrize(
    ("built_on", "runs_on", "loads"),
    [
        ("10.3", "10.16", True),
        ("10.3", "11.4", True),
        ("8.6", "10.3", True),
        ("8.6", "11.4", False),
        ("10.16", "10.3", False),
    ],
)
def test_version_compatibility_goes_forward_by_one(built_on: str, runs_on: str, loads: bool) -> None:
    maker, runner = simulated_tensorrt(built_on), simulated_tensorrt(runs_on)
    quiet = maker.Logger(maker.Logger.INTERNAL_ERROR)
    builder = maker.Builder(quiet)
    network = builder.create_network(1)
    assert maker.OnnxParser(network, quiet).parse(graphs.conv().SerializeToString())
    config = builder.create_builder_config()
    config.set_flag(maker.BuilderFlag.VERSION_COMPATIBLE)
    plan = builder.build_serialized_network(network, config)
    runtime = runner.Runtime(runner.Logger(runner.Logger.INTERNAL_ERROR))
    assert runtime.deserialize_cuda_engine(plan) is None  # host code has to be allowed
    runtime.engine_host_code_allowed = True
    assert (runtime.deserialize_cuda_engine(plan) is not None) == loads


@pytest.mark.parametrize("verbosity", ["NONE", "LAYER_NAMES_ONLY", "DETAILED"])
@ONE
def test_the_inspector_tells_what_was_asked_for(
    tensorrt: ModuleType, built: Any, load: Any, verbosity: str
) -> None:
    wanted = tensorrt.ProfilingVerbosity.__members__[verbosity]
    engine = load(built(graphs.conv(), lambda _, c: setattr(c, "profiling_verbosity", wanted)))
    inspector = engine.create_engine_inspector()
    told = json.loads(inspector.get_engine_information(tensorrt.LayerInformationFormat.JSON))
    assert told["Bindings"] == ["x", "y"]
    if verbosity == "DETAILED":
        assert [layer["Name"] for layer in told["Layers"]] == ["conv", "act"]
        assert told["Layers"][0]["Outputs"][0]["Format/Datatype"] == "Row major linear FP32 format"
    else:
        assert told["Layers"] == ([] if verbosity == "NONE" else ["conv", "act"])


@ONE
def test_no_memory_for_a_context(tensorrt: ModuleType, built: Any, load: Any, errors: Any) -> None:
    tensorrt.__simulation__.device = HostDevice(memory=1 << 20)
    engine = load(built(graphs.conv()))
    first = engine.create_execution_context()
    assert first is not None
    assert engine.create_execution_context() is None
    assert "OutOfMemory (Requested size was 1048576 bytes.)" in errors()
    del first
    gc.collect()
    assert engine.create_execution_context() is not None


def test_an_output_of_unknown_size_goes_through_an_allocator(
    tensorrt: ModuleType, built: Any, load: Any
) -> None:
    device = tensorrt.__simulation__.device

    class Allocator(tensorrt.IOutputAllocator):
        def __init__(self) -> None:
            tensorrt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] = ()

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            self.address = device.allocate(size)
            return int(self.address)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    context = load(built(graphs.nonzero())).create_execution_context()
    source, allocator = device.allocate(4 * 192), Allocator()
    device.view(1, source, 4 * 192).view(np.float32)[:] = np.eye(192, dtype=np.float32)[7]
    assert context.set_tensor_address("x", source)
    assert context.get_tensor_shape("y") == (4, -1)
    assert not context.execute_async_v3(1)
    assert context.set_output_allocator("y", allocator)
    assert context.execute_async_v3(1)
    assert device.synchronize(1)
    assert allocator.shape == (4, 1)
    dtype = tensorrt.nptype(load(built(graphs.nonzero())).get_tensor_dtype("y"))
    places = device.view(1, allocator.address, 4 * np.dtype(dtype).itemsize).view(dtype)
    assert places.tolist() == [0, 0, 0, 7]
