"""Device, pinned, mapped and registered memory: bounds, owners, lifetimes, and what is left behind."""

from __future__ import annotations

import ctypes
import gc
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.sim.cuda.simulator import IllegalAddressError, Simulator

lazy = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


@lazy
def test_the_device_is_an_orin_unless_told_otherwise(cuda: Simulator, drv: Any) -> None:
    device, attribute = drv.Device(0), drv.device_attribute
    assert drv.get_driver_version() == 12060
    assert (device.name(), device.compute_capability(), device.total_memory()) == (
        "Simulated Orin", (8, 7), 4 << 30,
    )  # fmt: skip
    assert device.get_attribute(attribute.INTEGRATED) == 1
    cuda.set_device(name="Thor", compute_capability=(11, 0), memory=1 << 40, driver_version=13000)
    cuda.set_attribute(attribute.INTEGRATED, 0)
    assert (device.name(), device.compute_capability(), device.total_memory()) == ("Thor", (11, 0), 1 << 40)
    assert device.get_attribute(attribute.INTEGRATED) == 0


@lazy
def test_new_memory_holds_no_zeros(cuda: Simulator, gpu: Any) -> None:
    buffer, result = gpu.mem_alloc(8), np.zeros(8, np.uint8)
    gpu.memcpy_dtoh(result, buffer)
    assert (result == 0xCB).all()
    assert (gpu.pagelocked_empty(8, np.uint8) == 0xCB).all()


@lazy
@pytest.mark.parametrize(("fill", "dtype"), [("memset_d8", np.uint8), ("memset_d16", np.uint16),
                                             ("memset_d32", np.uint32)])  # fmt: skip
