"""Contexts belong to threads, objects belong to contexts, and a poisoned context stays poisoned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.sim.cuda.simulator import (
    ILLEGAL_ADDRESS,
    LAUNCH_FAILED,
    DeviceMemory,
    Simulator,
)

lazy = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


def _in_a_thread(work: Callable[[], None]) -> Exception | None:
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001 - handed to the test
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@lazy
def test_nothing_works_before_the_driver_is_initialised(cuda: Simulator) -> None:
    import pycuda.driver as drv

    with pytest.raises(drv.LogicError, match="initialization error"):
        drv.Device(0)


@lazy
def test_a_machine_without_a_gpu(cuda: Simulator) -> None:
    import pycuda.driver as drv

    cuda.set_device(count=0)
    with pytest.raises(drv.RuntimeError, match="no CUDA-capable device"):
        drv.init()


@lazy
def test_another_thread_has_no_context_until_it_pushes_one(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("no_context")
    buffer, context = gpu.mem_alloc(16), gpu.Context.get_current()
    raised = _in_a_thread(lambda: gpu.memcpy_htod(buffer, np.zeros(4, np.int32)))
    assert "invalid device context" in str(raised)

    def with_context() -> None:
        context.push()
        gpu.memcpy_htod(buffer, np.full(4, 8, np.int32))
        context.pop()

    assert _in_a_thread(with_context) is None
    result = np.empty(4, np.int32)
    gpu.memcpy_dtoh(result, buffer)
    assert (result == 8).all()


@lazy
def test_one_contexts_objects_are_an_error_in_another(cuda: Simulator, drv: Any) -> None:
    cuda.expect("cross_context")
    first = drv.Device(0).make_context()
    buffer, stream, event = drv.mem_alloc(16), drv.Stream(), drv.Event()
    second = drv.Device(0).make_context()
    with pytest.raises(drv.LogicError, match="invalid argument"):
        drv.memcpy_htod(buffer, np.zeros(4, np.int32))
    with pytest.raises(drv.LogicError, match="invalid resource handle"):
        stream.synchronize()
    with pytest.raises(drv.LogicError, match="invalid resource handle"):
        event.record()
    assert len(cuda.report().noted("cross_context")) == 3
    second.pop()
    second.detach()
    del buffer, stream, event
    first.pop()
    first.detach()


@lazy
def test_the_primary_context_lives_as_long_as_somebody_holds_it(cuda: Simulator, drv: Any) -> None:
    first = drv.Device(0).retain_primary_context()
    second = drv.Device(0).retain_primary_context()
    first.detach()
    assert cuda.live()["contexts"] == 1
    second.detach()
    assert cuda.live()["contexts"] == 0


@lazy
def test_releasing_the_primary_context_too_often_is_noted(cuda: Simulator, drv: Any) -> None:
    cuda.expect("bad_free")
    assert cuda.library.cuDevicePrimaryCtxRelease_v2(0) == 201  # CUDA_ERROR_INVALID_CONTEXT


@lazy
def test_a_call_fails_at_its_nth_use(cuda: Simulator, gpu: Any) -> None:
    cuda.fail("cuMemAlloc", nth=3, count=2)  # pycuda asks again once
    buffers = [gpu.mem_alloc(10), gpu.mem_alloc(10)]
    with pytest.raises(gpu.MemoryError):
        gpu.mem_alloc(10)
    buffers.append(gpu.mem_alloc(10))
    assert cuda.live()["device"] == 3
    assert cuda.calls()["cuMemAlloc"] == 5


@lazy
def test_a_call_fails_until_the_faults_are_cleared(cuda: Simulator, gpu: Any) -> None:
    cuda.fail("cuStreamCreate", code=LAUNCH_FAILED, count=-1)
    for _ in range(3):
        with pytest.raises(gpu.LaunchError, match="unspecified launch failure"):
            gpu.Stream()
    cuda.clear_faults()
    gpu.Stream()


def test_queued_work_fails_where_it_is_waited_for_and_for_good(cuda: Simulator, gpu: Any) -> None:
    cuda.fail("async:HtoDAsync", code=ILLEGAL_ADDRESS)
    stream, buffer, source = gpu.Stream(), gpu.mem_alloc(16), gpu.pagelocked_zeros(4, np.int32)
    gpu.memcpy_htod_async(buffer, source, stream)  # the call itself succeeds
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        stream.synchronize()
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        gpu.mem_alloc(16)


@lazy
def test_a_poisoned_context_runs_nothing_more(cuda: Simulator, gpu: Any) -> None:
    cuda.fail("async:first", code=ILLEGAL_ADDRESS)
    stream, ran = gpu.Stream(), []
    cuda.enqueue(stream.handle, "first", lambda memory: ran.append("first"))
    cuda.enqueue(stream.handle, "second", lambda memory: ran.append("second"))
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        stream.synchronize()
    assert not ran


def test_what_a_poisoned_context_cannot_free_is_no_leak(cuda: Simulator, drv: Any) -> None:
    cuda.expect("dead_context")  # pycuda tries to free the buffer later, and says so on stderr
    context = drv.Device(0).make_context()
    cuda.fail("async:Memset", code=ILLEGAL_ADDRESS)
    buffer = drv.mem_alloc(4)
    drv.memset_d32(int(buffer), 1, 1)
    with pytest.raises(drv.LogicError):
        context.synchronize()
    context.pop()
    context.detach()
    assert not any(cuda.live().values())
    assert not cuda.report().noted("leaked")


@lazy
def test_work_may_not_call_the_driver(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("call_in_host_function")
    answers = []

    def disobedient(memory: DeviceMemory) -> None:
        answers.append(cuda.library.cuCtxSynchronize())

    stream = gpu.Stream()
    cuda.enqueue(stream.handle, "disobedient", disobedient)
    stream.synchronize()
    assert answers == [800]  # CUDA_ERROR_NOT_PERMITTED


@lazy
def test_what_pycuda_links_and_nobody_needs_is_refused(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("unsupported")
    with pytest.raises(gpu.LogicError, match="operation not supported"):
        # Not a module: pycuda puts the compiler's log into its message, and nobody has written one.
        gpu.mem_alloc_pitch(64, 4, 4)
