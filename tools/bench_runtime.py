"""Host overhead of the TensorRT engine: what a frame costs the processor beside the GPU's own work.

    python tools/bench_runtime.py [--size 416] [--frames 2000] [--rounds 7]

Runs on the simulated CUDA driver with the real pycuda (``make sim``) and a simulated TensorRT whose inference
does nothing; the time inside the simulated TensorRT is subtracted, the simulated driver's own (which copies
where a card would) is not. A frame is: its tensor is written into the input buffer, inferred, and the results
are there. Beside our engine, a bare loop as one writes it by hand with pycuda: no slots, no checks, no lock,
the context left current. All are measured in turn, round by round, in processor time of the thread; medians
count.

It says nothing about the GPU, nor of what a real driver's calls take.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import thread_time
from types import ModuleType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the simulators, which tests own

from edgeyolo.runtime.tensorrt_engine import TensorRTEngine
from edgeyolo.sidecar import read_sidecar
from edgeyolo.spec import ModelSpec, Preprocess
from tests.runtime.tensorrt_plans import device_of, write_engine
from tests.sim.cuda import build
from tests.sim.cuda.simulator import Simulator, simulated_cuda
from tests.sim.tensorrt import DriverDevice, simulated_tensorrt

CELLS, CLASSES = 2535, 80  # yolov3-tiny at 416
TARGET_MS, TARGET_RATIO = 0.25, 1.2


@dataclass
class Inside:
    """Seconds spent inside the simulated TensorRT."""

    seconds: float = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = thread_time()
            try:
                return function(*args)
            finally:
                self.seconds += thread_time() - start

        return call


def write_model(folder: Path, size: int) -> Path:
    """Write a plan with the tensors of a detector and next to nothing in it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shapes = {"boxes": [1, CELLS, 4], "scores": [1, CELLS, CLASSES]}
    nodes = [helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0)]
    nodes += [helper.make_node("Mul", [f"{name}_0", "most"], [name]) for name in shapes]
    graph = helper.make_graph(
        nodes,
        "nothing",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(np.zeros(shape, np.float32), f"{name}_0") for name, shape in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    spec = ModelSpec(
        task="detect", input_name="images", input_wh=(size, size), batch=1,
        names=tuple(map(str, range(CLASSES))), preprocess=Preprocess(), outputs="decoded",
    )  # fmt: skip
    helper.set_model_props(model, spec.to_metadata())
    onnx.save(model, folder / "m.onnx")
    return write_engine(folder / "m.onnx", folder / "m.engine")


def do_nothing(context: Any, stream: int, *_: Any) -> int:
    """Stand in for the inference: the simulated context's bookkeeping alone."""
    if stream in context._pending:
        context._pending.remove(stream)
    return 0


class Ours:
    """Frames of our engine, in one slot: with two it would be the cache that is measured."""

    def __init__(self, path: Path, *, graph: bool) -> None:
        self.engine = TensorRTEngine(path, read_sidecar(path), graph=graph)

    def infer(self) -> None:
        self.engine.infer(0)

    def fill(self, tensor: np.ndarray) -> None:
        self.engine.input(0)[...] = tensor

    def close(self) -> None:
        self.engine.close()


class Bare:
    """A loop written by hand: pinned memory, one stream, a context that stays current."""

    def __init__(self, trt: ModuleType, path: Path, *, mapped: bool) -> None:
        import pycuda.driver as drv

        drv.init()
        self.drv = drv
        self.owner = drv.Device(0).make_context()
        self.runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = self.runtime.deserialize_cuda_engine(path.read_bytes())
        self.context, self.stream = self.engine.create_execution_context(), drv.Stream()
        self.host: dict[str, Any] = {}
        self.device: dict[str, Any] = {}
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            shape = tuple(self.engine.get_tensor_shape(name))
            flags = drv.host_alloc_flags.DEVICEMAP if mapped else 0
            self.host[name] = drv.pagelocked_empty(shape, np.float32, mem_flags=flags)
            if mapped:
                address = int(self.host[name].base.get_device_pointer())
            else:
                self.device[name] = drv.mem_alloc(self.host[name].nbytes)
                address = int(self.device[name])
            assert self.context.set_tensor_address(name, address)
        self.infer = self.infer_mapped if mapped else self.infer_copying

    def infer_copying(self) -> None:
        drv, host, device, stream = self.drv, self.host, self.device, self.stream
        drv.memcpy_htod_async(device["images"], host["images"], stream)
        self.context.execute_async_v3(stream.handle)
        drv.memcpy_dtoh_async(host["boxes"], device["boxes"], stream)
        drv.memcpy_dtoh_async(host["scores"], device["scores"], stream)
        stream.synchronize()

    def infer_mapped(self) -> None:
        self.context.execute_async_v3(self.stream.handle)
        self.stream.synchronize()

    def fill(self, tensor: np.ndarray) -> None:
        self.host["images"][...] = tensor

    def close(self) -> None:
        del self.context, self.engine, self.runtime, self.stream
        self.host.clear()
        self.device.clear()
        self.owner.pop()
        self.owner.detach()


@dataclass(frozen=True)
class Cost:
    """Of one frame: milliseconds of `infer` alone, and with the tensor written first; driver calls."""

    infer_ms: float
    frame_ms: float
    calls: float


def cost(simulator: Simulator, inside: Inside, loop: Ours | Bare, tensor: np.ndarray, frames: int) -> Cost:
    """Measure frames, after a few that do not count."""

    def mean_ms(frame: Callable[[], None], count: int) -> float:
        for _ in range(20):
            frame()
        inside.seconds, start = 0.0, thread_time()
        for _ in range(count):
            frame()
        return (thread_time() - start - inside.seconds) / count * 1e3

    def whole() -> None:
        loop.fill(tensor)
        loop.infer()

    calls = simulator.report().counts["calls"]
    loop.infer()
    calls = simulator.report().counts["calls"] - calls
    return Cost(mean_ms(loop.infer, frames), mean_ms(whole, frames // 4), calls)


def measure(kind: str, path: Path, size: int, frames: int, rounds: int) -> dict[str, list[Cost]]:
    """Measure each loop in turn, round by round, on a board's or a card's GPU."""
    inside, found = Inside(), dict[str, list[Cost]]()
    tensor = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    for _ in range(rounds):
        with simulated_cuda().running("lazy") as simulator, device_of(simulator, kind):
            trt = sys.modules["tensorrt"] = simulated_tensorrt("10.3", device=DriverDevice(simulator))
            cls: Any = trt.IExecutionContext
            cls._run = do_nothing
            for name in ("execute_async_v3", "_run"):
                setattr(cls, name, inside.timed(getattr(cls, name)))
            for name, make in (
                ("bare loop", partial(Bare, trt, path, mapped="board" in kind)),
                ("ours, CUDA graph", partial(Ours, path, graph=True)),
                ("ours, no graph", partial(Ours, path, graph=False)),
            ):
                with contextlib.closing(make()) as loop:
                    found.setdefault(name, []).append(cost(simulator, inside, loop, tensor, frames))
            del loop
    return found


def table(found: dict[str, list[Cost]], limit_ms: float | None) -> Iterator[tuple[str, bool]]:
    """Give a line a loop, and whether it keeps the targets."""
    for name, costs in found.items():
        pairs = list(zip(costs, found["bare loop"], strict=True))
        frame = statistics.median(each.frame_ms for each in costs)
        ratio = statistics.median(each.frame_ms / other.frame_ms for each, other in pairs)
        alone = statistics.median(each.infer_ms for each in costs) * 1e3
        kept = name == "bare loop" or (frame < (limit_ms or frame + 1) and ratio <= TARGET_RATIO)
        line = f"  {name:17} {frame:6.3f} ms a frame, {ratio:4.2f} x bare; infer() alone {alone:5.1f} us, "
        yield line + f"{costs[0].calls:.0f} driver calls", kept


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if why := build.missing():
        print(why, file=sys.stderr)
        return 3
    all_kept = True
    with tempfile.TemporaryDirectory() as folder:
        path = write_model(Path(folder), options.size)
        for kind, memory in (("graph, board", "mapped memory (a board)"), ("graph, card", "copies (a card)")):
            print(f"{options.size}x{options.size}, {memory}, {options.rounds} rounds of {options.frames}")
            found = measure(kind, path, options.size, options.frames, options.rounds)
            # A card's frame has the simulated driver's copies in it: there the ratio alone tells of us.
            for line, kept in table(found, limit_ms=TARGET_MS if "board" in kind else None):
                print(line)
                all_kept &= kept
    targets = f"targets (under {TARGET_MS} ms a frame on a board, at most {TARGET_RATIO} x bare)"
    print(f"{targets}: {'kept' if all_kept else 'missed'}")
    return 0 if all_kept else 1


if __name__ == "__main__":
    sys.exit(main())
