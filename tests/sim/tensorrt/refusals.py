"""What a network and a configuration must not be: why a build gives None before it begins.

The texts are NVIDIA's where they are known from its sources and issue threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.sim.tensorrt.config import DLA_OPERATORS
from tests.sim.tensorrt.onnx_graph import Graph

__all__ = ["dla_cores", "refusals"]

_PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")


def refusals(simulation: Any, network: Any, config: Any) -> Iterator[str]:
    """Check network and configuration against each other, in the order of NVIDIA's `validate`."""
    if network._graph is None or not network._outputs():
        yield "Error Code 4: API Usage Error (Network must have at least one output)"
        return
    yield from _typing_refusals(network, config)
    yield from _profile_refusals(network, config)
    yield from _dla_refusals(simulation, network, config)
    if config._settings["hardware_compatibility_level"].name == "AMPERE_PLUS" and simulation.board.jetson:
        yield "Error Code 9: API Usage Error (Hardware compatibility is not supported on this platform)"
    if config._has("EXCLUDE_LEAN_RUNTIME") and not config._has("VERSION_COMPATIBLE"):
        yield "Error Code 3: API Usage Error (EXCLUDE_LEAN_RUNTIME needs VERSION_COMPATIBLE)"


def _typing_refusals(network: Any, config: Any) -> Iterator[str]:
    graph: Graph = network._graph
    if network._strongly_typed():
        for flag in _PRECISION_FLAGS:
            if config._has(flag):
                yield (
                    f"Error Code 3: API Usage Error (Builder flag {flag} may not be set for a strongly typed "
                    "network)"
                )
        if config._settings["int8_calibrator"] is not None:
            yield "Error Code 3: API Usage Error (A calibrator may not be set for a strongly typed network)"
    else:
        for used, flag, name in ((graph.quantized, "INT8", "Int8"), (graph.half, "FP16", "Fp16")):
            if used and not config._has(flag):
                yield (
                    f"Error Code 4: API Usage Error ({name} precision has been set for a layer or layer "
                    f"output, but {name.lower()} is not configured in the builder)"
                )


def _profile_refusals(network: Any, config: Any) -> Iterator[str]:
    for index in range(len(network._inputs())):
        tensor = network.get_input(index)
        name, shape = tensor.name, tuple(tensor.shape)
        if -1 in shape and not config._profiles:
            yield _usage("Network has dynamic or shape inputs, but no optimization profile has been defined.")
        for number, profile in enumerate(config._profiles):
            if name in profile._shapes:
                yield from _misfits(name, shape, number, profile._shapes[name])
            elif -1 in shape:
                yield _usage(f"Dynamic input tensor {name} is missing dimensions in profile {number}.")


def _misfits(name: str, shape: tuple[int, ...], number: int, ranges: Any) -> Iterator[str]:
    for given in ranges:
        if len(given) != len(shape):
            yield _usage(
                f"Dynamic-shaped input tensor {name} has {len(shape)} dimensions but profile {number} has "
                f"{len(given)} dimensions."
            )
            return
    for axis, (size, least, best, most) in enumerate(zip(shape, *ranges, strict=True)):
        if size != -1 and not least == best == most == size:
            yield _usage(
                f"Dimension mismatch for tensor {name} and profile {number}. At dimension axis {axis}, "
                f"profile has min={least}, opt={best}, max={most} but tensor has {size}."
            )


def _usage(text: str) -> str:
    return f"Error Code 4: API Usage Error ({text})"


def _dla_refusals(simulation: Any, network: Any, config: Any) -> Iterator[str]:
    settings = config._settings
    devices = {
        layer.name: config._devices.get(layer.name, settings["default_device_type"])
        for layer in network._layers
    }
    wanted = [layer for layer in network._layers if devices[layer.name].name == "DLA"]
    if not wanted:
        return
    cores, core = dla_cores(simulation), settings["DLA_core"]
    if not 0 <= core < cores:
        yield f"Error Code 3: API Usage Error (DLA core {core} was asked for, this device has {cores})"
        return
    if not network._strongly_typed() and not (config._has("FP16") or config._has("INT8")):
        yield "Error Code 4: API Usage Error (DLA layers need FP16 or INT8 mode)"
    calibrator = settings["int8_calibrator"]
    if calibrator is not None and calibrator.get_algorithm().name != "ENTROPY_CALIBRATION_2":
        yield "Error Code 4: API Usage Error (DLA supports EntropyCalibrator2 alone)"
    for layer in wanted:
        if layer._node().op_type not in DLA_OPERATORS and not config._has("GPU_FALLBACK"):
            yield (
                f"Error Code 4: API Usage Error ({layer.name}: DLA validation failed, the layer is not "
                "supported on DLA and GPU_FALLBACK is not set)"
            )


def dla_cores(simulation: Any) -> int:
    """Give the cores this release reaches: 10.7 is the last with JetPack's DLA, 11.0 to 11.4.0 have none."""
    return simulation.board.dla_cores if simulation.version < (10, 8) else 0
