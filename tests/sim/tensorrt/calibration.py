"""Implicit INT8: the calibrators, their cache, and the pass over the user's batches.

Owns the order of the calls and what becomes of what they give. The scales are amax / 127: the real entropy
search is not simulated. Exceptions of callbacks end the calibration with the batches seen so far, as they do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from tests.sim.tensorrt.device import IllegalAddressError
from tests.sim.tensorrt.onnx_graph import Graph
from tests.sim.tensorrt.pybind import call_back

__all__ = ["CALIBRATORS", "Calibrator", "calibrate", "run_all_tensors"]

_ALGORITHMS = {
    "LEGACY_CALIBRATION": "LegacyCalibration",
    "ENTROPY_CALIBRATION": "EntropyCalibration",
    "ENTROPY_CALIBRATION_2": "EntropyCalibration2",
    "MINMAX_CALIBRATION": "MinMaxCalibration",
}
_NOTHING = (
    "Calibration failure occurred with no scaling factors detected. This could be due to no int8 calibrator "
    "or insufficient custom scales for network layers. Please see int8 sample to setup calibration correctly."
)


class CalibrationFailedError(RuntimeError):
    """A calibration after which the build gives nothing; the text is the logger's."""


class Calibrator:
    """`IInt8Calibrator` and those of one algorithm; to be subclassed."""

    _simulation: Any
    _algorithm = ""

    def get_batch_size(self) -> int:
        return -1

    def get_batch(self, names: list[str]) -> list[int]:
        return []

    def read_calibration_cache(self) -> Any:
        raise TypeError("Unable to convert function return value to a Python type! The signature was")

    def write_calibration_cache(self, cache: Any) -> None:
        """Keep nothing."""

    def get_algorithm(self) -> Any:
        return self._simulation.module.CalibrationAlgoType.__members__[self._algorithm]


CALIBRATORS = {
    "IInt8Calibrator": Calibrator,
    **{
        name: type(name, (Calibrator,), {"_algorithm": algorithm})
        for name, algorithm in (
            ("IInt8EntropyCalibrator", "ENTROPY_CALIBRATION"),
            ("IInt8EntropyCalibrator2", "ENTROPY_CALIBRATION_2"),
            ("IInt8MinMaxCalibrator", "MINMAX_CALIBRATION"),
            ("IInt8LegacyCalibrator", "LEGACY_CALIBRATION"),
        )
    },
}


def calibrate(simulation: Any, config: Any, network: Any, logger: Any) -> dict[str, float]:
    """Ask a calibrator for its cache, or run its batches, and give tensor to scale.

    Raises:
        CalibrationFailedError: There is nothing to go on with.
    """
    calibrator, swallowed = config._settings["int8_calibrator"], simulation.swallowed
    algorithm = call_back(calibrator, "get_algorithm", otherwise=None, swallowed=swallowed)
    kind = _ALGORITHMS[algorithm.name] if algorithm is not None else "EntropyCalibration2"
    cache = call_back(calibrator, "read_calibration_cache", otherwise=None, swallowed=swallowed)
    if cache is not None and (data := _as_bytes(cache, swallowed)):
        scales = _read(data, kind, simulation.version)
        if scales is not None:
            _warn_of_missing(simulation, network, scales, logger)
            return scales
        simulation.log(logger, "ERROR", "Calibration table does not match calibrator algorithm type.")
    scales, batches = _run(simulation, config, network, calibrator, logger)
    if not batches:
        raise CalibrationFailedError(_NOTHING)
    text = "\n".join(
        [f"TRT-{_number(simulation.version)}-{kind}", *(_line(*item) for item in scales.items())]
    )
    view = memoryview(text.encode() + b"\n")
    call_back(calibrator, "write_calibration_cache", view, otherwise=None, swallowed=swallowed)
    return scales


