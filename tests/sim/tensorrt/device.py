"""Where the simulated TensorRT finds its device: the simulated CUDA driver, or a few lines of Python.

Owns the only contact to the driver. Refuses to hand out memory that the program under test has not: every
address is looked up when the work runs, in the context it was queued from.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tests.sim.cuda.simulator import DeviceMemory, IllegalAddressError, Simulator

__all__ = ["Device", "DriverDevice", "HostDevice", "IllegalAddressError"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Work = Callable[[], None]


class Device(Protocol):
    """What is asked of a device; addresses and handles are ints, 0 is the null of each."""

    def failure(self) -> int:
        """Give the CUDA error that initialisation ends with, 0 where it works."""

    def compute_capability(self) -> tuple[int, int] | None:
        """Give the SM, None where the device does not know."""

    def current(self) -> int:
        """Give the calling thread's context."""

    def allocate(self, size: int) -> int:
        """Give device memory in the current context, 0 where there is none left."""

    def free(self, address: int) -> None:
        """Give memory back."""

    def available(self) -> int:
        """Give the bytes that are free."""

    def view(self, context: int, address: int, size: int) -> Bytes:
        """Give the bytes behind an address.

        Raises:
            IllegalAddressError: Not all of them are the context's live memory.
        """

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        """Put work on a stream; a captured stream runs it at every launch of the graph."""

    def capturing(self, stream: int) -> bool:
        """Tell whether what comes next goes into a graph instead of being run."""

    def synchronize(self, stream: int) -> bool:
        """Wait for a stream."""


class HostDevice:
    """Memory and streams in plain Python, for what needs no driver: builders, parsers, our own tests.

    A stream is any handle; its work runs when `synchronize` is called (the driver's lazy schedule).

    Args:
        memory: Bytes there are.
        error: What cuInit gives.
    """

    def __init__(self, memory: int = 1 << 32, error: int = 0) -> None:
        self._free = memory
        self._error = error
        self._next = 0x7000_0000_0000
        self._blocks: dict[int, Bytes] = {}
        self._queues: dict[int, deque[Work]] = {}
        self._poisoned = False

    def failure(self) -> int:
        return self._error

    def compute_capability(self) -> tuple[int, int] | None:
        return None

    def current(self) -> int:
        return 1

    def allocate(self, size: int) -> int:
        if size > self._free:
            return 0
        self._free -= size
        address, self._next = self._next, self._next + (size + 511) // 256 * 256
        self._blocks[address] = np.full(size, 0xCB, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._free += len(self._blocks.pop(address))

    def available(self) -> int:
        return self._free

    def view(self, context: int, address: int, size: int) -> Bytes:
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + len(block):
                return block[address - start : address - start + size]
        raise IllegalAddressError(f"{address:#x}+{size}")

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        self._queues.setdefault(stream, deque()).append(work)
        return not self._poisoned

    def capturing(self, stream: int) -> bool:
        return False

    def synchronize(self, stream: int) -> bool:
        queue = self._queues.get(stream, deque())
        while queue and not self._poisoned:
            try:
                queue.popleft()()
            except IllegalAddressError:
                self._poisoned = True
        return not self._poisoned


class DriverDevice:
    """The simulated driver, which the program under test drives through pycuda.

    Args:
        simulator: The test's hand on it.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._cuda = simulator.library

    def failure(self) -> int:
        return int(self._cuda.cuInit(0))

    def compute_capability(self) -> tuple[int, int] | None:
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        if self.failure() or self._cuda.cuDeviceGet(ctypes.byref(device), 0):
            return None
        self._cuda.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), device)
        return major.value, minor.value

    def current(self) -> int:
        return self._simulator.current_context()

    def allocate(self, size: int) -> int:
        address = ctypes.c_ulonglong()
        failed = self._cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        return 0 if failed else address.value

    def free(self, address: int) -> None:
        self._cuda.cuMemFree_v2(ctypes.c_ulonglong(address))

    def available(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        failed = self._cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        return 1 << 32 if failed else free.value  # asked without a context

    def view(self, context: int, address: int, size: int) -> Bytes:
        bytes_ = DeviceMemory(self._simulator, context).array(address, (size,), np.uint8)
        return bytes_.view(np.uint8)

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        return self._simulator.enqueue(stream, name, lambda memory: work()) == 0

    def capturing(self, stream: int) -> bool:
        status = ctypes.c_int()
        self._cuda.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
        return bool(status.value)

    def synchronize(self, stream: int) -> bool:
        return self._cuda.cuStreamSynchronize(ctypes.c_void_p(stream)) == 0
