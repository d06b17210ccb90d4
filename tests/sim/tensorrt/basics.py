"""Loggers, dimensions, host memory, callback interfaces: what everything else hands around."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.sim.tensorrt.pybind import kept

__all__ = [
    "Dims",
    "HostMemory",
    "ILogger",
    "IOutputAllocator",
    "IProfiler",
    "IProgressMonitor",
    "Logger",
    "Profiler",
    "host_memory",
    "make_nptype",
    "make_volume",
    "numpy_dtype",
]

NUMPY_TYPES = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip


class ILogger:
    """To be subclassed; `log` is called from C++."""

    def log(self, severity: Any, msg: str) -> None:
        """Do nothing."""


class Logger:
    """Prints to stdout what is at least as bad as `min_severity`; a subclass's `log` is never called."""

    _simulation: Any

    def __init__(self, min_severity: Any = None) -> None:
        self._min_severity = min_severity or self._simulation.module.Logger.WARNING

    min_severity = kept("_min_severity")

    def log(self, severity: Any, msg: str) -> None:
        if int(severity) <= int(self._min_severity):
            stamp = time.strftime("%m/%d/%Y-%H:%M:%S")
            print(f"[{stamp}] [TRT] [{'FEWIV'[int(severity)]}] {msg}", flush=True)


class Dims:
    """Behaves like a list of ints, but is neither a list nor a tuple, and has no hash."""

    def __init__(self, shape: Iterable[int] = ()) -> None:
        self._shape = tuple(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, item: Any) -> Any:
        if not isinstance(item, slice) and not -len(self._shape) <= item < len(self._shape):
            raise IndexError("Out of bounds")
        return self._shape[item]

    def __eq__(self, other: Any) -> bool:
        return self._shape == tuple(other)

    def __repr__(self) -> str:
        return repr(self._shape)


class HostMemory(bytearray):
    """`IHostMemory`: a buffer with `nbytes`, without a length and without bytes' methods."""

    _OWN = ("nbytes", "dtype")

    def __init__(self) -> None:
        raise TypeError("tensorrt.IHostMemory: No constructor defined!")

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_" and name not in HostMemory._OWN:
            raise AttributeError(f"'tensorrt.IHostMemory' object has no attribute '{name}'")
        return object.__getattribute__(self, name)

    @property
    def nbytes(self) -> int:
        return bytearray.__len__(self)

    @property
    def dtype(self) -> Any:
        return self._dtype

    def __repr__(self) -> str:
        return f"<tensorrt.IHostMemory object at {id(self):#x}>"

    def __len__(self) -> int:
        raise TypeError("object of type 'tensorrt.IHostMemory' has no len()")

    def __getitem__(self, item: Any) -> Any:
        raise TypeError("'tensorrt.IHostMemory' object is not subscriptable")

    def __iter__(self) -> Any:
        raise TypeError("'tensorrt.IHostMemory' object is not iterable")


def host_memory(simulation: Any, data: bytes) -> Any:
    """Wrap bytes in the generation's `IHostMemory`."""
    cls = simulation.module.IHostMemory
    memory = cls.__new__(cls)
    bytearray.__init__(memory, data)
    memory._dtype = simulation.module.DataType.INT8
    return memory


class IProfiler:
    """To be subclassed."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Do nothing: what is bound for a subclass that forgot."""


class Profiler:
    """Prints to stdout."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        print(f"{layer_name}: {ms}ms")


class IProgressMonitor:
    """To be subclassed."""

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        """Do nothing."""

    def step_complete(self, phase_name: str, step: int) -> bool:
        return False

    def phase_finish(self, phase_name: str) -> None:
        """Do nothing."""


class IOutputAllocator:
    """To be subclassed: ``reallocate_output(tensor_name, memory, size, alignment)`` and ``notify_shape``."""


def numpy_dtype(trt_type: Any) -> np.dtype[Any]:
    """Give a `DataType`'s NumPy type, for the simulator's own use."""
    return np.dtype(NUMPY_TYPES[trt_type.name])


def make_nptype(simulation: Any) -> Any:
    """Make the module's `nptype`."""

    def nptype(trt_type: Any) -> Any:
        """Give the NumPy type of a `DataType`."""
        if trt_type.name not in NUMPY_TYPES:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return NUMPY_TYPES[trt_type.name]

    return nptype


def make_volume(simulation: Any) -> Any:
    """Make the module's `volume`."""

    def volume(iterable: Iterable[int]) -> int:
        """Give the product; 1 for a scalar's empty shape."""
        return math.prod(iterable)

    return volume