def run_all_tensors(graph: Graph, feeds: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Run a model and give each float32 tensor with its values, inputs too."""
    import onnxruntime

    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    kept = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in kept and graph.types.get(name) == onnx.TensorProto.FLOAT:
                model.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    yield from feeds.items()
    names = [output.name for output in session.get_outputs()]
    for name, value in zip(names, session.run(names, feeds), strict=True):
        if value.dtype == np.float32:
            yield name, value


def _run(
    simulation: Any, config: Any, network: Any, calibrator: Any, logger: Any
) -> tuple[dict[str, float], int]:
    shapes = _shapes(simulation, config, network, logger)
    amax: dict[str, float] = {}
    simulation.log(logger, "INFO", "Starting Calibration.")
    size = call_back(calibrator, "get_batch_size", otherwise=0, swallowed=simulation.swallowed)
    batches = 0
    while size and (addresses := _batch(simulation, calibrator, list(shapes))):
        feeds = {}
        for (name, shape), address in zip(shapes.items(), addresses, strict=False):
            if not address:
                raise CalibrationFailedError(
                    f"Error Code 3: API Usage Error (Tensor {name} is bound to nullptr)"
                )
            feeds[name] = _read_batch(simulation.device, address, shape)
        for name, value in run_all_tensors(network._graph, feeds):
            amax[name] = max(amax.get(name, 0.0), float(np.abs(value).max(initial=0.0)))
        simulation.log(logger, "INFO", f"  Calibrated batch {batches} in 0.01 seconds.")
        batches += 1
    return {name: value / 127 for name, value in amax.items()}, batches


def _read_batch(device: Any, address: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Read a batch as the builder's own stream does: what another stream has still to bring is not there."""
    try:
        view = device.view(device.current(), address, 4 * int(np.prod(shape)))
    except IllegalAddressError as exc:
        text = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
        raise CalibrationFailedError(text) from exc
    copied: np.ndarray[Any, Any] = view.view(np.float32).reshape(shape).copy()
    return copied


def _batch(simulation: Any, calibrator: Any, names: list[str]) -> list[int]:
    """Ask for a batch: what is no list of addresses is an exception in C++, and so the end."""
    given = call_back(calibrator, "get_batch", names, otherwise=None, swallowed=simulation.swallowed)
    if given is None:
        return []

    class Cast:
        def get_batch(self) -> list[int]:
            return [int(address) for address in given]

    cast = call_back(Cast(), "get_batch", otherwise=[], swallowed=simulation.swallowed)
    return cast if len(cast) == len(names) else []


def _shapes(simulation: Any, config: Any, network: Any, logger: Any) -> dict[str, tuple[int, ...]]:
    """Give the shapes that calibration runs with: the calibration profile's best ones."""
    profile = config._calibration_profile
    if profile is None and config._profiles:
        profile = config._profiles[0]
        text = "Calibration Profile is not defined. Running calibration with Profile 0"
        simulation.log(logger, "WARNING", text)
    shapes = {}
    for index in range(len(network._inputs())):
        tensor = network.get_input(index)
        best = profile._shapes.get(tensor.name) if profile is not None else None
        shapes[tensor.name] = tuple(best[1]) if best else tuple(tensor.shape)
    return shapes


def _as_bytes(cache: Any, swallowed: list[BaseException]) -> bytes:
    class Cast:
        def read_calibration_cache(self) -> bytes:
            return bytes(memoryview(cache))

    data: bytes = call_back(Cast(), "read_calibration_cache", otherwise=b"", swallowed=swallowed)
    return data


def _read(data: bytes, kind: str, version: tuple[int, ...]) -> dict[str, float] | None:
    """Give a cache's scales, None where this release refuses its header.

    TensorRT 8 takes any 8's; 10 refuses 8's. Whether 10.13 takes 10.3's is not known: here it does not.
    """
    first, *lines = data.decode().splitlines()
    found = re.fullmatch(r"TRT-(\d+)-(\w+)", first)
    if found is None or found[2] != kind:
        return None
    number = int(found[1])
    fits = 8000 <= number < 9000 if version < (10,) else number == _number(version)
    if not fits:
        return None
    entries = (line.rpartition(": ") for line in lines if line.strip())
    return {name: struct.unpack(">f", bytes.fromhex(digits.zfill(8)))[0] for name, _, digits in entries}


def _warn_of_missing(simulation: Any, network: Any, scales: dict[str, float], logger: Any) -> None:
    for node in network._graph.model.graph.node:
        for name in node.output:
            if name not in scales and network._graph.types.get(name) == onnx.TensorProto.FLOAT:
                text = (
                    f"Missing scale and zero-point for tensor {name}, expect fall back to non-int8 "
                    "implementation for any layer consuming or producing given tensor"
                )
                simulation.log(logger, "WARNING", text)


def _number(version: tuple[int, ...]) -> int:
    """Give NV_TENSORRT_VERSION."""
    major, minor, patch = version[:3]
    return major * (10_000 if major >= 10 else 1000) + minor * 100 + patch


def _line(name: str, scale: float) -> str:
    return f"{name}: {struct.pack('>f', scale).hex()}"
