"""Work runs when it is waited for, in the order that streams and events give it, and in no other."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.sim.cuda.simulator import DeviceMemory, Simulator

lazy = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


@pytest.mark.parametrize("cuda", ["lazy", "eager", "random:1", "random:2", "random:3"], indirect=True)
def test_what_goes_to_the_device_comes_back(cuda: Simulator, gpu: Any) -> None:
    source = gpu.pagelocked_empty(1000, np.float32)
    source[:] = np.arange(1000)
    target = gpu.pagelocked_zeros(1000, np.float32)
    stream, buffer = gpu.Stream(), gpu.mem_alloc(source.nbytes)
    gpu.memcpy_htod_async(buffer, source, stream)
    gpu.memcpy_dtoh_async(target, buffer, stream)
    stream.synchronize()
    assert (target == source).all()
    assert stream.is_done()


@lazy
def test_without_a_wait_nothing_has_happened(cuda: Simulator, gpu: Any) -> None:
    source, target = gpu.pagelocked_empty(16, np.float32), gpu.pagelocked_zeros(16, np.float32)
    source[:] = 7
    stream, buffer = gpu.Stream(), gpu.mem_alloc(64)
    gpu.memcpy_htod_async(buffer, source, stream)
    gpu.memcpy_dtoh_async(target, buffer, stream)
    assert (target == 0).all()
    stream.synchronize()
    assert (target == 7).all()


@lazy
def test_a_pinned_source_is_read_when_the_copy_runs(cuda: Simulator, gpu: Any) -> None:
    source, result = gpu.pagelocked_empty(16, np.float32), np.empty(16, np.float32)
    stream, buffer = gpu.Stream(), gpu.mem_alloc(64)
    source[:] = 1
    gpu.memcpy_htod_async(buffer, source, stream)
    source[:] = 2  # too early
    stream.synchronize()
    gpu.memcpy_dtoh(result, buffer)
    assert (result == 2).all()


def test_a_pageable_source_is_staged_and_noted(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("pageable_async")
    source, result = np.full(16, 1, np.float32), np.empty(16, np.float32)
    stream, buffer = gpu.Stream(), gpu.mem_alloc(64)
    gpu.memcpy_htod_async(buffer, source, stream)
    source[:] = 2
    gpu.memcpy_dtoh_async(result, buffer, stream)  # and a pageable target makes the call wait
    assert (result == 1).all()
    assert len(cuda.report().noted("pageable_async")) == 2


def test_events_order_streams(cuda: Simulator, gpu: Any) -> None:
    upload, download = gpu.Stream(NON_BLOCKING), gpu.Stream(NON_BLOCKING)
    start, uploaded = gpu.Event(), gpu.Event()
    source, target = gpu.pagelocked_empty(4, np.int32), gpu.pagelocked_zeros(4, np.int32)
    source[:] = 5
    buffer = gpu.mem_alloc(16)
    start.record(upload)
    gpu.memcpy_htod_async(buffer, source, upload)
    uploaded.record(upload)
    download.wait_for_event(uploaded)
    gpu.memcpy_dtoh_async(target, buffer, download)
    download.synchronize()
    assert (target == 5).all()
    assert uploaded.query()
    assert start.time_till(uploaded) >= 0


@lazy
def test_streams_without_an_event_have_no_order(cuda: Simulator, gpu: Any) -> None:
    upload, download = gpu.Stream(NON_BLOCKING), gpu.Stream(NON_BLOCKING)
    source, target = gpu.pagelocked_zeros(4, np.int32), gpu.pagelocked_zeros(4, np.int32)
    buffer = gpu.mem_alloc(16)
    gpu.memcpy_htod_async(buffer, source, upload)
    gpu.memcpy_dtoh_async(target, buffer, download)
    download.synchronize()
    assert (target.view(np.uint8) == 0xCB).all()  # what the buffer held before
    upload.synchronize()


def test_waiting_for_an_event_that_was_never_recorded_is_no_wait(cuda: Simulator, gpu: Any) -> None:
    stream, event = gpu.Stream(), gpu.Event()
    stream.wait_for_event(event)
    event.synchronize()
    assert event.query()
    assert stream.is_done()


@lazy
def test_an_event_stands_for_its_last_record(cuda: Simulator, gpu: Any) -> None:
    stream, event, buffer = gpu.Stream(NON_BLOCKING), gpu.Event(), gpu.mem_alloc(4)
    event.record(stream)
    gpu.memset_d32_async(int(buffer), 1, 1, stream)
    event.synchronize()
    assert not stream.is_done()  # the fill came after the record
    gpu.memset_d32_async(int(buffer), 1, 1, stream)
    event.record(stream)
    event.synchronize()
    assert stream.is_done()


@pytest.mark.parametrize("flags", [0, NON_BLOCKING])
def test_the_null_stream_waits_for_blocking_streams_only(cuda: Simulator, gpu: Any, flags: int) -> None:
    cuda.set_schedule("lazy")
    stream, buffer = gpu.Stream(flags), gpu.mem_alloc(4)
    gpu.memset_d32(int(buffer), 1, 1)
    gpu.Context.synchronize()
    gpu.memset_d32_async(int(buffer), 2, 1, stream)
    result = np.zeros(1, np.uint32)
    gpu.memcpy_dtoh(result, buffer)
    assert result[0] == (1 if flags == NON_BLOCKING else 2)
    stream.synchronize()


@lazy
@pytest.mark.parametrize("flags", [0, NON_BLOCKING])
def test_blocking_streams_only_wait_for_the_null_stream(cuda: Simulator, gpu: Any, flags: int) -> None:
    stream, buffer, target = gpu.Stream(flags), gpu.mem_alloc(4), gpu.pagelocked_zeros(1, np.uint32)
    gpu.memset_d32(int(buffer), 1, 1)
    gpu.Context.synchronize()
    gpu.memset_d32(int(buffer), 2, 1)  # asynchronous to the host, in the NULL stream
    gpu.memcpy_dtoh_async(target, buffer, stream)
    stream.synchronize()
    assert target[0] == (1 if flags == NON_BLOCKING else 2)
    gpu.Context.synchronize()


def test_polling_ends(cuda: Simulator, gpu: Any) -> None:
    stream, event, buffer = gpu.Stream(), gpu.Event(), gpu.mem_alloc(16)
    for _ in range(3):
        gpu.memset_d32_async(int(buffer), 1, 4, stream)
    event.record(stream)
    polls = 0
    while not event.query():
        polls += 1
    assert polls < 10


def test_a_seed_fixes_how_far_the_device_gets(cuda: Simulator, gpu: Any) -> None:
    def progress(seed: int) -> list[int]:
        cuda.set_schedule(f"random:{seed}")
        stream, buffer, done = gpu.Stream(), gpu.mem_alloc(4), []
        for _ in range(40):
            gpu.memset_d32_async(int(buffer), 1, 1, stream)
            done.append(cuda.report().counts["queued"])
        stream.synchronize()
        return done

    assert progress(5) == progress(5)
    assert progress(5) != progress(6)


def test_work_that_was_put_on_a_stream_runs_in_its_turn(cuda: Simulator, gpu: Any) -> None:
    source, target = gpu.pagelocked_empty(8, np.float32), gpu.pagelocked_zeros(8, np.float32)
    source[:] = np.arange(8)
    stream, buffer = gpu.Stream(), gpu.mem_alloc(32)

    def double(memory: DeviceMemory) -> None:
        values = memory.array(int(buffer), (8,), np.float32)
        np.multiply(values, 2, out=values)

    gpu.memcpy_htod_async(buffer, source, stream)
    assert cuda.enqueue(stream.handle, "double", double) == 0
    gpu.memcpy_dtoh_async(target, buffer, stream)
    stream.synchronize()
    assert (target == 2 * source).all()


def test_a_thread_that_waits_for_anothers_work_lets_go_of_the_gil(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("free_with_pending")
    cuda.set_schedule("lazy")
    context, stream, buffer = gpu.Context.get_current(), gpu.Stream(), gpu.mem_alloc(4)
    running = threading.Event()

    def slow(memory: DeviceMemory) -> None:
        running.set()
        time.sleep(0.05)  # gives the GIL to the main thread, which then waits for this work inside cuMemFree

    def wait() -> None:
        context.push()
        stream.synchronize()
        context.pop()

    cuda.enqueue(stream.handle, "slow", slow)
    thread = threading.Thread(target=wait)
    thread.start()
    running.wait()
    buffer.free()  # pycuda keeps the GIL in this call, and the work cannot end without it
    thread.join()


def test_threads_with_contexts_of_their_own_do_not_disturb_each_other(cuda: Simulator, drv: Any) -> None:
    wrong = []

    def work(number: int) -> None:
        context = drv.Device(0).make_context()
        stream, buffer = drv.Stream(), drv.mem_alloc(1024)
        source, target = drv.pagelocked_empty(256, np.int32), drv.pagelocked_zeros(256, np.int32)
        for step in range(50):
            source[:] = number * 1000 + step
            drv.memcpy_htod_async(buffer, source, stream)
            drv.memcpy_dtoh_async(target, buffer, stream)
            stream.synchronize()
            if not (target == source).all():
                wrong.append((number, step))
        buffer.free()
        del stream, source, target, buffer
        context.pop()
        context.detach()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@lazy
def test_a_stream_that_is_destroyed_early_still_does_its_work(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("destroyed_with_pending")
    stream, buffer, result = gpu.Stream(), gpu.mem_alloc(4), np.zeros(1, np.uint32)
    gpu.memset_d32_async(int(buffer), 9, 1, stream)
    del stream
    assert cuda.live()["streams"] == 0
    gpu.Context.synchronize()
    gpu.memcpy_dtoh(result, buffer)
    assert result[0] == 9
