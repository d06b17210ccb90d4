"""Stream capture and graphs, by the rules of cuStreamBeginCapture and cuThreadExchangeStreamCaptureMode."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

from tests.sim.cuda.simulator import ILLEGAL_ADDRESS, DeviceMemory, Simulator

lazy = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2  # CUstreamCaptureMode
NON_BLOCKING = 1

# CUresult
ILLEGAL_STATE = 401
UNSUPPORTED, INVALIDATED, UNMATCHED, UNJOINED, IMPLICIT, WRONG_THREAD = 900, 901, 903, 904, 906, 908


class Graphs:
    """The calls that pycuda does not have, with the driver's own answers."""

    def __init__(self, cuda: Simulator) -> None:
        self.cuda, self.library = cuda, cuda.library

    def begin(self, stream: Any, mode: int = THREAD_LOCAL) -> int:
        return int(self.library.cuStreamBeginCapture_v2(ctypes.c_void_p(stream.handle), mode))

    def end(self, stream: Any) -> tuple[int, ctypes.c_void_p]:
        graph = ctypes.c_void_p()
        code = self.library.cuStreamEndCapture(ctypes.c_void_p(stream.handle), ctypes.byref(graph))
        return int(code), graph

    def status(self, stream: Any) -> int:
        found = ctypes.c_int()
        self.library.cuStreamIsCapturing(ctypes.c_void_p(stream.handle), ctypes.byref(found))
        return found.value

    def instantiate(self, graph: ctypes.c_void_p) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        assert self.library.cuGraphInstantiateWithFlags(ctypes.byref(made), graph, ctypes.c_uint64(0)) == 0
        return made

    def launch(self, executable: ctypes.c_void_p, stream: Any) -> int:
        return int(self.library.cuGraphLaunch(executable, ctypes.c_void_p(stream.handle)))

    def free(self, graph: ctypes.c_void_p, executable: ctypes.c_void_p) -> None:
        assert self.library.cuGraphDestroy(graph) == 0
        assert self.library.cuGraphExecDestroy(executable) == 0

    def nodes(self, graph: ctypes.c_void_p) -> int:
        count = ctypes.c_size_t()
        assert self.library.cuGraphGetNodes(graph, None, ctypes.byref(count)) == 0
        return count.value


@pytest.fixture
def graphs(cuda: Simulator, gpu: Any) -> Graphs:
    return Graphs(cuda)


@pytest.mark.parametrize("mode", [GLOBAL, THREAD_LOCAL, RELAXED])
def test_captured_work_runs_at_each_launch_and_not_before(
    cuda: Simulator, gpu: Any, graphs: Graphs, mode: int
) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    source, target = gpu.pagelocked_zeros(8, np.float32), gpu.pagelocked_zeros(8, np.float32)
    buffer = gpu.mem_alloc(32)
    address = int(buffer)

    def add_one(memory: DeviceMemory) -> None:
        values = memory.array(address, (8,), np.float32)
        np.add(values, 1, out=values)

    assert graphs.begin(stream, mode) == 0
    gpu.memcpy_htod_async(buffer, source, stream)
    cuda.enqueue(stream.handle, "add_one", add_one)
    gpu.memcpy_dtoh_async(target, buffer, stream)
    assert graphs.status(stream) == 1
    code, graph = graphs.end(stream)
    assert code == 0
    assert graphs.nodes(graph) == 3
    stream.synchronize()
    assert (target == 0).all()

    executable = graphs.instantiate(graph)
    for frame in range(3):
        source[:] = 10 * frame
        assert graphs.launch(executable, stream) == 0
        stream.synchronize()
        assert (target == 10 * frame + 1).all()
    graphs.free(graph, executable)