def test_fills(cuda: Simulator, gpu: Any, fill: str, dtype: type) -> None:
    buffer = gpu.mem_alloc(64)
    result: npt.NDArray[np.generic] = np.zeros(64 // np.dtype(dtype).itemsize, dtype)
    getattr(gpu, fill)(int(buffer), 200, len(result))
    gpu.memcpy_dtoh(result, buffer)
    assert (result == 200).all()


def test_mapped_memory_is_one_store_with_two_addresses(cuda: Simulator, gpu: Any) -> None:
    host = gpu.pagelocked_empty(64, np.uint8, mem_flags=gpu.host_alloc_flags.DEVICEMAP)
    alias = int(host.base.get_device_pointer())
    assert alias != host.ctypes.data
    stream = gpu.Stream()
    cuda.enqueue(stream.handle, "fill", lambda memory: memory.array(alias, (64,), np.uint8).fill(7))
    stream.synchronize()
    assert (host == 7).all()


@lazy
def test_memory_is_mapped_only_where_that_was_asked_for(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("bad_address")
    host = gpu.pagelocked_empty(64, np.uint8)
    with pytest.raises(gpu.LogicError, match="invalid argument"):
        host.base.get_device_pointer()


@lazy
def test_a_host_address_is_no_device_address(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("bad_address")
    host = gpu.pagelocked_empty(64, np.uint8, mem_flags=gpu.host_alloc_flags.DEVICEMAP)
    for address in (host.ctypes.data, np.zeros(64).ctypes.data, 0):
        with pytest.raises(IllegalAddressError):
            cuda.memory().array(address, (64,), np.uint8)
    assert "host address" in cuda.notes()[0]


@lazy
def test_memory_of_ones_own_can_be_pinned(cuda: Simulator, gpu: Any) -> None:
    # By ctypes: register_host_memory of pycuda 2026.1 frees its argument once too often.
    own = np.zeros(4096, np.uint8)
    address, size = ctypes.c_void_p(own.ctypes.data), ctypes.c_size_t(own.nbytes)
    register, unregister = cuda.library.cuMemHostRegister_v2, cuda.library.cuMemHostUnregister
    assert register(address, size, 0) == 0
    assert cuda.live()["host"] == 1
    assert register(address, size, 0) == 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
    assert unregister(address) == 0
    assert cuda.live()["host"] == 0
    assert unregister(address) == 713  # CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED


@lazy
def test_a_copy_past_the_end_is_refused(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("out_of_bounds")
    buffer = gpu.mem_alloc(64)
    with pytest.raises(gpu.LogicError, match="invalid argument"):
        gpu.memcpy_htod(buffer, np.zeros(65, np.uint8))
    assert cuda.report().noted("out_of_bounds")[0].endswith("passes the end of its allocation of 64 bytes")


@lazy
def test_a_copy_past_the_end_of_pinned_memory_is_refused(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("out_of_bounds")
    buffer, pinned = gpu.mem_alloc(64), gpu.pagelocked_empty(64, np.uint8)
    address = ctypes.c_void_p(pinned.ctypes.data + 1)
    size = ctypes.c_size_t(64)
    assert cuda.library.cuMemcpyHtoD_v2(ctypes.c_uint64(int(buffer)), address, size) == 1
    assert cuda.library.cuMemcpyDtoH_v2(address, ctypes.c_uint64(int(buffer)), size) == 1


@lazy
def test_freed_memory_is_known_as_such_for_ever(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("bad_address", "bad_free")
    buffer = gpu.mem_alloc(64)
    address = int(buffer)
    buffer.free()
    again = [gpu.mem_alloc(64) for _ in range(20)]
    assert address not in map(int, again)
    with pytest.raises(gpu.LogicError):
        gpu.memcpy_htod(address, np.zeros(8, np.uint8))
    assert cuda.library.cuMemFree_v2(ctypes.c_uint64(address)) == 1  # CUDA_ERROR_INVALID_VALUE
    assert cuda.library.cuMemFree_v2(ctypes.c_uint64(int(again[0]) + 4)) == 1


def test_queued_work_that_uses_freed_memory_poisons_the_context(cuda: Simulator, gpu: Any) -> None:
    # What frees memory waits first, so only a graph can come back to it: its launch reads a stale address.
    cuda.expect("async_error", "bad_address")
    stream, buffer = gpu.Stream(), gpu.mem_alloc(64)
    address = int(buffer)
    buffer.free()
    cuda.enqueue(stream.handle, "stale", lambda memory: memory.array(address, (64,), np.uint8).fill(0))
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        stream.synchronize()


@lazy
def test_memory_runs_out(cuda: Simulator, drv: Any) -> None:
    cuda.set_device(memory=1 << 20)
    context = drv.Device(0).retain_primary_context()
    context.push()
    buffer = drv.mem_alloc(768 << 10)
    assert drv.mem_get_info() == (256 << 10, 1 << 20)
    with pytest.raises(drv.MemoryError):
        drv.mem_alloc(512 << 10)
    with pytest.raises(drv.MemoryError):  # an integrated GPU has one memory for both
        drv.pagelocked_empty(512 << 10, np.uint8)
    buffer.free()
    drv.mem_alloc(512 << 10).free()
    context.pop()
    context.detach()


@lazy
def test_what_a_context_takes_with_it_is_a_leak(cuda: Simulator, drv: Any) -> None:
    cuda.expect("leaked", "dead_context")
    context = drv.Device(0).make_context()
    keep = [drv.mem_alloc(100), drv.pagelocked_empty(100, np.uint8), drv.Stream(), drv.Event()]
    assert {kind: count for kind, count in cuda.live().items() if count} == {
        "contexts": 1, "device": 1, "host": 1, "streams": 1, "events": 1,
    }  # fmt: skip
    context.pop()
    context.detach()
    assert sorted(text.split()[0] for text in cuda.report().noted("leaked")) == [
        "device", "event", "host", "stream",
    ]  # fmt: skip
    assert not any(cuda.live().values())
    del keep


@lazy
def test_work_that_a_context_takes_with_it_is_abandoned(cuda: Simulator, drv: Any) -> None:
    cuda.expect("abandoned", "leaked", "dead_context")
    context = drv.Device(0).make_context()
    buffer, stream = drv.mem_alloc(4), drv.Stream()
    drv.memset_d32_async(int(buffer), 1, 1, stream)
    context.pop()
    context.detach()
    assert cuda.report().noted("abandoned") == ["1 operations were queued when their context went"]
    del buffer, stream


@lazy
def test_a_free_while_work_is_queued_is_noted(cuda: Simulator, gpu: Any) -> None:
    cuda.expect("free_with_pending")
    buffer, stream = gpu.mem_alloc(4), gpu.Stream()
    gpu.memset_d32_async(int(buffer), 1, 1, stream)
    buffer.free()
    assert len(cuda.report().noted("free_with_pending")) == 1
    assert stream.is_done()


@pytest.mark.parametrize("when", ["while it lives", "when it is freed"])
@lazy
def test_an_overrun_is_seen(cuda: Simulator, gpu: Any, when: str) -> None:
    cuda.expect("overrun")
    buffer, stream = gpu.mem_alloc(100), gpu.Stream()

    def one_too_many(memory: Any) -> None:
        inside = memory.array(int(buffer), (100,), np.uint8)
        ctypes.memset(inside.ctypes.data + 100, 0, 1)

    cuda.enqueue(stream.handle, "one_too_many", one_too_many)
    stream.synchronize()
    if when == "while it lives":
        assert cuda.live()["overruns"] == 1
    buffer.free()
    assert cuda.live()["overruns"] == 0
    assert len(cuda.report().noted("overrun")) == 1


def test_the_host_cannot_touch_device_memory(simulated_process: dict[str, str]) -> None:
    code = (
        "import ctypes, pycuda.driver as drv; drv.init(); context = drv.Device(0).make_context();"
        "buffer = drv.mem_alloc(16); ctypes.string_at(int(buffer), 4)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=simulated_process, check=False, timeout=60)
    assert done.returncode == -signal.SIGSEGV


@lazy
def test_pinned_arrays_free_themselves(cuda: Simulator, gpu: Any) -> None:
    view = gpu.pagelocked_empty((4, 4), np.float32)[1:]
    gc.collect()
    assert cuda.live()["host"] == 1
    view[:] = 1
    del view
    gc.collect()
    assert cuda.live()["host"] == 0
