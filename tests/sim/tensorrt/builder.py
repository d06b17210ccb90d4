"""The builder: from a network and a configuration to a plan.

Every refusal ends in None and a line on the logger, as the real one's does.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from tests.sim.tensorrt.basics import host_memory
from tests.sim.tensorrt.calibration import CalibrationFailedError, calibrate
from tests.sim.tensorrt.config import DLA_OPERATORS
from tests.sim.tensorrt.onnx_graph import Graph
from tests.sim.tensorrt.plan import Plan
from tests.sim.tensorrt.pybind import call_back, kept
from tests.sim.tensorrt.refusals import dla_cores, refusals

__all__ = ["Builder"]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_INT8_BY_SCALES = (*_WEIGHTED, "MaxPool", "Add", "Relu")


class RefusedError(RuntimeError):
    """A build that gives None; the text is the logger's."""


class Builder:
    """`Builder`."""

    _simulation: Any

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._max_threads = 1
        self._simulation.adopt(self, logger, "createInferBuilder")
        refuse_without_cuda(self._simulation, logger)

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def platform_has_fast_fp16(self) -> bool:
        return self._simulation.board.fast_fp16

    @property
    def platform_has_fast_int8(self) -> bool:
        return self._simulation.board.fast_int8

    @property
    def platform_has_tf32(self) -> bool:
        return self._simulation.board.tf32

    @property
    def num_DLA_cores(self) -> int:
        return dla_cores(self._simulation)

    @property
    def max_DLA_batch_size(self) -> int:
        return 4096 if dla_cores(self._simulation) else 0

    @property
    def max_batch_size(self) -> int:
        return 1

    max_threads = kept("_max_threads")

    def reset(self) -> None:
        """Give nothing up: there is nothing."""

    def create_network(self, flags: int = 0) -> Any:
        return self._simulation.new("INetworkDefinition", flags=flags, builder=self, logger=self._logger)

    def create_builder_config(self) -> Any:
        return self._simulation.new("IBuilderConfig", logger=self._logger)

    def create_optimization_profile(self) -> Any:
        return self._simulation.new("IOptimizationProfile", logger=self._logger)

    def is_network_supported(self, network: Any, config: Any) -> bool:
        return next(refusals(self._simulation, network, config), None) is None

    def build_serialized_network(self, network: Any, config: Any, kernel_text: Any = None) -> Any:
        simulation = self._simulation
        try:
            plan = _build(simulation, network, config, self._logger)
        except (RefusedError, CalibrationFailedError) as exc:
            simulation.log(self._logger, "ERROR", f"IBuilder::buildSerializedNetwork: {exc}")
            return None
        return host_memory(simulation, plan.to_bytes())

    def build_engine(self, network: Any, config: Any) -> Any:
        memory = Builder.build_serialized_network(self, network, config)
        runtime = self._simulation.module.Runtime(self._logger)
        return None if memory is None else runtime.deserialize_cuda_engine(memory)

    build_engine_with_config = build_engine


def refuse_without_cuda(simulation: Any, logger: Any) -> None:
    """Do what the constructors do on a machine without a GPU."""
    if error := simulation.device.failure():
        text = f"CUDA initialization failure with error: {error}. Please check your CUDA installation"
        simulation.log(logger, "ERROR", text)
        raise TypeError("pybind11::init(): factory function returned nullptr")


def _build(simulation: Any, network: Any, config: Any, logger: Any) -> Plan:
    for refusal in refusals(simulation, network, config):
        raise RefusedError(refusal)
    board, settings, graph = simulation.board, config._settings, network._graph
    for flag, fast, what in (("INT8", board.fast_int8, "Int8"), ("FP16", board.fast_fp16, "Half2")):
        if config._has(flag) and not fast:
            text = f"{what} support requested on hardware without native {what} support"
            simulation.log(logger, "WARNING", f"{text}, performance will be negatively affected.")
    scales = _scales(simulation, network, config, logger)
    layers = _layers(network, config, scales)
    _tune(simulation, config, layers, logger)
    facts = {
        "version": list(simulation.version),
        "version_compatible": config._has("VERSION_COMPATIBLE"),
        "hardware_compatibility_level": settings["hardware_compatibility_level"].name,
        "gpu": board.name,
        "compute_capability": list(simulation.compute_capability),
        "profiles": [profile._shapes for profile in config._profiles],
        "layers": layers,
        "profiling_verbosity": settings["profiling_verbosity"].name,
        "strongly_typed": network._strongly_typed(),
        "optimization_level": settings["builder_optimization_level"],
        "scratch": simulation.scratch,
        "name": network._name,
        "dla_core": settings["DLA_core"],
    }
    simulation.builds.append({**facts, "scales": scales})
    return Plan(facts, graph.model.SerializeToString())


