"""The engine of the device: a TensorRT plan on the GPU.

Owns the slots: what each has in memory and on its queue, and that nothing is read or written too early.
CUDA is in ``cuda``, which plan may run here in ``tensorrt_plan``.

A slot's work is one sequence on the slot's own queue: upload, inference, download, mark. `start` puts it
there and `infer` waits for the mark, so a slot that was started early is uploaded, and its kernels are
queued, while the GPU is still busy with the other slot's.

* A model of a fixed batch has one execution context a slot: slots share nothing, and each slot's whole
  sequence is captured once as a CUDA graph, which a single call launches.
* A model of a dynamic batch has one context for both slots (before TensorRT 10 one profile cannot serve two),
  and a context computes on one queue only: slots upload and download on their own, and compute on a third.

Source: TensorRT documentation, "CUDA Graphs" (one context a graph; run once before the capture) and
"Thread safety".
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import ConfigError, EngineError
from edgeyolo.optional import require
from edgeyolo.runtime.cuda import Device, Queue
from edgeyolo.runtime.tensorrt_plan import Plan, check_gpu, check_version
from edgeyolo.runtime.tensorrt_slot import Slot
from edgeyolo.sidecar import EngineInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TensorRTEngine"]

SLOTS = 2  # one that the GPU works on and one that is filled and queued meanwhile


class TensorRTEngine:
    """An `edgeyolo.runtime.engine.Engine` on TensorRT 8.6, 10 or 11.

    Args:
        path: The plan.
        info: Its sidecar, already proved to belong to it.
        max_batch: Pictures a slot where the model's batch is dynamic.
        graph: Whether to capture a CUDA graph where that is possible.

    Raises:
        StaleEngineError: It was built for another TensorRT or GPU.
        EngineError: It does not load, or the GPU has no memory for it.
        TensorMismatchError: Its tensors are not what the sidecar promises.
        MissingDependencyError: TensorRT, PyCUDA, the driver or the GPU is absent.
        ConfigError: `max_batch` is below 1.
    """

    def __init__(self, path: Path, info: EngineInfo, *, max_batch: int = 1, graph: bool = True) -> None:
        if max_batch < 1:
            raise ConfigError(f"max_batch: 1 or more expected, {max_batch} found")
        trt = require("tensorrt", why="to run this engine")
        check_version(path, info, trt.__version__)
        self._path = path
        self._info = info
        self._notes: list[str] = []
        self._slots: list[Slot] = []
        self._plan: Plan | None = None
        self._changing = threading.Lock()
        self._compute: Queue | None = None  # where slots that share a context compute
        self._bound: Slot | None = None  # whose addresses that context has
        self._device = Device(str(path))
        self._closed = False
        try:
            check_gpu(path, info, self._device)
            with self._device:
                self._open(trt, max_batch)
                if graph and self._compute is None:
                    self._capture()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> EngineInfo:
        """What the sidecar says."""
        return self._info

    @property
    def slots(self) -> int:
        """Number of input buffers."""
        return SLOTS

    @property
    def batch(self) -> int:
        """Pictures that one slot holds."""
        return self._batch

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it runs."""
        return tuple(self._notes)

    def input(self, slot: int) -> npt.NDArray[np.float32]:
        """Give the slot's input buffer, shape ``(batch, C, H, W)``: pinned, written in place."""
        return self._slot(slot).images.array[: self._batch]

    def start(self, slot: int, *, batch: int | None = None) -> None:
        """Begin what `infer` of the same slot and batch then waits for; any thread may call it.

        See `edgeyolo.runtime.engine.Engine.start`.
        """
        current, wanted = self._slot(slot), self._checked(batch)
        with self._device:
            self._queue_up(current, wanted)

    def infer(self, slot: int, *, batch: int | None = None) -> Mapping[str, npt.NDArray[np.float32]]:
        """Run the model on the slot's buffer; see `edgeyolo.runtime.engine.Engine.infer`."""
        current, wanted = self._slot(slot), self._checked(batch)
        with self._device:
            self._run(current, wanted)
            return current.outputs(wanted)

    def inspect(self) -> str:
        """Give what TensorRT's inspector says of the plan, JSON; `tensorrt_layers` reads it.

        Raises:
            EngineError: It says nothing, or the engine is closed.
        """
        self._slot(0)  # is it open?
        with self._device:
            text = self._opened_plan.inspect()
        if text is None:
            raise self._failed("does not say what its layers are")
        return text

    def profile(self, runs: int) -> dict[str, float]:
        """Run slot 0's input, as it is, with TensorRT's profiler; nothing else may be on its way.

        CUDA graphs are given up: what was captured knows of no profiler.

        Returns:
            Layer to milliseconds, over all runs.

        Raises:
            EngineError: A run failed, or the engine is closed.
        """
        slot = self._slot(0)
        with self._device:
            for other in self._slots:
                other.drop_graph()
            profiler = self._opened_plan.profiler()
            # Else each enqueue waits, and is measured with it.
            slot.exec_context.enqueue_emits_profile = False
            slot.exec_context.profiler = profiler
            try:
                for _ in range(runs):
                    slot.started = None
                    self._run(slot, self._batch)
                    if not slot.exec_context.report_to_profiler():
                        raise self._failed("reports no times")
            finally:
                slot.exec_context.profiler = None
        return dict(profiler.ms)

    def close(self) -> None:
        """Free everything, in order, after all work; twice is harmless.

        Any thread may call it: one that is in the middle of `start` or `infer` finishes first.
        """
        with self._changing:
            if self._closed:
                return
            self._closed = True
        self._device.close(self._let_go)

    def _let_go(self) -> None:
        """Let TensorRT's objects go, before the memory that they use."""
        for slot in self._slots:
            slot.close()
        self._slots.clear()
        if self._plan is not None:
            self._plan.close()

    def __enter__(self) -> TensorRTEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # GPU memory is scarce, and what holds it cannot be freed in any order.
        if not getattr(self, "_closed", True):
            warnings.warn(f"{self._path}: an engine that was not closed", ResourceWarning, stacklevel=2)
            self.close()

    def _open(self, trt: Any, max_batch: int) -> None:
        info = self._info
        self._plan = Plan(trt, self._path, info)
        self._least, most = self._plan.batch_range(info)
        self._batch = info.spec.batch or max_batch
        if self._batch > most:
            raise EngineError(
                f"{self._path}: a batch of {self._least}..{most} expected by its profile, "
                f"{self._batch} asked for",
                hint=f"build it again for a larger batch: {info.command}",
            )
        if info.spec.batch is None:
            self._compute = self._device.queue()
        for _ in range(SLOTS):
            self._add_slot(max(self._batch, self._least))

    def _add_slot(self, capacity: int) -> None:
        (images,) = self._info.inputs
        slot = Slot(
            queue=self._device.queue(),
            images=self._device.buffer((capacity, *images.shape[1:])),
            results={t.name: self._device.buffer((capacity, *t.shape[1:])) for t in self._info.outputs},
        )
        self._slots.append(slot)
        if self._compute is not None and slot is not self._slots[0]:
            slot.opened = self._slots[0].opened
            return
        slot.opened = self._opened_plan.engine.create_execution_context()
        if slot.opened is None:
            raise self._failed("gives no execution context", hint="a smaller input or batch needs less")
        if self._compute is None:
            self._bind(slot)

    @property
    def _opened_plan(self) -> Plan:
        if self._plan is None:
            raise self._closed_error()
        return self._plan

    def _bind(self, slot: Slot) -> None:
        """Tell the slot's context the slot's addresses."""
        tensors = {self._info.inputs[0].name: slot.images, **slot.results}
        for name, buffer in tensors.items():
            if not slot.exec_context.set_tensor_address(name, buffer.address):
                raise self._failed(f"refuses the address of {name}")

    def _capture(self) -> None:
        """Capture each slot's sequence as a graph, or say why it is not."""
        batch = self._info.spec.batch or 1
        for slot in self._slots:
            self._run(slot, batch)  # loads what is loaded at the first run; must itself succeed
        try:
            for slot in self._slots:
                sequence = partial(self._sequence, slot, batch)
                slot.graph = self._device.capture(slot.queue, sequence)
                self._run(slot, batch)
        except EngineError as exc:
            for slot in self._slots:
                slot.drop_graph()
            self._notes.append(f"no CUDA graph, each inference is queued piece by piece: {exc.message}")
            for slot in self._slots:  # it was the graph, and not the GPU, or this says so
                slot.started = None
                self._run(slot, batch)

    def _run(self, slot: Slot, wanted: int) -> None:
        """Wait for what was started, or start it; inside ``with device:``."""
        if slot.started != wanted:
            self._queue_up(slot, wanted)
        slot.started = None
        slot.queue.wait()

    def _queue_up(self, slot: Slot, wanted: int) -> None:
        """Put a slot's sequence on its queue; inside ``with device:``."""
        computed = self._info.spec.batch or max(wanted, self._least)
        with self._changing:
            if self._closed:
                raise self._closed_error()
            slot.started = None
            try:
                if slot.graph is not None:
                    slot.graph.launch(slot.queue)
                else:
                    self._sequence(slot, computed)
                slot.queue.mark()
            except BaseException:
                self._device.settle()  # what is on its way must not outlive the error
                raise
            slot.started = wanted

    def _sequence(self, slot: Slot, batch: int) -> None:
        slot.images.upload(slot.queue, batch)
        if self._compute is None:
            self._execute(slot, slot.queue)
        else:
            slot.queue.mark()
            self._compute.after(slot.queue)
            self._turn_to(slot, batch)
            self._execute(slot, self._compute)
            self._compute.mark()
            slot.queue.after(self._compute)
        for result in slot.results.values():
            result.download(slot.queue, batch)

    def _execute(self, slot: Slot, queue: Queue) -> None:
        if not slot.exec_context.execute_async_v3(queue.handle):
            raise self._failed("does not run it")

    def _turn_to(self, slot: Slot, batch: int) -> None:
        """Set the context that slots share for what is queued next; what is queued has its own copy."""
        if self._bound is not slot:
            self._bound = None  # neither slot's, should a call fail
            self._bind(slot)
            self._bound = slot
        tensor = self._info.inputs[0]
        if not slot.exec_context.set_input_shape(tensor.name, (batch, *tensor.shape[1:])):
            raise self._failed(f"refuses a batch of {batch}")

    def _slot(self, index: int) -> Slot:
        if self._closed:
            raise self._closed_error()
        try:
            return self._slots[index]
        except IndexError:  # closed by another thread meanwhile
            raise self._closed_error() from None

    def _checked(self, batch: int | None) -> int:
        wanted = self._batch if batch is None else batch
        if not 1 <= wanted <= self._batch:
            raise EngineError(f"{self._path}: a batch of 1..{self._batch} expected, {wanted} found")
        return wanted

    def _closed_error(self) -> EngineError:
        return EngineError(f"{self._path}: the engine is closed")

    def _failed(self, what: str, *, hint: str | None = None) -> EngineError:
        return EngineError(f"{self._path}: TensorRT {what}: {self._opened_plan.log.reason()}", hint=hint)
