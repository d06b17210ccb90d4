"""A simulated `tensorrt` module for each generation of NVIDIA's API that EdgeYOLO supports.

    trt = simulated_tensorrt("10.3")          # put it into sys.modules, or use the fixture `tensorrt`
    trt.__simulation__                        # the test's handle: boards, faults, messages, misuse

The names, signatures and enum values are those of NVIDIA's own bindings (``surface/*.json``). Inference
runs in ONNX Runtime on the device addresses and the stream that the caller gave, at the time the stream gets
there. What this never says anything about: speed, FP16 and INT8 arithmetic (the ONNX runs as it is), tactics,
fusions, memory that a build really takes, and plugins.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.sim.tensorrt import basics
from tests.sim.tensorrt.board import BOARDS, Board
from tests.sim.tensorrt.builder import Builder
from tests.sim.tensorrt.calibration import CALIBRATORS
from tests.sim.tensorrt.config import BuilderConfig, OptimizationProfile
from tests.sim.tensorrt.context import ExecutionContext
from tests.sim.tensorrt.device import Device, DriverDevice, HostDevice
from tests.sim.tensorrt.inspector import EngineInspector
from tests.sim.tensorrt.network import Layer, Network, Tensor
from tests.sim.tensorrt.parser import OnnxParser, ParserError
from tests.sim.tensorrt.pybind import NotSimulatedError
from tests.sim.tensorrt.runtime import CudaEngine, Runtime
from tests.sim.tensorrt.simulation import FAILURES, GENERATIONS, Simulation, surface
from tests.sim.tensorrt.timing_cache import TimingCache

__all__ = [
    "BOARDS", "FAILURES", "GENERATIONS", "Board", "DriverDevice", "HostDevice", "NotSimulatedError",
    "Simulation", "simulated_tensorrt", "simulation_of", "surface",
]  # fmt: skip

IMPLEMENTATIONS: dict[str, type] = {
    "Builder": Builder,
    "Dims": basics.Dims,
    "EngineInspector": EngineInspector,
    "IBuilderConfig": BuilderConfig,
    "ICudaEngine": CudaEngine,
    "IExecutionContext": ExecutionContext,
    "ILayer": Layer,
    "ILogger": basics.ILogger,
    "INetworkDefinition": Network,
    "IOptimizationProfile": OptimizationProfile,
    "IOutputAllocator": basics.IOutputAllocator,
    "IProfiler": basics.IProfiler,
    "IProgressMonitor": basics.IProgressMonitor,
    "ITensor": Tensor,
    "ITimingCache": TimingCache,
    "Logger": basics.Logger,
    "OnnxParser": OnnxParser,
    "ParserError": ParserError,
    "Profiler": basics.Profiler,
    "Runtime": Runtime,
    **CALIBRATORS,
}
_FUNCTIONS = {
    "nptype": basics.make_nptype,
    "volume": basics.make_volume,
    "init_libnvinfer_plugins": lambda simulation: lambda logger, namespace: True,
}


def simulated_tensorrt(
    generation: str, *, board: str | Board = "orin-nano", device: Device | None = None
) -> ModuleType:
    """Make a module of its own, with no state of an earlier one.

    Args:
        generation: One of `GENERATIONS`.
        board: A key of `BOARDS`, or one's own.
        device: Where memory and streams are; a `HostDevice` by default.
    """
    made = BOARDS[board] if isinstance(board, str) else board
    simulation = Simulation(generation, HostDevice() if device is None else device, made)
    # No `Bound`: only a bytearray can hand out its buffer in Python 3.10 and 3.11.
    memory = type("IHostMemory", (basics.HostMemory,), {"__module__": "tensorrt"})
    vars(simulation.module)["IHostMemory"] = memory
    simulation.assemble(IMPLEMENTATIONS, _FUNCTIONS)
    return simulation.module


def simulation_of(module: Any) -> Simulation:
    """Give the handle on a simulated module."""
    found: Simulation = module.__simulation__
    return found