@lazy
def test_a_launch_waits_to_be_waited_for(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    buffer, result = gpu.mem_alloc(4), gpu.pagelocked_zeros(1, np.uint32)
    graphs.begin(stream)
    gpu.memset_d32_async(int(buffer), 7, 1, stream)
    gpu.memcpy_dtoh_async(result, buffer, stream)
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    graphs.launch(executable, stream)
    assert result[0] == 0
    graphs.free(graph, executable)  # in flight: freed when it has ended
    stream.synchronize()
    assert result[0] == 7


def test_streams_join_a_capture_and_are_joined_back(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    side, fork, join = gpu.Stream(NON_BLOCKING), gpu.Event(), gpu.Event()
    buffer, result = gpu.mem_alloc(8), gpu.pagelocked_zeros(2, np.uint32)
    graphs.begin(stream)
    gpu.memset_d32_async(int(buffer), 1, 2, stream)
    fork.record(stream)
    side.wait_for_event(fork)
    gpu.memset_d32_async(int(buffer) + 4, 2, 1, side)
    join.record(side)
    stream.wait_for_event(join)
    gpu.memcpy_dtoh_async(result, buffer, stream)
    code, graph = graphs.end(stream)
    assert code == 0
    assert graphs.status(side) == 0
    executable = graphs.instantiate(graph)
    graphs.launch(executable, side)
    side.synchronize()
    assert result.tolist() == [1, 2]
    with pytest.raises(gpu.LogicError, match="event last recorded in a capturing stream"):
        join.query()
    graphs.free(graph, executable)


@lazy
def test_an_event_that_is_recorded_again_outside_is_an_event_again(
    cuda: Simulator, gpu: Any, graphs: Graphs
) -> None:
    stream, event = gpu.Stream(NON_BLOCKING), gpu.Event()
    graphs.begin(stream)
    event.record(stream)
    _, graph = graphs.end(stream)
    with pytest.raises(gpu.LogicError, match="event last recorded in a capturing stream"):
        stream.wait_for_event(event)
    event.record(stream)
    event.synchronize()
    assert event.query()
    cuda.library.cuGraphDestroy(graph)


@lazy
def test_a_launch_comes_after_the_launch_before_in_whatever_stream(
    cuda: Simulator, gpu: Any, graphs: Graphs
) -> None:
    stream, other, launches = gpu.Stream(NON_BLOCKING), gpu.Stream(NON_BLOCKING), []
    graphs.begin(stream)
    cuda.enqueue(stream.handle, "count", lambda memory: launches.append(len(launches)))
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    graphs.launch(executable, stream)
    graphs.launch(executable, other)
    other.synchronize()
    assert launches == [0, 1]
    assert stream.is_done()
    graphs.free(graph, executable)


def test_work_in_a_graph_can_fail(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    cuda.fail("async:Memset", nth=2, code=ILLEGAL_ADDRESS)
    stream, buffer = gpu.Stream(NON_BLOCKING), gpu.mem_alloc(4)
    graphs.begin(stream)
    gpu.memset_d32_async(int(buffer), 1, 1, stream)
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    graphs.launch(executable, stream)
    stream.synchronize()
    graphs.launch(executable, stream)
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        stream.synchronize()


@lazy
def test_nodes_without_an_edge_have_no_order(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    side, fork, join = gpu.Stream(NON_BLOCKING), gpu.Event(), gpu.Event()
    buffer, results = gpu.mem_alloc(4), gpu.pagelocked_zeros(1, np.uint32)
    graphs.begin(stream)
    fork.record(stream)
    side.wait_for_event(fork)
    gpu.memset_d32_async(int(buffer), 1, 1, side)
    gpu.memset_d32_async(int(buffer), 2, 1, stream)
    join.record(side)
    stream.wait_for_event(join)
    gpu.memcpy_dtoh_async(results, buffer, stream)
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    seen = set()
    for seed in range(20):
        cuda.set_schedule(f"random:{seed}")
        graphs.launch(executable, stream)
        stream.synchronize()
        seen.add(int(results[0]))
    assert seen == {1, 2}
    graphs.free(graph, executable)


def _allocate(gpu: Any, stream: Any) -> None:
    gpu.mem_alloc(4)


def _allocate_pinned(gpu: Any, stream: Any) -> None:
    gpu.pagelocked_empty(4, np.uint8)


def _synchronise(gpu: Any, stream: Any) -> None:
    stream.synchronize()


def _query(gpu: Any, stream: Any) -> None:
    gpu.Event().query()


def _synchronise_context(gpu: Any, stream: Any) -> None:
    gpu.Context.synchronize()


@lazy
@pytest.mark.parametrize("unsafe", [_allocate, _allocate_pinned, _synchronise, _query, _synchronise_context])
def test_what_a_capture_cannot_see_invalidates_it(
    cuda: Simulator, gpu: Any, graphs: Graphs, unsafe: Any
) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    graphs.begin(stream, GLOBAL)
    with pytest.raises(gpu.LogicError, match="not permitted when stream is capturing"):
        unsafe(gpu, stream)
    assert graphs.status(stream) == 2
    code, graph = graphs.end(stream)
    assert (code, graph.value) == (INVALIDATED, None)
    stream.synchronize()  # the stream itself is as before


@lazy
@pytest.mark.parametrize(
    ("mode", "thread_mode", "expected"),
    [(GLOBAL, GLOBAL, UNSUPPORTED), (GLOBAL, THREAD_LOCAL, 0), (GLOBAL, RELAXED, 0),
     (THREAD_LOCAL, GLOBAL, 0), (RELAXED, GLOBAL, 0)],
)  # fmt: skip
def test_who_else_may_allocate_depends_on_both_modes(
    cuda: Simulator, gpu: Any, graphs: Graphs, mode: int, thread_mode: int, expected: int
) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    context, codes, address = gpu.Context.get_current(), [], ctypes.c_uint64()

    def elsewhere() -> None:
        context.push()
        own = ctypes.c_int(thread_mode)
        cuda.library.cuThreadExchangeStreamCaptureMode(ctypes.byref(own))
        codes.append(cuda.library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(4)))
        if address.value:
            cuda.library.cuMemFree_v2(address)
        context.pop()

    graphs.begin(stream, mode)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    code, graph = graphs.end(stream)
    assert (codes, code) == ([expected], INVALIDATED if expected else 0)
    if not expected:
        cuda.library.cuGraphDestroy(graph)


@lazy
def test_a_pageable_copy_cannot_be_captured(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture", "pageable_async")
    buffer = gpu.mem_alloc(4)
    graphs.begin(stream)
    with pytest.raises(gpu.LogicError, match="not permitted when stream is capturing"):
        gpu.memcpy_htod_async(buffer, np.zeros(1, np.float32), stream)
    assert graphs.end(stream)[0] == INVALIDATED


@lazy
def test_the_null_stream_would_wait_for_a_blocking_stream(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    cuda.expect("capture")
    blocking, buffer = gpu.Stream(), gpu.mem_alloc(4)
    graphs.begin(blocking)
    status = ctypes.c_int()
    assert cuda.library.cuStreamIsCapturing(None, ctypes.byref(status)) == IMPLICIT
    assert graphs.status(blocking) == 1
    code = cuda.library.cuMemsetD8_v2(ctypes.c_uint64(int(buffer)), 0, ctypes.c_size_t(4))
    assert code == IMPLICIT
    assert graphs.end(blocking)[0] == INVALIDATED


@lazy
def test_no_wait_crosses_the_boundary(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    outside = gpu.Event()
    outside.record(stream)
    stream.synchronize()
    graphs.begin(stream)
    with pytest.raises(gpu.LogicError, match="dependency created on uncaptured work"):
        stream.wait_for_event(outside)
    assert graphs.end(stream)[0] == INVALIDATED


@lazy
def test_two_captures_do_not_merge(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    other, event = gpu.Stream(NON_BLOCKING), gpu.Event()
    graphs.begin(stream)
    graphs.begin(other)
    event.record(other)
    with pytest.raises(gpu.LogicError, match="merge of separate capture sequences"):
        stream.wait_for_event(event)
    assert (graphs.end(stream)[0], graphs.end(other)[0]) == (INVALIDATED, INVALIDATED)


@lazy
def test_a_fork_must_be_joined(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    side, fork, buffer = gpu.Stream(NON_BLOCKING), gpu.Event(), gpu.mem_alloc(4)
    graphs.begin(stream)
    fork.record(stream)
    side.wait_for_event(fork)
    gpu.memset_d32_async(int(buffer), 1, 1, side)
    assert graphs.end(stream)[0] == UNJOINED
    assert graphs.status(side) == 0


@lazy
def test_a_capture_ends_where_it_began(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("capture")
    side, fork, codes = gpu.Stream(NON_BLOCKING), gpu.Event(), []
    context = gpu.Context.get_current()
    assert graphs.end(stream)[0] == ILLEGAL_STATE
    graphs.begin(stream)
    assert graphs.begin(stream) == ILLEGAL_STATE
    fork.record(stream)
    side.wait_for_event(fork)
    assert graphs.end(side)[0] == UNMATCHED

    def elsewhere() -> None:
        context.push()
        codes.append(graphs.end(stream)[0])
        context.pop()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert codes == [WRONG_THREAD]
    assert graphs.end(stream)[0] == INVALIDATED


@lazy
def test_a_stream_that_goes_takes_its_capture_with_it(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    cuda.expect("capture")
    captured = gpu.Stream(NON_BLOCKING)
    graphs.begin(captured)
    del captured
    assert cuda.live()["captures"] == 0
    gpu.mem_alloc(4)


@pytest.mark.parametrize("work", ["fill", "upload"])
def test_a_launch_with_a_stale_address_poisons_the_context(
    cuda: Simulator, gpu: Any, graphs: Graphs, work: str
) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("async_error")
    buffer, source = gpu.mem_alloc(4), gpu.pagelocked_zeros(1, np.uint32)
    graphs.begin(stream)
    if work == "fill":
        gpu.memset_d32_async(int(buffer), 1, 1, stream)
    else:
        gpu.memcpy_htod_async(buffer, source, stream)
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    buffer.free()
    graphs.launch(executable, stream)
    with pytest.raises(gpu.LogicError, match="illegal memory access"):
        stream.synchronize()


@lazy
def test_graphs_that_stay_behind_are_leaks(cuda: Simulator, drv: Any) -> None:
    cuda.expect("leaked")
    context, graphs = drv.Device(0).make_context(), Graphs(cuda)
    stream = drv.Stream()
    graphs.begin(stream)
    _, graph = graphs.end(stream)
    graphs.instantiate(graph)
    assert (cuda.live()["graphs"], cuda.live()["graph_execs"]) == (1, 1)
    del stream
    context.pop()
    context.detach()
    assert cuda.report().noted("leaked") == ["graph", "executable graph"]


@lazy
def test_destroyed_graphs_are_known_as_such(cuda: Simulator, gpu: Any, graphs: Graphs) -> None:
    stream = gpu.Stream(NON_BLOCKING)
    cuda.expect("bad_handle")
    graphs.begin(stream)
    _, graph = graphs.end(stream)
    executable = graphs.instantiate(graph)
    graphs.free(graph, executable)
    assert graphs.launch(executable, stream) == 1  # CUDA_ERROR_INVALID_VALUE
    assert cuda.library.cuGraphDestroy(graph) == 1
