"""Planted mistakes of synchronisation: each shows as wrong numbers under lazy or a random schedule.

The program is what a detector does in each frame: upload, wait across streams, infer, download, wait. Under
the eager schedule, which is how a plain mock behaves, all of the mistakes give the right answer.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from tests.sim.cuda.simulator import SCHEDULES, DeviceMemory, Simulator
from tests.sim.cuda.test_graphs import Graphs

NON_BLOCKING = 1
FRAMES = 4
MISTAKES = (
    "no wait",
    "waits for the wrong stream",
    "waits for an event that was recorded too early",
    "inference does not wait for the upload",
    "inference does not wait for the upload of this frame",
    "input is reused before it was uploaded",
    "two frames in flight share a pinned input",
    "two frames in flight share a device input",
)


class Frames:
    """Two slots in flight: frame k+1 is uploaded while k runs; ``output = 3 * input`` is the inference."""

    def __init__(self, cuda: Simulator, drv: Any, mistake: str | None) -> None:
        self.cuda, self.drv, self.mistake = cuda, drv, mistake
        self.copies, self.compute = drv.Stream(NON_BLOCKING), drv.Stream(NON_BLOCKING)
        self.inputs = [drv.pagelocked_zeros(16, np.float32) for _ in range(2)]
        self.outputs = [drv.pagelocked_zeros(16, np.float32) for _ in range(2)]
        self.device_inputs = [drv.mem_alloc(64) for _ in range(2)]
        self.device_outputs = [drv.mem_alloc(64) for _ in range(2)]
        self.uploaded = [drv.Event() for _ in range(2)]
        self.done = [drv.Event() for _ in range(2)]
        if mistake == "two frames in flight share a pinned input":
            self.inputs[1] = self.inputs[0]
        if mistake == "two frames in flight share a device input":
            self.device_inputs[1] = self.device_inputs[0]

    def run(self) -> list[float]:
        """Give one number a frame, ``3, 6, 9, ...`` where nothing is wrong."""
        results = []
        self.submit(0)
        for frame in range(1, FRAMES + 1):
            if frame < FRAMES:
                self.submit(frame)
            results.append(self.collect(frame - 1))
        self.drv.Context.synchronize()
        return results

    def submit(self, frame: int) -> None:
        slot, mistake = frame % 2, self.mistake
        self.inputs[slot][:] = frame + 1
        if mistake == "inference does not wait for the upload of this frame":
            self.uploaded[slot].record(self.copies)
        self.drv.memcpy_htod_async(self.device_inputs[slot], self.inputs[slot], self.copies)
        if mistake != "inference does not wait for the upload of this frame":
            self.uploaded[slot].record(self.copies)
        if mistake == "input is reused before it was uploaded":
            self.inputs[slot][:] = 99
        if mistake != "inference does not wait for the upload":
            self.compute.wait_for_event(self.uploaded[slot])
        if mistake == "waits for an event that was recorded too early":
            self.done[slot].record(self.compute)
        self.infer(slot)
        self.drv.memcpy_dtoh_async(self.outputs[slot], self.device_outputs[slot], self.compute)
        if mistake != "waits for an event that was recorded too early":
            self.done[slot].record(self.compute)

    def infer(self, slot: int) -> None:
        source, target = int(self.device_inputs[slot]), int(self.device_outputs[slot])

        def triple(memory: DeviceMemory) -> None:
            values = memory.array(source, (16,), np.float32)
            np.multiply(values, 3, out=memory.array(target, (16,), np.float32))

        assert self.cuda.enqueue(self.compute.handle, "inference", triple) == 0

    def collect(self, frame: int) -> float:
        slot = frame % 2
        if self.mistake == "waits for the wrong stream":
            self.copies.synchronize()
        elif self.mistake != "no wait":
            self.done[slot].synchronize()
        return float(self.outputs[slot][0])


def _right(cuda: Simulator, drv: Any, mistake: str | None) -> bool:
    with np.errstate(all="ignore"):  # a mistake may triple uninitialised memory
        return Frames(cuda, drv, mistake).run() == [3.0 * (frame + 1) for frame in range(FRAMES)]


def test_the_correct_program_is_right_under_every_schedule(cuda: Simulator, gpu: Any) -> None:
    for seed in range(25):
        if seed:
            cuda.set_schedule(f"random:{seed}")
        assert _right(cuda, gpu, None)


@pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_shows_and_a_plain_mock_would_hide_it(cuda: Simulator, gpu: Any, mistake: str) -> None:
    caught = []
    for schedule in SCHEDULES:
        cuda.set_schedule(schedule)
        if not _right(cuda, gpu, mistake):
            caught.append(schedule)
    assert caught
    cuda.set_schedule("eager")
    assert _right(cuda, gpu, mistake)


@pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
@pytest.mark.parametrize("mistake", [None, "no wait", "input is reused before it was copied"])
def test_mistakes_around_a_graph_show_too(cuda: Simulator, gpu: Any, mistake: str | None) -> None:
    def run() -> list[float]:
        graphs, stream, buffer = Graphs(cuda), gpu.Stream(NON_BLOCKING), gpu.mem_alloc(4)
        source, target = gpu.pagelocked_zeros(1, np.float32), gpu.pagelocked_zeros(1, np.float32)
        graphs.begin(stream)
        gpu.memcpy_htod_async(buffer, source, stream)
        gpu.memcpy_dtoh_async(target, buffer, stream)
        _, graph = graphs.end(stream)
        executable, results = graphs.instantiate(graph), []
        for frame in range(FRAMES):
            source[:] = frame + 1
            graphs.launch(executable, stream)
            if mistake == "input is reused before it was copied":
                source[:] = 99
            if mistake != "no wait":
                stream.synchronize()
            results.append(float(target[0]))
        stream.synchronize()
        graphs.free(graph, executable)
        return results

    wrong = []
    for schedule in SCHEDULES:
        cuda.set_schedule(schedule)
        if run() != [frame + 1 for frame in range(FRAMES)]:
            wrong.append(schedule)
    assert bool(wrong) == (mistake is not None)


@pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
@pytest.mark.parametrize("mistake", [None, "input is reused before it was read"])
def test_mistakes_with_mapped_memory_show_too(cuda: Simulator, gpu: Any, mistake: str | None) -> None:
    def run() -> list[float]:
        stream, results = gpu.Stream(NON_BLOCKING), []
        flags = gpu.host_alloc_flags.DEVICEMAP
        source = gpu.pagelocked_empty(1, np.float32, mem_flags=flags)
        target = gpu.pagelocked_empty(1, np.float32, mem_flags=flags)
        read, written = (int(array.base.get_device_pointer()) for array in (source, target))

        def triple(memory: DeviceMemory) -> None:
            values = memory.array(read, (1,), np.float32)
            ctypes.memmove(memory.array(written, (1,), np.float32).ctypes.data, (values * 3).ctypes.data, 4)

        for frame in range(FRAMES):
            source[:] = frame + 1
            cuda.enqueue(stream.handle, "inference", triple)
            if mistake:
                source[:] = 99
            stream.synchronize()
            results.append(float(target[0]))
        return results

    wrong = []
    for schedule in SCHEDULES:
        cuda.set_schedule(schedule)
        if run() != [3.0 * (frame + 1) for frame in range(FRAMES)]:
            wrong.append(schedule)
    assert bool(wrong) == (mistake is not None)
