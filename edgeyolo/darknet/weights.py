"""Darknet's ``.weights`` files: a header, then every layer's float32 arrays end to end.

Owns the header, the mapping of a file onto a network's parameters without copying it, the writer, and random
parameters. Refuses to fold or change a value. What a file that does not fit may be is guessed in ``misfit``.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.layers import (
    Activation,
    BatchNorm,
    Connected,
    Convolutional,
    Deconvolutional,
    Layer,
    Parameter,
    Shortcut,
)
from edgeyolo.darknet.misfit import explain_misfit, what_else
from edgeyolo.darknet.network import Network, Parameters
from edgeyolo.errors import ModelError, WeightsError
from edgeyolo.files import whole_file

__all__ = [
    "WeightsHeader",
    "load_parameters",
    "random_parameters",
    "read_header",
    "write_weights",
]

_Array = npt.NDArray[np.float32]
_FLOAT = np.dtype("<f4")
_VERSION = (0, 2, 5)  # what AlexeyAB's Darknet writes; `seen` has 64 bits from 0.2 on
_MAX_RANDOM = 1 << 29  # 2 GiB of float32; the largest published Darknet model has 1.4e8


@dataclass(frozen=True, kw_only=True)
class WeightsHeader:
    """First bytes of a ``.weights`` file.

    Args:
        version: Major, minor, revision of the file format.
        seen: Pictures the training has seen.
        size: Bytes of the header, 16 or 20.
        float_count: Floats behind it.

    Source:
        ``load_weights_upto`` (src/parser.c): ``seen`` has 64 bits where ``major * 10 + minor >= 2`` and both
        are below 1000; connected layers are transposed where one of them is above 1000.
    """

    version: tuple[int, int, int]
    seen: int
    size: int
    float_count: int

    @property
    def transposed(self) -> bool:
        """The matrices of connected layers are stored input by output."""
        return self.version[0] > 1000 or self.version[1] > 1000


def read_header(path: Path | str) -> WeightsHeader:
    """Read the header of a ``.weights`` file.

    Args:
        path: The file.

    Returns:
        Version, pictures seen, floats.

    Raises:
        WeightsError: It cannot be read, or is something else than a ``.weights`` file.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            total = file.seek(0, 2)
    except OSError as exc:
        raise WeightsError(
            f"{path}: cannot be read: {exc.strerror or exc}", hint="give a .weights file"
        ) from exc
    other = what_else(head)
    if other is not None:
        raise WeightsError(f"{path}: Darknet weights expected, {other[0]} found", hint=other[1])
    return _header_from_bytes(head, total, path)


def load_parameters(network: Network, path: Path | str) -> Parameters:
    """Map a ``.weights`` file onto the layers of a network.

    Args:
        network: The network that the file was trained as.
        path: The file.

    Returns:
        Index of each layer with parameters to arrays by Darknet's names, shaped as the layer says. Read-only
        views of the mapped file, little-endian float32: nothing is copied, and a page is read when it is
        used. Layers that share parameters give the same arrays.

    Raises:
        WeightsError: Too short, too long, not weights, or numbers that no training leaves behind; with the
            layer and the likely cause.

    Source:
        ``load_weights_upto`` (src/parser.c).
    """
    header = read_header(path)
    plan = _plan(network, header.float_count)
    wanted = sum(parameter.size for _, parameter in plan)
    if wanted != header.float_count:
        raise explain_misfit(network, path, header.float_count)
    if wanted == 0:
        return {}
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    floats = np.frombuffer(data, _FLOAT, count=wanted, offset=header.size)
    parameters: dict[int, dict[str, _Array]] = {}
    start = 0
    for layer, parameter in plan:
        values = floats[start : start + parameter.size]
        start += parameter.size
        _check_values(layer, parameter, values, path)
        parameters.setdefault(layer.index, {})[parameter.name] = _shaped(layer, parameter, values, header)
    _complete(network, parameters)
    return parameters


