"""Mistakes planted in our own runtime: each must be seen under some schedule, or the tests prove nothing.

A mistake is seen when a frame comes back as another, when anything raises, or when the simulated driver or
the simulated TensorRT notes something: memory freed under work, something left, a pageable copy, a foreign
context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeyolo.runtime.cuda import Buffer, Device, Queue
from edgeyolo.runtime.cuda_library import Graph
from edgeyolo.runtime.tensorrt_engine import TensorRTEngine
from edgeyolo.runtime.tensorrt_slot import Slot
from tests import tiny_models
from tests.parts import require_part
from tests.runtime.tensorrt_plans import KINDS, device_of, open_kind, run_frames, write_engine
from tests.sim.cuda.simulator import SCHEDULES, Simulator, simulated_cuda
from tests.sim.tensorrt import DriverDevice, simulated_tensorrt

pytestmark = pytest.mark.needs("cudasim", "onnx", "onnxruntime")

Plant = Callable[[pytest.MonkeyPatch], None]
MISTAKES: dict[str, tuple[tuple[str, ...], Plant]] = {}
EVERYWHERE = tuple(KINDS)
CARD = tuple(kind for kind in KINDS if "card" in kind)
DYNAMIC = tuple(kind for kind in KINDS if "dynamic" in kind)
GRAPH = ("graph, board", "graph, card")


def mistake(*kinds: str) -> Callable[[Plant], Plant]:
    """Name the ways through the work that a mistake must be seen in."""

    def register(plant: Plant) -> Plant:
        MISTAKES[plant.__name__] = kinds, plant
        return plant

    return register


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Path]:
    """Give an engine of a fixed and one of a dynamic batch."""
    require_part("onnx")
    folder = tmp_path_factory.mktemp("plans")
    made: dict[int | None, Path] = {}
    for batch, name in ((1, "fixed"), (None, "dynamic")):
        model = tiny_models.write_detector(folder / f"{name}.onnx", batch=batch)
        made[batch] = write_engine(model, folder / f"{name}.engine")
    return made


@pytest.fixture(autouse=True)
def _no_noise(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Swallow what pycuda prints of clean-ups that a mistake made impossible."""
    yield
    capfd.readouterr()


