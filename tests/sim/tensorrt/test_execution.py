"""Inference on the simulated driver: the right numbers at the right time, and every mistake in how to ask."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.sim.cuda.simulator import Simulator
from tests.sim.tensorrt import graphs

pytestmark = pytest.mark.needs("cudasim", "onnxruntime")
LAZY = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
ONE = pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)
X = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)


def _expected(model: Any, x: Any) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.fixture
def drv(cuda: Simulator) -> Iterator[Any]:
    """Give ``pycuda.driver`` with the primary context current."""
    import pycuda.driver

    pycuda.driver.init()
    context = pycuda.driver.Device(0).retain_primary_context()
    context.push()
    yield pycuda.driver
    gc.collect()
    context.pop()
    context.detach()


class Loop:
    """A bare inference loop, as NVIDIA's samples have it."""

    def __init__(self, drv: Any, engine: Any, trt: Any, batch: int = 1) -> None:
        self.drv, self.context, self.stream = drv, engine.create_execution_context(), drv.Stream()
        self.host: dict[str, Any] = {}
        self.device: dict[str, Any] = {}
        if -1 in engine.get_tensor_shape("x"):
            assert self.context.set_input_shape("x", (batch, 3, 8, 8))
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = trt.nptype(engine.get_tensor_dtype(name))
            self.host[name] = drv.pagelocked_zeros(tuple(self.context.get_tensor_shape(name)), dtype)
            self.device[name] = drv.mem_alloc(self.host[name].nbytes)
            assert self.context.set_tensor_address(name, self.device[name])

    def submit(self, x: Any) -> Any:
        self.host["x"][...] = x
        self.drv.memcpy_htod_async(self.device["x"], self.host["x"], self.stream)
        assert self.context.execute_async_v3(self.stream.handle)
        self.drv.memcpy_dtoh_async(self.host["y"], self.device["y"], self.stream)
        return self.host["y"]

    def run(self, x: Any) -> Any:
        y = self.submit(x)
        self.stream.synchronize()
        return y


@pytest.fixture
def loop(drv: Any, tensorrt: ModuleType, logger: Any, built: Any) -> Any:
    """Give a function: model to `Loop`."""

    def make(model: Any, batch: int | None = None) -> Loop:
        def profile(builder: Any, config: Any) -> None:
            if batch:
                ranges = builder.create_optimization_profile()
                ranges.set_shape("x", (1, 3, 8, 8), (batch, 3, 8, 8), (4, 3, 8, 8))
                config.add_optimization_profile(ranges)

        engine = tensorrt.Runtime(logger).deserialize_cuda_engine(built(model, profile))
        return Loop(drv, engine, tensorrt, batch or 1)

    return make


def test_the_result_is_onnx_runtimes(loop: Any) -> None:
    model = graphs.conv()
    np.testing.assert_allclose(loop(model).run(X), _expected(model, X), atol=1e-6)


@LAZY
def test_a_batch_within_the_profile(loop: Any) -> None:
    model, x = graphs.conv("N"), np.concatenate([X, X[:, :, ::-1], X * 0.5])
    np.testing.assert_allclose(loop(model, batch=3).run(x), _expected(model, x), atol=1e-6)


@LAZY
def test_without_a_wait_the_output_is_old(loop: Any) -> None:
    running = loop(graphs.conv())
    assert not running.submit(X).any()
    running.stream.synchronize()
    assert running.host["y"].all()


@LAZY
@pytest.mark.parametrize("tensorrt", ["8.6"], indirect=True)
def test_eight_runs_by_bindings(loop: Any) -> None:
    model = graphs.conv()
    running = loop(model)
    running.host["x"][...] = X
    running.drv.memcpy_htod_async(running.device["x"], running.host["x"], running.stream)
    bindings = [int(running.device[name]) for name in ("x", "y")]
    assert running.context.execute_async_v2(bindings, running.stream.handle)
    running.drv.memcpy_dtoh_async(running.host["y"], running.device["y"], running.stream)
    running.stream.synchronize()
    np.testing.assert_allclose(running.host["y"], _expected(model, X), atol=1e-6)