def write_weights(path: Path | str, network: Network, parameters: Parameters, *, seen: int = 0) -> None:
    """Write a ``.weights`` file that Darknet reads.

    Args:
        path: The file; it appears whole or not at all.
        network: Says which arrays in which order.
        parameters: Arrays as `load_parameters` gives them.
        seen: Pictures the training has seen.

    Raises:
        WeightsError: An array is missing or has another shape than the network says.
        OutputError: The file cannot be written.

    Source:
        ``save_weights_upto`` (src/parser.c).
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<iiiQ", *_VERSION, seen))
        for layer in network.layers:
            for parameter in layer.parameters:
                values = parameters.get(layer.index, {}).get(parameter.name)
                found = None if values is None else values.shape
                if values is None or found != parameter.shape:
                    raise WeightsError(
                        f"{path}: layer {layer.index} [{layer.kind}] {parameter.name}: "
                        f"shape {parameter.shape} expected, {found} found"
                    )
                if parameter.name == "weights" and isinstance(layer, Convolutional) and layer.flipped:
                    values = np.moveaxis(values, 0, -1)
                file.write(np.ascontiguousarray(values, _FLOAT).tobytes())


def random_parameters(network: Network, seed: int) -> Parameters:
    """Make parameters under which activations keep their size from the first layer to the last.

    Args:
        network: Any network.
        seed: The same seed gives the same numbers, layer by layer.

    Returns:
        Arrays as `load_parameters` gives them.

    Raises:
        ModelError: The network has more parameters than is sensible to make up.

    Source:
        He et al. 2015, "Delving Deep into Rectifiers", equation 10, for the weights' deviation; a
        branch that a shortcut adds is damped, or 23 of them would multiply the variance by 2**23.
    """
    if network.parameter_count > _MAX_RANDOM:
        raise ModelError(
            f"{network.source}: at most {_MAX_RANDOM} parameters expected to make up, "
            f"{network.parameter_count} found"
        )
    branches = {layer.inputs[0] for layer in network.layers if isinstance(layer, Shortcut)}
    parameters: dict[int, dict[str, _Array]] = {}
    for layer in network.layers:
        if layer.parameters:
            rng = np.random.default_rng([seed, layer.index])
            gain = 0.2 if layer.index in branches else 1.0
            parameters[layer.index] = {p.name: _random(rng, layer, p, gain) for p in layer.parameters}
    _complete(network, parameters)
    return parameters


def _header_from_bytes(head: bytes, total: int, path: Path | str) -> WeightsHeader:
    if len(head) < 16:
        raise WeightsError(
            f"{path}: a header of 16 or 20 bytes expected, a file of {total} bytes found",
            hint="download it again",
        )
    major, minor, revision = struct.unpack_from("<iii", head)
    if min(major, minor, revision) < 0 or max(major, minor, revision) > 100_000:
        raise WeightsError(
            f"{path}: Darknet weights expected, a file with version {major}.{minor}.{revision} found",
            hint="give the .weights file that belongs to the cfg",
        )
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    size = 20 if wide else 16
    if total < size or (total - size) % _FLOAT.itemsize:
        raise WeightsError(
            f"{path}: a header of {size} bytes and whole 4-byte floats expected, {total} bytes found",
            hint="the download was probably cut off: download it again",
        )
    (seen,) = struct.unpack_from("<Q" if wide else "<I", head, 12)
    return WeightsHeader(
        version=(major, minor, revision), seen=seen, size=size, float_count=(total - size) // _FLOAT.itemsize
    )


def _plan(network: Network, float_count: int) -> list[tuple[Layer, Parameter]]:
    """List the arrays of the file, in order.

    pjreddie's Darknet stores no biases for ``[batchnorm]`` sections (``save_batchnorm_weights``); the file's
    length tells whose it is.
    """
    plan = [(layer, parameter) for layer in network.layers for parameter in layer.parameters]
    without = [
        (layer, parameter)
        for layer, parameter in plan
        if not (isinstance(layer, BatchNorm) and parameter.name == "biases")
    ]
    return without if sum(parameter.size for _, parameter in without) == float_count else plan


def _complete(network: Network, parameters: dict[int, dict[str, _Array]]) -> None:
    """Add what no file holds: shared arrays, and the zero biases of pjreddie's ``[batchnorm]``."""
    for layer in network.layers:
        if isinstance(layer, Convolutional) and layer.shares is not None:
            parameters[layer.index] = parameters[layer.shares]
        if isinstance(layer, BatchNorm):
            zeros = np.zeros(layer.in_shape.c, _FLOAT)
            parameters[layer.index].setdefault("biases", zeros)


def _shaped(layer: Layer, parameter: Parameter, values: _Array, header: WeightsHeader) -> _Array:
    """View the flat floats of one array in its shape, turning the two that files may hold transposed."""
    if parameter.name == "weights":
        if isinstance(layer, Connected) and header.transposed:
            transposed: _Array = values.reshape(parameter.shape[::-1]).T
            return transposed
        if isinstance(layer, Convolutional) and layer.flipped:
            filters, *kernel = parameter.shape
            turned: _Array = np.moveaxis(values.reshape(*kernel, filters), -1, 0)
            return turned
    return values.reshape(parameter.shape)


def _check_values(layer: Layer, parameter: Parameter, values: _Array, path: Path | str) -> None:
    """Look at the small arrays: a file of the right length for the wrong cfg shows in them first."""
    if parameter.name == "weights":
        return
    low = float(values.min())
    finite = bool(np.isfinite(values).all())
    if finite and (parameter.name != "rolling_variance" or low >= 0):
        return
    problem = f"{low:g}, a negative variance," if finite else "a value that is no finite number"
    raise WeightsError(
        f"{path}: layer {layer.index} [{layer.kind}] {parameter.name}: {problem} found",
        hint="the file is damaged, its training diverged, or it belongs to another cfg",
    )


def _random(rng: np.random.Generator, layer: Layer, parameter: Parameter, gain: float) -> _Array:
    """Make one array; plausible statistics of a trained network, and He's deviation for weights."""
    shape = parameter.shape
    if parameter.name == "scales":
        # With the variances below, E[scale**2 / variance] = gain**2: ln 3 is the mean of 1 / U(0.5, 1.5).
        return (gain / math.sqrt(math.log(3)) * rng.uniform(0.8, 1.2, shape)).astype(_FLOAT)
    if parameter.name == "rolling_variance":
        return rng.uniform(0.5, 1.5, shape).astype(_FLOAT)
    if parameter.name in ("biases", "rolling_mean"):
        return (0.05 * rng.standard_normal(shape)).astype(_FLOAT)
    if isinstance(layer, Shortcut):
        return rng.uniform(0.5, 1.0, shape).astype(_FLOAT)
    weights: _Array = rng.standard_normal(shape, dtype=np.float32)
    # In place: the largest layer of VGG-16 has 411 MB.
    weights *= np.float32(_deviation(layer, parameter))
    return weights


def _deviation(layer: Layer, parameter: Parameter) -> float:
    fan_in = parameter.size // parameter.shape[0]
    if isinstance(layer, Deconvolutional):
        fan_in = layer.in_shape.c * max(1, (layer.size // layer.stride_wh[0]) ** 2)
    activation = getattr(layer, "activation", Activation.LINEAR)
    return math.sqrt((1.0 if activation is Activation.LINEAR else 2.0) / fan_in)