def seen(kind: str, schedule: str, plans: dict[int | None, Path], plant: Plant) -> bool:
    """Whether anything shows the mistake."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with simulated_cuda().running(schedule) as simulator, device_of(simulator, kind):
                trt = simulated_tensorrt("10.3", device=DriverDevice(simulator))
                patch.setitem(__import__("sys").modules, "tensorrt", trt)
                plant(patch)
                try:
                    return not _life(simulator, kind, plans[KINDS[kind][0]]) or bool(
                        trt.__simulation__.misuse
                    )
                finally:
                    patch.undo()
        except Exception:  # noqa: BLE001 - any error shows it
            return True


def _life(simulator: Simulator, kind: str, path: Path) -> bool:
    """Open, run frames, close with a frame on its way; tell whether all was right."""
    engine = open_kind(path, kind)
    try:
        right = run_frames(engine) == [] and simulator.current_context() == 0
        engine.start(0)
    finally:
        engine.close()
    return right and simulator.current_context() == 0 and simulator.live()["contexts"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_a_mistake_nothing_is_seen(kind: str, schedule: str, plans: dict[int | None, Path]) -> None:
    assert not seen(kind, schedule, plans, lambda patch: None)


# ---- waiting -----------------------------------------------------------------------------------------------


@mistake(*EVERYWHERE)
def the_host_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Queue, "wait", lambda self: None)


@mistake(*GRAPH, "pieces, board", "pieces, card", "dynamic, card")  # a board computes in order: it is behind
def the_host_waits_for_the_other_slots_mark(patch: pytest.MonkeyPatch) -> None:
    run = TensorRTEngine._run

    def wrong(self: TensorRTEngine, slot: Slot, wanted: int) -> None:
        if len(self._slots) < 2 or slot.started != wanted:
            return run(self, slot, wanted)
        slot.started = None
        return next(other for other in self._slots if other is not slot).queue.wait()

    patch.setattr(TensorRTEngine, "_run", wrong)


@mistake(*EVERYWHERE)
def the_mark_comes_before_the_work(patch: pytest.MonkeyPatch) -> None:
    queue_up, mark = TensorRTEngine._queue_up, Queue.mark

    def early(self: TensorRTEngine, slot: Slot, wanted: int) -> None:
        mark(slot.queue)
        patch.setattr(Queue, "mark", lambda queue: None if queue is slot.queue else mark(queue))
        queue_up(self, slot, wanted)
        patch.setattr(Queue, "mark", mark)

    patch.setattr(TensorRTEngine, "_queue_up", early)


@mistake(*EVERYWHERE)
def the_mark_stays_where_it_was_first(patch: pytest.MonkeyPatch) -> None:
    mark, marked = Queue.mark, set()

    def once(self: Queue) -> None:
        if id(self) not in marked:
            marked.add(id(self))
            mark(self)

    patch.setattr(Queue, "mark", once)


@mistake(*DYNAMIC)
def queues_do_not_wait_for_each_other(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Queue, "after", lambda self, other: None)


@mistake("dynamic, card")
def computing_does_not_wait_for_the_upload(patch: pytest.MonkeyPatch) -> None:
    _skip_after(patch, lambda engine, waiting: waiting is engine._compute)


@mistake(*DYNAMIC)
def the_slot_does_not_wait_for_computing(patch: pytest.MonkeyPatch) -> None:
    _skip_after(patch, lambda engine, waiting: waiting is not engine._compute)


def _skip_after(patch: pytest.MonkeyPatch, skipped: Callable[[TensorRTEngine, Queue], bool]) -> None:
    after, sequence = Queue.after, TensorRTEngine._sequence
    current: list[TensorRTEngine] = []

    def noted(self: TensorRTEngine, slot: Slot, batch: int) -> None:
        current[:] = [self]
        sequence(self, slot, batch)

    patch.setattr(TensorRTEngine, "_sequence", noted)
    patch.setattr(
        Queue, "after", lambda self, other: None if skipped(current[0], self) else after(self, other)
    )


@mistake(*EVERYWHERE)
def closing_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Device, "settle", lambda self: None)


@mistake(*EVERYWHERE)
def the_input_is_written_again_too_early(patch: pytest.MonkeyPatch) -> None:
    queue_up = TensorRTEngine._queue_up

    def early(self: TensorRTEngine, slot: Slot, wanted: int) -> None:
        queue_up(self, slot, wanted)
        slot.images.array[...] = 0.99

    patch.setattr(TensorRTEngine, "_queue_up", early)


# ---- order and place ---------------------------------------------------------------------------------------


@mistake(*CARD)
def nothing_is_uploaded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Buffer, "upload", lambda self, queue, count: None)


@mistake(*CARD)
def the_upload_comes_after_the_inference(patch: pytest.MonkeyPatch) -> None:
    sequence, upload = TensorRTEngine._sequence, Buffer.upload

    def late(self: TensorRTEngine, slot: Slot, batch: int) -> None:
        patch.setattr(Buffer, "upload", lambda buffer, queue, count: None)
        sequence(self, slot, batch)
        patch.setattr(Buffer, "upload", upload)
        upload(slot.images, slot.queue, batch)

    patch.setattr(TensorRTEngine, "_sequence", late)


@mistake(*CARD)
def the_upload_is_on_another_queue(patch: pytest.MonkeyPatch) -> None:
    _copy_elsewhere(patch, "upload")


@mistake(*CARD)
def the_download_is_on_another_queue(patch: pytest.MonkeyPatch) -> None:
    _copy_elsewhere(patch, "download")


def _copy_elsewhere(patch: pytest.MonkeyPatch, name: str) -> None:
    copy, add = getattr(Buffer, name), TensorRTEngine._add_slot
    elsewhere: list[Queue] = []

    def added(self: TensorRTEngine, capacity: int) -> None:
        elsewhere[:] = [self._device.queue()]
        add(self, capacity)

    patch.setattr(TensorRTEngine, "_add_slot", added)
    patch.setattr(Buffer, name, lambda self, queue, count: copy(self, elsewhere[0], count))


@mistake(*CARD)
def the_download_comes_before_the_inference(patch: pytest.MonkeyPatch) -> None:
    execute, download = TensorRTEngine._execute, Buffer.download

    def early(self: TensorRTEngine, slot: Slot, queue: Queue) -> None:
        for result in slot.results.values():
            download(result, slot.queue, 1)
        execute(self, slot, queue)

    patch.setattr(TensorRTEngine, "_execute", early)
    patch.setattr(Buffer, "download", lambda self, queue, count: None)


@mistake("pieces, board", "pieces, card")
def the_inference_is_on_the_other_slots_queue(patch: pytest.MonkeyPatch) -> None:
    execute = TensorRTEngine._execute

    def wrong(self: TensorRTEngine, slot: Slot, queue: Queue) -> None:
        execute(self, slot, next(other.queue for other in self._slots if other is not slot))

    patch.setattr(TensorRTEngine, "_execute", wrong)


@mistake(*DYNAMIC)
def slots_that_share_a_context_compute_on_their_own_queues(patch: pytest.MonkeyPatch) -> None:
    execute = TensorRTEngine._execute
    patch.setattr(TensorRTEngine, "_execute", lambda self, slot, queue: execute(self, slot, slot.queue))


@mistake(*CARD)
def the_copy_is_from_pageable_memory(patch: pytest.MonkeyPatch) -> None:
    def upload(self: Any, queue: Queue, count: int) -> None:
        if self._own is not None:
            self._drv.memcpy_htod_async(self.address, self.array[:count].copy(), queue.stream)

    patch.setattr(Buffer, "upload", upload)


@mistake(*CARD)
def the_device_memory_is_too_small(patch: pytest.MonkeyPatch) -> None:
    init = Buffer.__init__

    def small(self: Any, device: Device, shape: tuple[int, ...]) -> None:
        init(self, device, shape)
        self._own.free()
        self._own = self._drv.mem_alloc(self.array.nbytes // 2)
        self.address = int(self._own)

    patch.setattr(Buffer, "__init__", small)


# ---- what belongs to whom ----------------------------------------------------------------------------------


@mistake(*EVERYWHERE)
def slots_share_their_buffers(patch: pytest.MonkeyPatch) -> None:
    made: dict[tuple[int, ...], Buffer] = {}
    buffer = Device.buffer

    def shared(self: Device, shape: tuple[int, ...]) -> Buffer:
        if shape not in made:
            made[shape] = buffer(self, shape)
        return made[shape]

    patch.setattr(Device, "buffer", shared)


@mistake(*EVERYWHERE)
def slots_share_their_input(patch: pytest.MonkeyPatch) -> None:
    add = TensorRTEngine._add_slot

    def added(self: TensorRTEngine, capacity: int) -> None:
        add(self, capacity)
        self._slots[-1].images = self._slots[0].images
        if self._compute is None:
            self._bind(self._slots[-1])

    patch.setattr(TensorRTEngine, "_add_slot", added)


@mistake(*DYNAMIC)
def the_shared_context_keeps_the_first_slots_addresses(patch: pytest.MonkeyPatch) -> None:
    turn_to = TensorRTEngine._turn_to

    def once(self: TensorRTEngine, slot: Slot, batch: int) -> None:
        turn_to(self, self._slots[0], batch)

    patch.setattr(TensorRTEngine, "_turn_to", once)


@mistake(*GRAPH)
def both_slots_launch_one_graph(patch: pytest.MonkeyPatch) -> None:
    capture = TensorRTEngine._capture

    def shared(self: TensorRTEngine) -> None:
        capture(self)
        self._slots[1].drop_graph()
        self._slots[1].graph = self._slots[0].graph

    patch.setattr(TensorRTEngine, "_capture", shared)


@mistake(*GRAPH)
def a_graph_is_launched_on_the_other_slots_queue(patch: pytest.MonkeyPatch) -> None:
    launch, queues = Graph.launch, list[Queue]()

    def wrong(self: Graph, queue: Queue) -> None:
        if queue not in queues:
            queues.append(queue)
        launch(self, next((other for other in queues if other is not queue), queue))

    patch.setattr(Graph, "launch", wrong)


@mistake(*GRAPH)
def the_work_is_run_and_not_captured(patch: pytest.MonkeyPatch) -> None:
    def capture(self: Device, queue: Queue, work: Callable[[], None]) -> Any:
        work()
        return Graph(self._library, __import__("ctypes").c_void_p())

    patch.setattr(Device, "capture", capture)


@mistake(*EVERYWHERE)
def a_slot_is_taken_for_started_for_ever(patch: pytest.MonkeyPatch) -> None:
    run = TensorRTEngine._run

    def wrong(self: TensorRTEngine, slot: Slot, wanted: int) -> None:
        run(self, slot, wanted)
        slot.started = wanted

    patch.setattr(TensorRTEngine, "_run", wrong)
    # The frames must not be started ahead, which would queue them anew.
    patch.setattr(TensorRTEngine, "start", lambda self, slot, batch=None: None)


@mistake(*EVERYWHERE)
def results_are_of_one_slot(patch: pytest.MonkeyPatch) -> None:
    outputs, first = Slot.outputs, list[Slot]()

    def wrong(self: Slot, batch: int) -> Any:
        first.append(self)
        return outputs(first[0], batch)

    patch.setattr(Slot, "outputs", wrong)


# ---- contexts and memory -----------------------------------------------------------------------------------


@mistake(*EVERYWHERE)
def the_context_is_not_made_current(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Device, "__enter__", lambda self: self)
    patch.setattr(Device, "__exit__", lambda self, *_: None)


@mistake(*EVERYWHERE)
def the_context_stays_current(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Device, "__exit__", lambda self, *_: self._leave())


@mistake(*EVERYWHERE)
def the_context_is_never_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Device, "_let_go", lambda self: None)


@mistake(*EVERYWHERE)
def the_context_is_released_first(patch: pytest.MonkeyPatch) -> None:
    close = Device.close

    def early(self: Device, before: Callable[[], None] | None = None) -> None:
        self._let_go()
        close(self, before)

    patch.setattr(Device, "close", early)


@mistake(*CARD)
def device_memory_is_never_freed(patch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def close(self: Any) -> None:
        kept.append(self._own)
        self._own = self._array = None

    patch.setattr(Buffer, "close", close)


@mistake(*EVERYWHERE)
def contexts_outlive_the_device(patch: pytest.MonkeyPatch) -> None:
    close, kept = Slot.close, list[Any]()

    def wrong(self: Slot) -> None:
        kept.append(self.opened)
        close(self)

    patch.setattr(Slot, "close", wrong)


@mistake(*GRAPH)
def graphs_are_never_destroyed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Graph, "close", lambda self: None)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_seen(name: str, plans: dict[int | None, Path]) -> None:
    kinds, plant = MISTAKES[name]
    unseen = [kind for kind in kinds if not any(seen(kind, schedule, plans, plant) for schedule in SCHEDULES)]
    assert unseen == []
