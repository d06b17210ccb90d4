"""The execution context: shapes, addresses, and work on the caller's stream.

Owns what a context keeps and what it queues. The work looks every address up when it runs, so that a buffer
that was freed, moved or is too small fails there, and a missing synchronisation shows as old bytes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.sim.tensorrt.basics import numpy_dtype
from tests.sim.tensorrt.bindings import ContextBindings
from tests.sim.tensorrt.pybind import call_back, kept
from tests.sim.tensorrt.shapes import UNKNOWN, ContextShapes

__all__ = ["ExecutionContext"]

_ALIGNMENT = 256  # NvInferRuntime.h, setTensorAddress
_DEFAULT_STREAM = (
    "Using default stream in enqueueV3() may lead to performance issues due to additional calls to "
    "cudaStreamSynchronize() by TensorRT to ensure correct synchronization. Please use non-default stream "
    "instead."
)
_NO_ADDRESS = (
    "Error Code 3: API Usage Error (Parameter check failed. Neither address or allocator is set for {kind} "
    "tensor {name}. Call setInputTensorAddress, setOutputTensorAddress or setOutputAllocator before "
    "enqueue/execute.)"
)


class ExecutionContext(ContextShapes, ContextBindings):
    """`IExecutionContext`."""

    _simulation: Any
    _engine_: Any
    _scratch: int
    _logger: Any

    def _made(self) -> None:
        self._context = self._simulation.device.current()
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._resolved: dict[tuple[Any, ...], dict[str, tuple[int, ...]]] = {}
        self._allocators: dict[str, Any] = {}
        self._profile = self._engine_._first_free_profile()
        self._warm: set[tuple[Any, ...]] = set()  # shapes it has run with outside a capture
        self._profiler: Any = None
        self._emits = True
        self._ran = False
        self._pending: list[int] = []  # streams of work that has not run
        self._name = ""
        self._nvtx = self._simulation.module.ProfilingVerbosity.LAYER_NAMES_ONLY
        self._debug_sync = False

    def __del__(self) -> None:
        if self.__dict__.get("_profile", -1) >= 0:
            self._engine_._profile_users[self._profile] -= 1
        if self.__dict__.get("_pending"):
            self._simulation.misuse.append("an execution context was destroyed with work in flight")
        if scratch := self.__dict__.pop("_scratch", 0):
            self._simulation.device.free(scratch)

    @property
    def engine(self) -> Any:
        return self._engine_

    name = kept("_name")

    nvtx_verbosity = kept("_nvtx")

    debug_sync = kept("_debug_sync")

    # ---- addresses -----------------------------------------------------------------------------------------

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine_._tensors:
            return self._refuse(
                "setTensorAddress",
                f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()",
            )
        if memory % _ALIGNMENT:
            return self._refuse(
                "setTensorAddress", f"{name}: {memory:#x} is not aligned to {_ALIGNMENT} bytes"
            )
        self._addresses[name] = memory
        return True

    def get_tensor_address(self, name: str) -> int:
        if name not in self._engine_._tensors:
            self._refuse("getTensorAddress", f"Given invalid tensor name: {name}")
        return self._addresses.get(name, 0)

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        if name not in self._engine_._outputs:
            return self._refuse("setOutputAllocator", f"{name} is no output")
        self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> Any:
        return self._allocators.get(name)

    # ---- profiling -----------------------------------------------------------------------------------------

    profiler = kept("_profiler")

    enqueue_emits_profile = kept("_emits")

    def report_to_profiler(self) -> bool:
        """Report the last run, which the caller has waited for."""
        if self._profiler is None or not self._ran or self._pending:
            return self._refuse("reportToProfiler", "no profiler, or nothing was run and waited for")
        for layer in self._engine_._plan.facts["layers"]:
            args = layer["name"], 0.001
            call_back(
                self._profiler,
                "report_layer_time",
                *args,
                otherwise=None,
                swallowed=self._simulation.swallowed,
            )
        return True

    # ---- running -------------------------------------------------------------------------------------------

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not (self._may_run(stream_handle) and self._enqueue(stream_handle)):
            return False
        if self._profiler is not None and self._emits:  # such an enqueue waits (NvInferRuntime.h, IProfiler)
            self._simulation.device.synchronize(stream_handle)
            ExecutionContext.report_to_profiler(self)
        return True

    def _may_run(self, stream: int) -> bool:
        simulation = self._simulation
        if self.__dict__.get("_scratch") == 0:
            return self._refuse("enqueueV3", "Error Code 3: API Usage Error (device memory was not provided)")
        if simulation.device.current() != self._context:
            simulation.misuse.append("execute_async_v3: the execution context is of another CUDA context")
            return self._refuse("enqueueV3", "Error Code 1: Cuda Runtime (invalid resource handle)")
        if not stream:
            simulation.log(self._logger, "WARNING", _DEFAULT_STREAM)
        if any(other != stream for other in self._pending):
            simulation.misuse.append("one execution context has work on two streams at a time")
        return True

    def _enqueue(self, stream: int) -> bool:
        work, device = self._work(), self._simulation.device
        if work is None:
            return False
        shapes = tuple(work[1].items())
        if not device.capturing(stream):
            self._pending.append(stream)
            self._warm.add(shapes)
        elif shapes not in self._warm:  # the first run of a shape may do what cannot be captured
            self._simulation.misuse.append("a capture before the first run with these shapes")
        if not device.enqueue(stream, "tensorrt", self._later(stream, *work)):
            self._pending = [other for other in self._pending if other != stream]
            return self._refuse("enqueueV3", "Error Code 1: Cuda Runtime (the stream takes no work)")
        return True

    def _later(
        self, stream: int, addresses: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]
    ) -> Callable[[], None]:
        """Give the work without the context: as in C++, what is queued or captured does not keep it."""
        simulation, alive = self._simulation, weakref.ref(self)

        def run() -> None:
            context = alive()
            if context is None:
                simulation.misuse.append("work ran after its execution context was destroyed")
            else:
                context._run(stream, addresses, shapes)

        return run

    def _work(self) -> tuple[dict[str, int], dict[str, tuple[int, ...]]] | None:
        """Take a copy of what was set, or refuse what was not."""
        shapes = {}
        for name in self._engine_._tensors:
            shape = self._shape(name)
            if name in self._engine_._inputs and UNKNOWN in shape:
                self._refuse(
                    "enqueueV3", f"Error Code 7: Internal Error (the shape of input {name} is not set)"
                )
                return None
            if not self._addresses.get(name) and self._allocators.get(name) is None:
                kind = "input" if name in self._engine_._inputs else "output"
                self._refuse("enqueueV3", _NO_ADDRESS.format(kind=kind, name=name))
                return None
            shapes[name] = shape
        return dict(self._addresses), shapes

    def _run(self, stream: int, addresses: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Do the work, on the device's time."""
        if stream in self._pending:  # a captured graph comes by again and again
            self._pending.remove(stream)
        self._ran = True
        engine, feeds = self._engine_, {}
        for value in engine._session.get_inputs():
            array = self._array(value.name, addresses[value.name], shapes[value.name])
            feeds[value.name] = array if array.dtype != np.int32 else array.astype(_ONNX_INTS[value.type])
        names = list(engine._outputs)
        for name, result in zip(names, engine._session.run(names, feeds), strict=True):
            address = addresses.get(name, 0)
            if self._allocators.get(name) is not None:
                address = self._allocate(name, result, address, stream)
            self._array(name, address, result.shape)[...] = result

    def _array(self, name: str, address: int, shape: tuple[int, ...]) -> Any:
        dtype = numpy_dtype(self._engine_._dtypes[name])
        size = int(np.prod(shape)) * dtype.itemsize
        return self._simulation.device.view(self._context, address, size).view(dtype).reshape(shape)

    def _allocate(self, name: str, result: Any, address: int, stream: int) -> int:
        allocator = self._allocators[name]
        swallowed = self._simulation.swallowed
        arguments: tuple[Any, ...] = (name, address, result.nbytes, _ALIGNMENT)
        method = "reallocate_output"
        if self._simulation.version >= (10,) and hasattr(allocator, "reallocate_output_async"):
            method, arguments = "reallocate_output_async", (*arguments, stream)
        given = call_back(allocator, method, *arguments, otherwise=0, swallowed=swallowed)
        dims = self._simulation.module.Dims(result.shape)
        call_back(allocator, "notify_shape", name, dims, otherwise=None, swallowed=swallowed)
        return int(given or 0)

    def _refuse(self, call: str, text: str) -> bool:
        self._simulation.log(self._logger, "ERROR", f"IExecutionContext::{call}: {text}")
        return False


# TensorRT 8 has no int64: its tensors are int32, the ONNX wants what it says.
_ONNX_INTS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