def _scales(simulation: Any, network: Any, config: Any, logger: Any) -> dict[str, float]:
    calibrator = config._settings["int8_calibrator"]
    if network._strongly_typed() or not config._has("INT8"):
        return {}
    if network._graph.quantized:
        if calibrator is not None:
            text = (
                "Calibrator won't be used in explicit quantization mode. Please insert Quantize/Dequantize "
                "layers to indicate which tensors to quantize/dequantize."
            )
            simulation.log(logger, "WARNING", text)
        return {}
    if calibrator is None:
        if not network._ranges:
            raise RefusedError(
                "Error Code 4: Internal Error (Calibration failure occurred with no scaling factors)"
            )
        return {name: max(map(abs, limits)) / 127 for name, limits in network._ranges.items()}
    return calibrate(simulation, config, network, logger)


def _layers(network: Any, config: Any, scales: dict[str, float]) -> list[dict[str, Any]]:
    """Give each layer's name, operator, precision, device and tensors; Q/DQ around weighted ones is fused."""
    graph: Graph = network._graph
    made = {name: node for node in graph.model.graph.node for name in node.output}
    layers = []
    for layer in network._layers:
        node = layer._node()
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Constant"):
            continue
        inputs = [name for name in node.input if name and name not in graph.constants]
        explicit = [made[name].op_type == "DequantizeLinear" for name in node.input[:2] if name in made]
        fused = node.op_type in _WEIGHTED and explicit == [True, True]
        if layer._precision is not None and config._has("OBEY_PRECISION_CONSTRAINTS"):
            precision = layer._precision.name
        elif fused or (node.op_type in _INT8_BY_SCALES and any(name in scales for name in inputs)):
            precision = "INT8"
        elif TensorProto.FLOAT16 in map(graph.types.get, node.output) or config._has("FP16"):
            precision = "HALF"
        else:
            precision = "FLOAT"
        device = config._devices.get(layer.name, config._settings["default_device_type"]).name
        on_dla = device == "DLA" and node.op_type in DLA_OPERATORS
        layers.append({
            "name": layer.name, "operator": node.op_type, "precision": precision,
            "device": "DLA" if on_dla else "GPU", "inputs": inputs, "outputs": layer._outputs(),
        })  # fmt: skip
    return layers


def _tune(simulation: Any, config: Any, layers: list[dict[str, Any]], logger: Any) -> None:
    """Go through the layers as tactic selection does, with workspace, timing cache and progress monitor."""
    phases = _Phases(simulation, config._settings["progress_monitor"])
    phases.start("Building engine", None, 2)
    phases.start("Tactic selection", "Building engine", len(layers))
    pool = simulation.module.MemoryPoolType.WORKSPACE
    limit = config.get_memory_pool_limit(pool)
    for step, layer in enumerate(layers):
        if layer["operator"] in _WEIGHTED and limit < simulation.workspace_needed:
            text = (
                f"Tactic Device request: {simulation.workspace_needed >> 20}MB Available: {limit >> 20}MB. "
                "Device memory is insufficient to use tactic."
            )
            simulation.log(logger, "WARNING", text)
            raise RefusedError(
                f"Error Code 10: Internal Error (Could not find any implementation for node {layer['name']}.)"
            )
        phases.step("Tactic selection", step)
    phases.finish("Tactic selection")
    phases.step("Building engine", 0)
    cache = config._timing_cache
    if cache is not None and not config._has("DISABLE_TIMING_CACHE"):
        tactics = [f"{layer['operator']}/{layer['precision']}/{layer['name']}" for layer in layers]
        hits = cache._learn(tactics)
        simulation.log(logger, "VERBOSE", f"Timing cache: {hits} of {len(tactics)} tactics found")
    phases.step("Building engine", 1)
    phases.finish("Building engine")


class _Phases:
    """Calls to `IProgressMonitor`; a step that is answered with False ends the build and what was started."""

    def __init__(self, simulation: Any, monitor: Any) -> None:
        self._swallowed, self._monitor = simulation.swallowed, monitor
        self._open: list[str] = []

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._open.append(name)
        self._call("phase_start", name, parent, steps)

    def step(self, name: str, step: int) -> None:
        if self._call("step_complete", name, step) is False:
            while self._open:
                self.finish(self._open[-1])
            raise RefusedError("Error Code 7: BuildCanceled (Build canceled by user)")

    def finish(self, name: str) -> None:
        self._open.remove(name)
        self._call("phase_finish", name)

    def _call(self, method: str, *args: Any) -> Any:
        if self._monitor is None:
            return None
        return call_back(self._monitor, method, *args, otherwise=False, swallowed=self._swallowed)
