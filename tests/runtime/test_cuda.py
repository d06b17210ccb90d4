"""The GPU's context, memory, queues and graphs, on the simulated driver; each test ends with nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.errors import EngineError, MissingDependencyError
from edgeyolo.runtime.cuda import Buffer, Device, Queue
from tests.parts import PROJECT
from tests.sim.cuda.simulator import LAUNCH_FAILED, NOT_SUPPORTED, Simulator

pytestmark = pytest.mark.needs("cudasim")

INTEGRATED = 18  # CU_DEVICE_ATTRIBUTE_INTEGRATED
once = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


@pytest.fixture(params=["integrated", "discrete"])
def gpu(request: pytest.FixtureRequest, cuda: Simulator) -> Iterator[Simulator]:
    """Give the simulator as a board whose memory is shared, and as a card with its own."""
    cuda.set_attribute(INTEGRATED, int(request.param == "integrated"))
    yield cuda
    cuda.set_attribute(INTEGRATED, 1)


class Doubler:
    """A program: `output` becomes twice `input` on a queue."""

    def __init__(self, simulator: Simulator, device: Device) -> None:
        self.simulator = simulator
        self.input, self.output = device.buffer((2, 3)), device.buffer((2, 3))
        self.queue = device.queue()

    def submit(self) -> None:
        self.input.upload(self.queue, 2)
        double(self.simulator, self.queue, self.input, self.output)
        self.output.download(self.queue, 2)

    def result(self) -> np.ndarray:
        self.queue.mark()
        self.queue.wait()
        return self.output.array.copy()


def double(simulator: Simulator, queue: Queue, source: Buffer, target: Buffer) -> None:
    addresses = source.address, target.address

    def work(memory: Any) -> None:
        given, made = (memory.array(address, (2, 3), np.float32) for address in addresses)
        made[...] = 2 * given

    assert simulator.enqueue(queue.handle, "double", work) == 0


def in_a_thread(work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - handed to the test
            failures.append(exc)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    assert not failures


def test_what_is_written_in_place_comes_back_doubled(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        program = Doubler(gpu, device)
        for value in (1, 2, 3):
            program.input.array[...] = value
            program.submit()
            np.testing.assert_array_equal(program.result(), np.full((2, 3), 2 * value))
    device.close()


def test_a_board_copies_nothing_and_a_card_copies_what_is_asked_for(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        buffer, queue = device.buffer((4, 5)), device.queue()
        buffer.upload(queue, 3)
        queue.settle()
    assert gpu.report().counts.get("bytes_copied", 0) == (0 if device.integrated else 3 * 5 * 4)
    device.close()


def test_facts(cuda: Simulator) -> None:
    cuda.set_device(name="Orin", compute_capability=(8, 7))
    device = Device("test")
    assert (device.name, device.sm, device.integrated) == ("Orin", (8, 7), True)
    device.close()


def test_a_graph_reads_the_buffer_at_each_launch(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        program = Doubler(gpu, device)
        graph = device.capture(program.queue, program.submit)
        for value in (4, 5, 6):
            program.input.array[...] = value
            graph.launch(program.queue)
            np.testing.assert_array_equal(program.result(), np.full((2, 3), 2 * value))
        graph.close()
        graph.close()
    device.close()


@once
@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_a_capture_that_fails_leaves_the_queue_as_it_was(call: str, cuda: Simulator) -> None:
    device = Device("test")
    with device:
        program = Doubler(cuda, device)
        cuda.fail(call, code=NOT_SUPPORTED)
        with pytest.raises(EngineError, match=f"{call}.* failed: CUDA_ERROR_NOT_SUPPORTED"):
            device.capture(program.queue, program.submit)
        program.input.array[...] = 7
        program.submit()
        assert program.result()[0, 0] == 14
    device.close()


@once
def test_what_cannot_be_captured_is_an_error_and_the_queue_goes_on(cuda: Simulator) -> None:
    device = Device("test")
    with device:
        program = Doubler(cuda, device)

        def work() -> None:
            program.submit()
            program.queue.mark()
            program.queue.wait()  # a capture cannot wait for itself

        with pytest.raises(EngineError, match="captur"):
            device.capture(program.queue, work)
        program.input.array[...] = 7
        program.submit()
        assert program.result()[0, 0] == 14
    cuda.expect("capture")
    device.close()


def test_an_exception_during_a_capture_is_the_callers(cuda: Simulator) -> None:
    device = Device("test")
    with device:
        queue = device.queue()
        with pytest.raises(ZeroDivisionError):
            device.capture(queue, lambda: print(1 / 0))
        queue.settle()
    device.close()


def test_a_queue_waits_for_the_mark_of_another(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        first, second = Doubler(gpu, device), device.queue()
        target = device.buffer((2, 3))
        for value in (1, 2, 3):
            first.input.array[...] = value
            first.submit()
            first.queue.mark()
            second.after(first.queue)
            double(gpu, second, first.output, target)
            target.download(second, 2)
            second.mark()
            second.wait()
            np.testing.assert_array_equal(target.array, np.full((2, 3), 4 * value))
    device.close()


def test_any_thread_may_open_use_and_close(gpu: Simulator) -> None:
    made: list[Device] = []
    programs: list[Doubler] = []

    def open_it() -> None:
        made.append(Device("test"))
        with made[0]:
            programs.append(Doubler(gpu, made[0]))

    def use_it() -> None:
        with made[0]:
            programs[0].input.array[...] = 21
            programs[0].submit()
            assert programs[0].result()[1, 2] == 42

    in_a_thread(open_it)
    in_a_thread(use_it)
    use_it()
    in_a_thread(made[0].close)
    assert gpu.live()["contexts"] == 0


def test_the_context_is_current_inside_only_and_the_users_own_comes_back(cuda: Simulator) -> None:
    import pycuda.driver as drv

    device = Device("test")
    assert cuda.current_context() == 0
    own = drv.Device(0).make_context()
    handle = cuda.current_context()
    with device:
        assert cuda.current_context() not in (0, handle)
        with device:  # a finalizer may come in at any moment
            pass
        assert cuda.current_context() not in (0, handle)
    assert cuda.current_context() == handle
    device.close()
    assert cuda.current_context() == handle
    own.pop()
    own.detach()
    assert cuda.current_context() == 0


def test_an_array_that_is_still_held_stays_readable(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        buffer = device.buffer((2, 3))
        buffer.array[...] = 5
        held = buffer.array[1:]
    device.close()
    device.close()
    np.testing.assert_array_equal(held, np.full((1, 3), 5))
    assert gpu.live()["host"] == 1
    in_a_thread(lambda: None)
    del held
    assert gpu.live() == dict.fromkeys(gpu.live(), 0)


def test_a_closed_buffer_says_so(cuda: Simulator) -> None:
    device = Device("test")
    with device:
        buffer = device.buffer((1, 1))
    device.close()
    with pytest.raises(EngineError, match="closed"):
        _ = buffer.array


def test_closing_waits_for_what_is_on_its_way(gpu: Simulator) -> None:
    device = Device("test")
    with device:
        Doubler(gpu, device).submit()
    device.close()  # the fixture fails on abandoned work and on memory freed under it


def test_an_exception_in_mid_flight_leaves_nothing(gpu: Simulator) -> None:
    device = Device("test")

    def use_it() -> None:
        with device:
            program = Doubler(gpu, device)
            program.submit()
            raise KeyError

    with pytest.raises(KeyError) as held:  # whose traceback holds the program's frame
        use_it()
    device.close()
    assert gpu.live() == dict.fromkeys(gpu.live(), 0)
    assert held


def test_no_memory_left(cuda: Simulator) -> None:
    cuda.set_attribute(INTEGRATED, 0)
    device = Device("m.engine")
    cuda.fail("cuMemAlloc", count=-1)
    with pytest.raises(EngineError, match=r"m\.engine: no GPU memory left") as raised, device:
        device.buffer((4, 4))
    assert raised.value.hint
    device.close()
    cuda.set_attribute(INTEGRATED, 1)


def test_work_that_faults_is_an_error_and_a_new_device_works(cuda: Simulator) -> None:
    device = Device("test")
    cuda.expect("async_error")
    with device:
        program = Doubler(cuda, device)
        cuda.fail("async:double", code=LAUNCH_FAILED)
        program.submit()
    with pytest.raises(EngineError, match="test: CUDA: "), device:
        program.result()
    device.close()

    device = Device("test")
    with device:
        program = Doubler(cuda, device)
        program.input.array[...] = 1
        program.submit()
        assert program.result()[0, 0] == 2
    device.close()


@once
def test_no_device(cuda: Simulator) -> None:
    cuda.set_device(count=0)
    with pytest.raises(
        MissingDependencyError, match="a CUDA device is needed to run a TensorRT engine"
    ) as raised:
        Device("test")
    assert raised.value.exit_code == 3
    assert "--backend onnxruntime" in str(raised.value.hint)
    cuda.set_device()


def test_no_driver_and_no_pycuda() -> None:
    from tests.sim.cuda.build import pycuda_folder

    def said(folder: Path | None) -> str:
        code = (
            "from edgeyolo.errors import MissingDependencyError\n"
            "from edgeyolo.runtime.cuda import Device\n"
            "try: Device('test')\n"
            "except MissingDependencyError as exc: print(exc.message, exc.hint, exc.exit_code, sep='|')\n"
        )
        path = os.pathsep.join(map(str, filter(None, (PROJECT, folder))))
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("LD_LIBRARY_PATH", None)
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        ).stdout

    message, hint, code = said(pycuda_folder()).strip().split("|")
    assert message.startswith("the NVIDIA driver is needed to run a TensorRT engine: PyCUDA is installed and")
    assert message.endswith("does not find libcuda.so.1")
    assert "JetPack" in hint
    assert code == "3"
    message, hint, code = said(None).strip().split("|")
    assert "the package 'pycuda' is needed to run a TensorRT engine, and is not installed" in message
    assert hint == "pip install 'edgeyolo[device]'"
    assert code == "3"