@LAZY
def test_int64_comes_out_as_the_release_has_it(loop: Any, tensorrt: ModuleType) -> None:
    running = loop(graphs.int64_output())
    y = running.run(X)
    assert y.dtype == ("int32" if tensorrt.__version__.startswith("8") else "int64")
    assert y.item() == X.mean((0, 2, 3)).argmax()


@LAZY
@ONE
def test_a_captured_graph_runs_again_and_again(loop: Any, cuda: Simulator) -> None:
    model = graphs.conv()
    running = loop(model)
    running.run(X)
    library, stream = cuda.library, ctypes.c_void_p(running.stream.handle)
    graph, launchable = ctypes.c_void_p(), ctypes.c_void_p()
    assert library.cuStreamBeginCapture_v2(stream, 2) == 0
    running.submit(X)
    assert library.cuStreamEndCapture(stream, ctypes.byref(graph)) == 0
    assert library.cuGraphInstantiateWithFlags(ctypes.byref(launchable), graph, ctypes.c_ulonglong(0)) == 0
    for x in (X, X * 0.25):
        running.host["x"][...] = x
        assert library.cuGraphLaunch(launchable, stream) == 0
        running.stream.synchronize()
        np.testing.assert_allclose(running.host["y"], _expected(model, x), atol=1e-6)
    assert library.cuGraphExecDestroy(launchable) == 0
    assert library.cuGraphDestroy(graph) == 0


@LAZY
@pytest.mark.parametrize("tensorrt", ["8.6", "10.3"], indirect=True)
def test_before_ten_a_profile_serves_one_context(loop: Any, tensorrt: ModuleType, errors: Any) -> None:
    shared = tensorrt.__version__.startswith("10")
    first = loop(graphs.conv("N"), batch=2).context
    second = first.engine.create_execution_context()
    assert second.active_optimization_profile == (0 if shared else -1)
    assert second.set_input_shape("x", (1, 3, 8, 8)) == shared
    assert second.set_optimization_profile_async(0, 0) == shared
    assert ("has been chosen for another IExecutionContext" in errors()) != shared
    del first
    gc.collect()
    assert second.set_optimization_profile_async(0, 0)
    assert second.set_input_shape("x", (1, 3, 8, 8))


# ---- mistakes ----------------------------------------------------------------------------------------------


@LAZY
@ONE
def test_a_stream_object_is_no_handle(loop: Any) -> None:
    running = loop(graphs.conv())
    with pytest.raises(TypeError, match="incompatible function arguments"):
        running.context.execute_async_v3(running.stream)


@LAZY
@ONE
def test_an_address_that_was_not_set(loop: Any, errors: Any) -> None:
    running = loop(graphs.conv())
    assert running.context.set_tensor_address("y", 0)
    assert not running.context.execute_async_v3(running.stream.handle)
    assert "Neither address or allocator is set for output tensor y" in errors()
    assert not running.context.set_tensor_address("z", 0)
    assert not running.context.set_tensor_address("y", int(running.device["y"]) + 4)
    assert "not aligned to 256" in errors()


@LAZY
@ONE
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (0, 3, 8, 8), (1, 3, 8, 9), (3, 8, 8)])
def test_a_shape_beyond_the_profile(loop: Any, errors: Any, shape: tuple[int, ...]) -> None:
    running = loop(graphs.conv("N"), batch=2)
    assert not running.context.set_input_shape("x", shape)
    assert "is not within profile 0" in errors()
    assert running.context.get_tensor_shape("y") == (2, 4, 8, 8)


