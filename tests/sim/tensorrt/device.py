"""Where the simulated TensorRT finds its device: the simulated CUDA driver, or a few lines of Python.

Owns the only contact to the driver's C interface. Refuses to hand out memory that the program under test has
not: every address is looked up when the work runs, in the context it was queued from.
"""

from __future__ import annotations

import ctypes
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["ILLEGAL_ADDRESS", "LAUNCH_FAILED", "Device", "DriverDevice", "HostDevice", "default_device"]

ILLEGAL_ADDRESS, LAUNCH_FAILED = 700, 719
Work = Callable[[], int]


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

    def view(self, context: int, address: int, size: int) -> Any:
        """Give the bytes behind an address as a buffer, None unless all of them are the context's."""

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        """Put work on a stream; it gives a CUDA error code. A captured stream runs it at every launch."""

    def synchronize(self, stream: int) -> bool:
        """Wait for a stream."""


class HostDevice:
    """Memory and streams in plain Python, for what needs no driver: builders, parsers, our own tests.

    A stream is any handle but 0; its work runs when `synchronize` is called (the lazy schedule).
    """

    def __init__(self, memory: int = 1 << 32) -> None:
        self._free = memory
        self._next = 0x7000_0000_0000
        self._blocks: dict[int, bytearray] = {}
        self._queues: dict[int, deque[Work]] = {}
        self.error = 0  # what a test wants cuInit to give
        self.sticky = 0

    def failure(self) -> int:
        return self.error

    def compute_capability(self) -> tuple[int, int] | None:
        return None

    def current(self) -> int:
        return 1

    def allocate(self, size: int) -> int:
        if size > self._free:
            return 0
        self._free -= size
        address, self._next = self._next, self._next + (size + 511) // 256 * 256
        self._blocks[address] = bytearray(b"\xcb" * size)
        return address

    def free(self, address: int) -> None:
        self._free += len(self._blocks.pop(address))

    def available(self) -> int:
        return self._free

    def view(self, context: int, address: int, size: int) -> Any:
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + len(block):
                return memoryview(block)[address - start : address - start + size]
        return None

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        self._queues.setdefault(stream, deque()).append(work)
        return not self.sticky

    def synchronize(self, stream: int) -> bool:
        queue = self._queues.get(stream, deque())
        while queue and not self.sticky:
            self.sticky = queue.popleft()()
        return not self.sticky


_HOST_WORK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class DriverDevice:
    """The simulated driver, which the program under test drives through pycuda.

    Args:
        library: libcuda.so.1 of the simulator, loaded.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._cuda = library
        library.cusim_device_bytes.restype = ctypes.c_void_p
        library.cusim_device_bytes.argtypes = [ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_size_t]
        library.cusim_enqueue.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _HOST_WORK, ctypes.c_void_p]
        self._run = _HOST_WORK(self._work_of)  # one for all: the driver may call it as long as it lives
        self._keys = itertools.count(1)
        self._queued: dict[int, tuple[Work, bool]] = {}

    def failure(self) -> int:
        return int(self._cuda.cuInit(0))

    def compute_capability(self) -> tuple[int, int] | None:
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        if self.failure() or self._cuda.cuDeviceGet(ctypes.byref(device), 0):
            return None
        self._cuda.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), device)
        return major.value, minor.value

    def current(self) -> int:
        context = ctypes.c_void_p()
        self._cuda.cuCtxGetCurrent(ctypes.byref(context))
        return context.value or 0

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

    def view(self, context: int, address: int, size: int) -> Any:
        start = self._cuda.cusim_device_bytes(context, address, size)
        return None if start is None else (ctypes.c_char * size).from_address(start)

    def enqueue(self, stream: int, name: str, work: Work) -> bool:
        status = ctypes.c_int()
        self._cuda.cuStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(status))
        key = next(self._keys)
        self._queued[key] = work, bool(status.value)
        if self._cuda.cusim_enqueue(stream, name.encode(), self._run, key):
            self._queued.pop(key, None)
            return False
        return True

    def synchronize(self, stream: int) -> bool:
        return not self._cuda.cuStreamSynchronize(ctypes.c_void_p(stream))

    def _work_of(self, key: int) -> int:
        work, captured = self._queued[key]
        if not captured:  # a graph launches its nodes again and again
            del self._queued[key]
        return work()


def default_device() -> Device:
    """Give the simulated driver where the process has loaded it, else plain Python."""
    try:
        library = ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        library.cusim_enqueue  # noqa: B018  (a real driver does not have it)
    except (OSError, AttributeError):
        return HostDevice()
    return DriverDevice(library)
