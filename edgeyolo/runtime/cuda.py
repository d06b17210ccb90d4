"""The GPU: its context, the memory that host and device share or mirror, queues of work, captured graphs.

The only module that knows PyCUDA. Owns the life of everything it hands out: what is closed is freed in order,
closing twice is harmless, and a pinned array that somebody still holds stays readable until they let go.
Refuses to know what is computed.

Threads: any thread may work on the device inside ``with device:``, which makes the context current in that
thread and takes it away again; `Device.close` waits until all have left. ``pycuda.autoinit`` would bind it to
the thread that imports it, and abort the process at exit if another one uses it.

Source: CUDA Driver API, sections Primary Context Management and Stream Management.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import EngineError, InferenceError, MissingDependencyError
from edgeyolo.optional import require
from edgeyolo.runtime.cuda_library import LIBRARY, Graph, Library

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Buffer", "Device", "Graph", "Queue"]

_WHY = "to run a TensorRT engine"
_ON_THE_PROCESSOR = "for the processor: edgeyolo build MODEL.onnx -o OUT.engine --backend onnxruntime"
# Source: cuda.h. A non-blocking stream does not wait for work of others on the default stream. A blocking
# event lets the waiting thread sleep; by default it spins, and takes a core from the decoder.
_STREAM_NON_BLOCKING = 1
_EVENT_BLOCKING_SYNC, _EVENT_DISABLE_TIMING = 1, 2
# Calls that a capture forbids are forbidden to the capturing thread only: another slot's go on meanwhile.
_CAPTURE_THREAD_LOCAL = 1


class Device:
    """The first CUDA device with its primary context, which TensorRT uses too.

    Errors of CUDA inside ``with device:`` leave it as `EngineError`. After a fault on the GPU they say that
    this process cannot use CUDA any more: the context is broken, and TensorRT holds it to the process's end.

    Args:
        owner: What errors are about, such as the path of an engine.

    Raises:
        MissingDependencyError: PyCUDA, the driver or a device is absent.
        EngineError: The device refuses a context.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._drv = _pycuda()
        self._errors = (self._drv.Error, EngineError)
        device = _first_device(self._drv)
        self._library = Library(owner)
        self._changing = threading.RLock()  # re-entrant: the collector may free an array at any moment
        self._left = threading.Condition(self._changing)
        self._owned: list[Buffer | Queue] = []
        self._inside = 0  # times that threads have entered and not left
        self._holders = 1  # this object, and each pinned array
        self._closed = False
        facts = self._drv.device_attribute
        try:
            self.name: str = device.name()
            self.sm: tuple[int, int] = tuple(device.compute_capability())
            self.multiprocessors = int(device.get_attribute(facts.MULTIPROCESSOR_COUNT))
            self.integrated = bool(
                device.get_attribute(facts.INTEGRATED) and device.get_attribute(facts.CAN_MAP_HOST_MEMORY)
            )
            self._cuda_context: Any = device.retain_primary_context()
        except self._drv.Error as exc:
            raise self._translated(exc) from exc

    def __enter__(self) -> Device:
        with self._changing:
            if self._closed:
                raise EngineError(f"{self._owner}: the GPU is closed")
            self._inside += 1
        try:
            self._cuda_context.push()
        except BaseException as exc:
            self._leave()
            if isinstance(exc, self._drv.Error):
                raise self._translated(exc) from exc
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = error is not None and isinstance(error, self._errors) and self._library.lost()
        try:
            self._cuda_context.pop()
        except self._drv.Error as exc:
            error = error or exc
        finally:
            self._leave()
        if error is None:
            return
        if lost:
            raise self._lost(error) from error
        if isinstance(error, self._drv.Error):
            raise self._translated(error) from error

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Make a float32 buffer of zeros; inside ``with device:``."""
        return Buffer(self, shape)

    def queue(self) -> Queue:
        """Make a queue of work; inside ``with device:``."""
        return Queue(self)

    def capture(self, queue: Queue, work: Callable[[], None]) -> Graph:
        """Record what `work` puts on a queue, without running it, as one piece that can be launched.

        Args:
            queue: Must have nothing waiting.
            work: Puts asynchronous work on `queue` and nowhere else; has been run before, so that whatever is
                loaded at the first run has been loaded.

        Raises:
            EngineError: The driver has no graphs, or something in `work` cannot be captured. The queue is
                as before.
        """
        stream = queue.pointer
        self._library.call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)
        graph = ctypes.c_void_p()
        try:
            work()
            self._library.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        except BaseException as exc:
            # A queue that went on capturing would swallow all work to come.
            self._library.attempt("cuStreamEndCapture", stream, ctypes.byref(graph))
            self._library.destroy("cuGraphDestroy", graph)
            if isinstance(exc, self._drv.Error):
                raise self._translated(exc) from exc
            raise
        runnable = ctypes.c_void_p()
        try:
            self._library.call(
                "cuGraphInstantiateWithFlags", ctypes.byref(runnable), graph, ctypes.c_ulonglong(0)
            )
        finally:
            self._library.destroy("cuGraphDestroy", graph)
        return Graph(self._library, runnable)

    def settle(self) -> None:
        """Wait for all work on all queues, whether it succeeds or not; inside ``with device:``."""
        for owned in self._owned:
            if isinstance(owned, Queue):
                owned.settle()

    def close(self, before: Callable[[], None] | None = None) -> None:
        """Free all buffers and queues, after all threads have left and all work is done; twice is harmless.

        Not to be called inside ``with device:``. The context is given back as soon as nobody holds a pinned
        array of it any more.

        Args:
            before: Frees what others made of them, first.
        """
        with self._changing:
            if self._closed:
                return
            self._closed = True
            while self._inside:
                self._left.wait()
        try:
            with self._current():
                self.settle()
                if before is not None:
                    before()
                while self._owned:
                    self._owned.pop().close()
        finally:
            self._let_go()

    def _leave(self) -> None:
        with self._changing:
            self._inside -= 1
            if self._closed:
                self._left.notify_all()

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        """Make the context current although the device is closed."""
        try:
            self._cuda_context.push()
            try:
                yield
            finally:
                self._cuda_context.pop()
        except self._drv.Error as exc:
            raise self._translated(exc) from exc

    def _pin(self, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], Any]:
        """Allocate pinned memory that lives exactly as long as the array and views of it."""
        flags = self._drv.host_alloc_flags
        mode = flags.DEVICEMAP if self.integrated else 0
        array = self._drv.pagelocked_empty(shape, np.float32, mem_flags=mode)
        allocation = array.base
        with self._changing:
            self._holders += 1
        # PyCUDA frees it with the array too, and only where its context is current: not after close().
        weakref.finalize(array, self._unpin, allocation).atexit = False  # the process takes it along
        array[...] = 0
        return array, allocation

    def _unpin(self, allocation: Any) -> None:
        with self._current():
            allocation.free()
        self._let_go()

    def _let_go(self) -> None:
        """Count one holder less; the last one releases the primary context, in whichever thread it is.

        PyCUDA's `detach` releases it where it is current only (elsewhere it just forgets it), and then leaves
        it on the driver's stack: so it is taken off first. `detach` also makes current what was below.
        """
        with self._changing:
            self._holders -= 1
            if self._holders:
                return
        self._cuda_context.push()
        self._library.attempt("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        self._cuda_context.detach()

    def _lost(self, error: BaseException | None) -> InferenceError:
        said = error.message if isinstance(error, EngineError) else f"{self._owner}: CUDA: {error}"
        return InferenceError(
            f"{said}; this process cannot use CUDA any more",
            hint="start the program again; if the fault comes back, build the engine again",
        )

    def _translated(self, exc: BaseException) -> EngineError:
        if isinstance(exc, self._drv.MemoryError):
            return EngineError(
                f"{self._owner}: no GPU memory left: {exc}",
                hint="close what else uses the GPU; a smaller input or batch, or fp16, needs less",
            )
        return EngineError(f"{self._owner}: CUDA: {exc}", hint="edgeyolo doctor")


class Buffer:
    """A float32 array in pinned host memory, and the device memory that belongs to it.

    On an integrated GPU both are the same memory and nothing is copied.

    Args:
        device: Current in this thread.
        shape: Of the array; its first axis is the batch.
    """

    def __init__(self, device: Device, shape: tuple[int, ...]) -> None:
        self._drv = device._drv
        self._own: Any = None
        self._array: npt.NDArray[np.float32] | None = None
        device._owned.append(self)  # first, so that half of it is freed too
        self._array, allocation = device._pin(shape)
        if device.integrated:
            self.address = int(allocation.get_device_pointer())
        else:
            self._own = self._drv.mem_alloc(self._array.nbytes)
            self.address = int(self._own)

    @property
    def array(self) -> npt.NDArray[np.float32]:
        """The host's side, to be read and written in place."""
        if self._array is None:
            raise EngineError("the buffer is closed")
        return self._array

    def upload(self, queue: Queue, count: int) -> None:
        """Queue the copy of the first `count` items to the device."""
        if self._own is not None:
            self._drv.memcpy_htod_async(self.address, self.array[:count], queue.stream)

    def download(self, queue: Queue, count: int) -> None:
        """Queue the copy of the first `count` items from the device."""
        if self._own is not None:
            self._drv.memcpy_dtoh_async(self.array[:count], self.address, queue.stream)

    def close(self) -> None:
        """Free it; inside ``with device:``, after all work on it."""
        if self._own is not None:
            self._own.free()
        self._own = self._array = None