@LAZY
@ONE
def test_a_shape_that_was_not_set(loop: Any, errors: Any) -> None:
    running = loop(graphs.conv("N"), batch=2)
    fresh = running.context.engine.create_execution_context()
    assert fresh.infer_shapes() == ["x"]
    assert fresh.get_tensor_shape("y") == (-1, 4, 8, 8)
    assert not fresh.execute_async_v3(running.stream.handle)
    assert "the shape of input x is not set" in errors()


@LAZY
@ONE
def test_a_freed_buffer(loop: Any, cuda: Simulator) -> None:
    cuda.expect("async_error", "bad_address", "dead_context")
    running = loop(graphs.conv())
    running.device["y"].free()
    assert running.context.execute_async_v3(running.stream.handle)
    with pytest.raises(running.drv.LogicError, match="illegal memory access"):
        running.stream.synchronize()


@LAZY
@ONE
def test_the_default_stream_is_warned_of(loop: Any, tensorrt: ModuleType) -> None:
    running = loop(graphs.conv())
    assert running.context.execute_async_v3(0)
    running.drv.Context.synchronize()
    told = [text for severity, text in tensorrt.__simulation__.messages if severity == "WARNING"]
    assert any(text.startswith("Using default stream") for text in told)


@LAZY
@ONE
def test_a_capture_before_the_first_run_is_misuse(loop: Any, tensorrt: ModuleType, cuda: Simulator) -> None:
    running = loop(graphs.conv())
    stream, graph = ctypes.c_void_p(running.stream.handle), ctypes.c_void_p()
    assert cuda.library.cuStreamBeginCapture_v2(stream, 2) == 0
    assert running.context.execute_async_v3(running.stream.handle)
    assert cuda.library.cuStreamEndCapture(stream, ctypes.byref(graph)) == 0
    assert cuda.library.cuGraphDestroy(graph) == 0
    assert tensorrt.__simulation__.misuse.pop() == "a capture before the first run with these shapes"


@LAZY
@ONE
def test_two_streams_at_a_time_are_misuse(loop: Any, tensorrt: ModuleType) -> None:
    running = loop(graphs.conv())
    other = running.drv.Stream()
    assert running.context.execute_async_v3(running.stream.handle)
    assert running.context.execute_async_v3(other.handle)
    running.drv.Context.synchronize()
    assert tensorrt.__simulation__.misuse.pop() == "one execution context has work on two streams at a time"


@LAZY
@ONE
def test_a_context_that_goes_before_its_work_is_misuse(
    loop: Any, tensorrt: ModuleType, cuda: Simulator
) -> None:
    cuda.expect("free_with_pending")  # the scratch memory
    running = loop(graphs.conv())
    running.submit(X)
    del running.context
    gc.collect()
    running.stream.synchronize()
    assert tensorrt.__simulation__.misuse.pop() == "an execution context was destroyed with work in flight"


@LAZY
@ONE
def test_another_thread_has_no_context(loop: Any, tensorrt: ModuleType) -> None:
    import threading

    running = loop(graphs.conv())
    answers: list[bool] = []
    thread = threading.Thread(
        target=lambda: answers.append(running.context.execute_async_v3(running.stream.handle))
    )
    thread.start()
    thread.join()
    assert answers == [False]
    assert "of another CUDA context" in tensorrt.__simulation__.misuse.pop()


# ---- profiles ----------------------------------------------------------------------------------------------


@LAZY
def test_a_profiler_hears_every_layer(loop: Any, tensorrt: ModuleType) -> None:
    class Times(tensorrt.IProfiler):
        def __init__(self) -> None:
            tensorrt.IProfiler.__init__(self)
            self.layers: list[str] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.layers.append(layer_name)

    running = loop(graphs.conv())
    running.context.profiler = times = Times()
    running.context.enqueue_emits_profile = False
    assert not running.context.report_to_profiler()
    running.run(X)
    assert times.layers == []
    assert running.context.report_to_profiler()
    assert times.layers == ["conv", "act"]
    running.context.enqueue_emits_profile = True
    running.run(X)
    assert times.layers == ["conv", "act"] * 2
