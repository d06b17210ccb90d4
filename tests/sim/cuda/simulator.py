"""A test's hand on the simulated driver: start it, break it, ask what went wrong, put work on its streams.

`simulated_cuda` gives the one simulator of this process. The fixture ``cuda`` (`tests.sim.cuda.fixtures`) is
what most tests want; a command in a process of its own gets the driver by `Simulator.environment`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from tests.sim.cuda import build

__all__ = [
    "ILLEGAL_ADDRESS",
    "LAUNCH_FAILED",
    "NOT_SUPPORTED",
    "OUT_OF_MEMORY",
    "SCHEDULES",
    "DeviceMemory",
    "IllegalAddressError",
    "Report",
    "Simulator",
    "simulated_cuda",
]

# The schedules under which every GPU test runs; see driver/queue.cpp.
SCHEDULES = ("lazy", "random:1", "random:2", "random:3")

# CUresult
OUT_OF_MEMORY, ILLEGAL_ADDRESS, LAUNCH_FAILED, NOT_SUPPORTED = 2, 700, 719, 801

_WORK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t)


class IllegalAddressError(Exception):
    """Device work touched an address that is not its context's live memory; on a board, CUDA error 700."""


@dataclass(frozen=True)
class Report:
    """What the driver counted since the simulator started.

    Attributes:
        live: What exists now: ``contexts device host streams events graphs graph_execs captures overruns``.
        calls: Driver calls by their documented name, ``{"cuMemAlloc": 2}``.
        counts: Everything else: ``calls operations bytes_copied used_bytes peak_bytes queued injected``, and
            how often each kind of mistake was noted.
        notes: The mistakes in words, ``"leaked: stream"``.
    """

    live: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Report:
        """Read the driver's own form, which ``environment(report=...)`` leaves at the end of a process."""
        notes: list[str] = []
        numbers: dict[str, dict[str, int]] = {"live": {}, "call": {}, "": {}}
        for line in text.splitlines():
            if line.startswith("note "):
                notes.append(line[5:])
                continue
            key, _, value = line.rpartition(" ")
            room, _, name = key.rpartition(":")
            numbers[room][name] = int(value)
        return cls(numbers["live"], numbers["call"], numbers[""], tuple(notes))

    def noted(self, kind: str) -> list[str]:
        """Give the notes of one kind, without the kind."""
        return [text for known, _, text in (note.partition(": ") for note in self.notes) if known == kind]