class Queue:
    """Work in order (a CUDA stream), and a mark that host and other queues can wait for (an event).

    The driver's objects are in attributes, so that `close` destroys them even while a traceback holds the
    queue itself.

    Args:
        device: Current in this thread.
    """

    def __init__(self, device: Device) -> None:
        self._drv = device._drv
        self._stream: Any = None
        self._mark: Any = None
        device._owned.append(self)  # first, so that half of it is freed too
        self._stream = self._drv.Stream(_STREAM_NON_BLOCKING)
        self._mark = self._drv.Event(_EVENT_BLOCKING_SYNC | _EVENT_DISABLE_TIMING)
        self.handle: int = self._stream.handle
        self.pointer = ctypes.c_void_p(self.handle)

    @property
    def stream(self) -> Any:
        """PyCUDA's stream."""
        return self._stream

    def mark(self) -> None:
        """Put the mark behind all work so far; it moves there from where it was."""
        self._mark.record(self._stream)

    def wait(self) -> None:
        """Let this thread sleep until the device has passed the mark."""
        self._mark.synchronize()

    def after(self, other: Queue) -> None:
        """Let what comes next start when the device has passed the present mark of `other`."""
        self._stream.wait_for_event(other._mark)

    def settle(self) -> None:
        """Wait for all work, whether it succeeds or not."""
        if self._stream is not None:
            with contextlib.suppress(self._drv.Error):  # failed work is over too; who waits for it is told
                self._stream.synchronize()

    def close(self) -> None:
        """Destroy it; inside ``with device:``, after `settle`."""
        self._mark = self._stream = None


def _pycuda() -> ModuleType:
    try:
        return require("pycuda.driver", why=_WHY)
    except MissingDependencyError as exc:
        if LIBRARY in exc.message:
            raise MissingDependencyError(
                f"the NVIDIA driver is needed {_WHY}: PyCUDA is installed and does not find {LIBRARY}",
                hint=f"on a Jetson the driver comes with JetPack; here, {_ON_THE_PROCESSOR}",
            ) from exc
        raise


def _first_device(drv: ModuleType) -> Any:
    try:
        drv.init()
        if drv.Device.count():
            return drv.Device(0)
        found = "the driver finds none"
    except drv.Error as exc:
        found = str(exc)
    raise MissingDependencyError(
        f"a CUDA device is needed {_WHY}: {found}", hint=f"edgeyolo doctor; here, {_ON_THE_PROCESSOR}"
    )