@dataclass(frozen=True)
class DeviceMemory:
    """One context's memory as its own kernels see it: addresses, and the bytes behind them."""

    simulator: Simulator
    context: int

    def array(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Give the memory at a device address as an array that can be read and written.

        Raises:
            IllegalAddressError: The range is not inside one live allocation of this context.
        """
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        where = self.simulator.library.cusim_device_bytes(self.context, address, size)
        if not where:
            raise IllegalAddressError(f"{address:#x}+{size}")
        data = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(where))
        return data.view(dtype).reshape(shape)


class Simulator:
    """The simulated driver of this process.

    Attributes:
        library: The loaded ``libcuda.so.1``, for calls that pycuda does not have.
        site: The folder that holds pycuda.
        errors: Tracebacks of enqueued work that raised what no kernel can raise.
    """

    def __init__(self, library: Path, site: Path) -> None:
        # Loaded under its soname before pycuda is, which is how pycuda's extension finds it.
        self.library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self.errors: list[str] = []
        self._path = library
        self.site = site
        self._modules: dict[str, ModuleType] = {}
        self._expected: set[str] = set()
        self._queued: dict[int, Callable[[], int]] = {}
        self._tickets = itertools.count(1)
        self._trampoline = _WORK(self._run_queued)
        self._declare()

    def _declare(self) -> None:
        text, size, integer, long = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_long
        pointer, address = ctypes.c_void_p, ctypes.c_uint64
        for name, result, *arguments in (
            ("cusim_reset", None),
            ("cusim_set_device", None, text, size, integer, integer, integer),
            ("cusim_set_attribute", None, integer, integer),
            ("cusim_schedule", integer, text),
            ("cusim_fail", None, text, long, integer, long),
            ("cusim_clear_faults", None),
            ("cusim_note", None, text, text),
            ("cusim_report", size, pointer, size),
            ("cusim_device_bytes", pointer, pointer, address, size),
            ("cusim_current_context", pointer),
            ("cusim_enqueue", integer, pointer, text, _WORK, size, ctypes.POINTER(integer)),
        ):
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments

    # ---- the life of a test --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self, schedule: str = "lazy") -> Iterator[Simulator]:
        """Give a fresh driver, and make ``import pycuda`` find the pycuda that is built on it.

        Raises:
            AssertionError: At the end something is alive, or a mistake was noted that `expect` did not name.
        """
        gc.freeze()  # the collection at the end looks at what came since: a tenth of the time
        self.start(schedule)
        sys.path.insert(0, str(self.site))
        sys.modules.update(self._modules)
        try:
            yield self
        finally:
            gc.collect()  # pycuda frees what Python lets go of
            faults = self.faults_found()
            self._leave_pycuda()
        assert not faults, "on the simulated driver:\n  " + "\n  ".join(faults)

    def start(self, schedule: str = "lazy") -> None:
        """Begin anew: no context, no note, no planted fault, the default device."""
        self.library.cusim_reset()
        self._expected.clear()
        self._queued.clear()
        self.errors.clear()
        self.set_schedule(schedule)

    def _leave_pycuda(self) -> None:
        """Outside a test there is no pycuda and no GPU, as on the machine that the other tests know."""
        driver = sys.modules.get("pycuda.driver")
        while driver is not None and driver.Context.get_current() is not None:  # a failed test's
            driver.Context.pop()
        self.start()
        self.set_device(count=0)
        self._modules = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_pycuda(name)}
        sys.path.remove(str(self.site))

    def faults_found(self) -> list[str]:
        """Give what a correct program would not leave: living objects, queued work, unexpected notes."""
        report = self.report()
        found = [f"{count} {what} still alive" for what, count in report.live.items() if count]
        if report.counts["queued"]:
            found.append(f"{report.counts['queued']} operations still queued")
        found += [note for note in report.notes if note.partition(":")[0] not in self._expected]
        return found + self.errors

    def expect(self, *kinds: str) -> None:
        """Say that this test makes the named mistakes on purpose, such as ``"out_of_bounds"``."""
        self._expected.update(kinds)

    # ---- what the driver does ------------------------------------------------------------------------------

    def set_schedule(self, schedule: str) -> None:
        """Choose when queued work runs: ``lazy``, ``eager`` or ``random:SEED``."""
        if not self.library.cusim_schedule(schedule.encode()):
            raise ValueError(f"schedule {schedule!r}: lazy, eager or random:SEED expected")

    def set_device(
        self,
        *,
        name: str = "Simulated Orin",
        memory: int = 4 << 30,
        compute_capability: tuple[int, int] = (8, 7),
        driver_version: int = 12060,
        count: int = 1,
    ) -> None:
        """Describe the device, before it is used; the defaults are those of a fresh simulator."""
        major, minor = compute_capability
        self.library.cusim_set_device(name.encode(), memory, major * 10 + minor, driver_version, count)

    def set_attribute(self, attribute: int, value: int) -> None:
        """Set a ``CUdevice_attribute``, such as ``int(drv.device_attribute.INTEGRATED)``."""
        self.library.cusim_set_attribute(int(attribute), value)

    def fail(self, call: str, nth: int = 1, code: int = OUT_OF_MEMORY, count: int = 1) -> None:
        """Let a driver call fail at its `nth` use from now, `count` times in a row (-1: for ever).

        ``"async:NAME"`` fails queued work when it runs: HtoDAsync, DtoHAsync, GraphLaunch, or the name given
        to `enqueue`. pycuda asks twice for memory, collecting garbage in between: ``count=2`` refuses it.
        """
        self.library.cusim_fail(call.encode(), nth, code, count)

    def clear_faults(self) -> None:
        """Take back every fault that has not happened yet."""
        self.library.cusim_clear_faults()

    # ---- what it says --------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Give all counts and notes since the start."""
        size = self.library.cusim_report(None, 0) + 4096
        buffer = ctypes.create_string_buffer(size)
        self.library.cusim_report(buffer, size)
        return Report.parse(buffer.value.decode())

    def live(self) -> Mapping[str, int]:
        """Give what exists now, by kind."""
        return self.report().live

    def notes(self) -> tuple[str, ...]:
        """Give the mistakes so far, in words."""
        return self.report().notes

    def calls(self) -> Mapping[str, int]:
        """Give the driver calls so far, by name."""
        return self.report().calls

    def note(self, kind: str, text: str) -> None:
        """Add a mistake that another simulated library saw."""
        self.library.cusim_note(kind.encode(), text.encode())

    # ---- work of a library that launches kernels -----------------------------------------------------------

    def current_context(self) -> int:
        """Give the handle of the context that is current in this thread, 0 without one."""
        return self.library.cusim_current_context() or 0

    def memory(self) -> DeviceMemory:
        """Give the memory of the current context."""
        return DeviceMemory(self, self.current_context())

    def enqueue(self, stream: int, name: str, work: Callable[[DeviceMemory], None]) -> int:
        """Put `work` on a stream of the current context; it runs when the schedule says so, in any thread.

        It may read and write device memory and must not call the driver. `IllegalAddressError` poisons the
        context as a faulting kernel does; any other exception is a mistake of the test and fails it at its
        end. A stream that is being captured takes the work into the graph, and each launch runs it again.

        Returns:
            The driver's answer, 0 for success.
        """
        memory = self.memory()
        captured = ctypes.c_int()
        ticket = next(self._tickets)

        def run() -> int:
            if not captured.value:
                del self._queued[ticket]
            try:
                work(memory)
            except IllegalAddressError:
                return ILLEGAL_ADDRESS
            except BaseException:  # noqa: BLE001 - nothing may cross the C code that called us
                self.errors.append(traceback.format_exc())
                return LAUNCH_FAILED
            return 0

        self._queued[ticket] = run
        code = self.library.cusim_enqueue(
            stream, name.encode(), self._trampoline, ticket, ctypes.byref(captured)
        )
        if code:
            del self._queued[ticket]
        return int(code)

    def _run_queued(self, ticket: int) -> int:
        return self._queued[ticket]()

    # ---- another process -----------------------------------------------------------------------------------

    def environment(self, schedule: str = "lazy", *, report: Path | None = None) -> dict[str, str]:
        """Give the environment in which a process of its own finds this driver and pycuda.

        Args:
            schedule: When queued work runs.
            report: Written when the process ends; `Report.parse` reads it.
        """
        environment = dict(os.environ, CUSIM_SCHEDULE=schedule)
        _prepend(environment, "LD_LIBRARY_PATH", self._path.parent)
        _prepend(environment, "PYTHONPATH", self.site)
        if report is not None:
            environment["CUSIM_REPORT"] = str(report)
        return environment


@functools.cache
def simulated_cuda() -> Simulator:
    """Give the simulator of this process; the part ``cudasim`` says whether there can be one."""
    simulator = Simulator(build.driver_library(), build.pycuda_folder())
    simulator.set_device(count=0)
    return simulator


def _is_pycuda(module: str) -> bool:
    return module == "pycuda" or module.startswith("pycuda.")


def _prepend(environment: dict[str, str], key: str, path: Path) -> None:
    environment[key] = os.pathsep.join(filter(None, (str(path), environment.get(key))))
