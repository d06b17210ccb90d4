r"""TensorRT's calibration cache, which TensorRT 8 to 10 and DLA take instead of calibrating on the device.

Owns the text format, in and out, byte for byte. Refuses to decide whether a scale is a good one, and to
build.

    TRT-8601-EntropyCalibration2          TRT-<version>-<algorithm>
    images: 3c010a14                      <tensor>: <scale as float32, big-endian, hexadecimal>

A scale is the value of one int8 step, amax / 127. TensorRT unifies the scales of a concatenation before it
writes them, so one number may stand under many names. A tensor that TensorRT named itself looks like
``(Unnamed Layer* 43) [PluginV2IOExt]_output_0``: everything up to the last colon is the name. TensorRT 11
reads no cache at all; there INT8 is Q/DQ nodes.

Source: files that TensorRT 7.1.3, 8.6.0 and 10.3.0 wrote; cuDLA-samples ``qdq_translator.py`` for writing
one by hand. Version numbers: ``NV_TENSORRT_VERSION`` is major * 1000 + minor * 100 + patch up to 8 and
major * 10000 + minor * 100 + patch from 10 on (NvInferVersion.h).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgeyolo.errors import CalibrationError, ConfigError
from edgeyolo.files import write_bytes

__all__ = [
    "Algorithm",
    "Matched",
    "TrtCache",
    "cache_from_amax",
    "is_trt_cache",
    "match",
    "read_trt_cache",
    "trt_cache_from_bytes",
    "version_number",
]

Algorithm = Literal["EntropyCalibration2", "EntropyCalibration", "MinMaxCalibration", "LegacyCalibration"]

_HEADER = re.compile(r"TRT-(\d{3,7})-([A-Za-z0-9_]+)")
_ENTRY = re.compile(r"(.+): ?([0-9a-fA-F]{1,8})[ \t]*")
_MAX_BYTES = 64 << 20
_LEVELS = 127


@dataclass(frozen=True)
class TrtCache:
    """A calibration cache.

    Args:
        version: ``NV_TENSORRT_VERSION`` of the TensorRT that wrote it, such as 8601 or 100300.
        algorithm: The calibrator that made it, as its header says.
        entries: Tensor name and the hexadecimal digits of its scale, in the order of the file.
    """

    version: int
    algorithm: str
    entries: tuple[tuple[str, str], ...]

    @property
    def scales(self) -> dict[str, float]:
        """Tensor name to scale (the value of one int8 step)."""
        return {name: _scale_of(digits) for name, digits in self.entries}

    @property
    def amax(self) -> dict[str, float]:
        """Tensor name to amax (127 steps)."""
        return {name: scale * _LEVELS for name, scale in self.scales.items()}

    @property
    def release(self) -> str:
        """The TensorRT release in words.

        Examples:
            >>> [TrtCache(number, "", ()).release for number in (8601, 100300)]
            ['8.6.1', '10.3.0']
        """
        unit = 10_000 if self.version >= 10_000 else 1000
        return f"{self.version // unit}.{self.version % unit // 100}.{self.version % 100}"

    def to_bytes(self) -> bytes:
        """Give the file; what was read comes out byte for byte."""
        lines = [f"TRT-{self.version}-{self.algorithm}"]
        lines += [f"{name}: {digits}" for name, digits in self.entries]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")

    def write(self, path: Path | str) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        write_bytes(path, self.to_bytes())


@dataclass(frozen=True)
class Matched:
    """How the names of a cache and those of a model fit.

    Args:
        amax: The model's tensors that the cache has, in the model's order.
        unknown: Names of the cache that the model does not have, in the cache's order.
        missing: Tensors of the model that the cache does not have, in the model's order.
    """

    amax: Mapping[str, float]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]


def is_trt_cache(data: bytes) -> bool:
    """Tell a cache by its first bytes."""
    return _HEADER.match(data[:64].decode("latin-1")) is not None


def read_trt_cache(path: Path | str) -> TrtCache:
    """Read a calibration cache of any TensorRT.

    Args:
        path: The file.

    Raises:
        CalibrationError: It cannot be read, or is no cache; the text has the line.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise CalibrationError(
                f"{path}: {size} bytes found, a calibration cache has at most {_MAX_BYTES}"
            )
        data = path.read_bytes()
    except OSError as exc:
        raise CalibrationError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    return trt_cache_from_bytes(data, name=str(path))


def trt_cache_from_bytes(data: bytes, *, name: str) -> TrtCache:
    r"""Parse a calibration cache.

    Args:
        data: The whole file.
        name: How errors call it.

    Raises:
        CalibrationError: It is no cache; the text has the line.

    Examples:
        >>> cache = trt_cache_from_bytes(b"TRT-7103-EntropyCalibration2\n000_net: 3c010a14\n", name="x")
        >>> cache.release, round(cache.amax["000_net"], 4)
        ('7.1.3', 1.0002)
    """
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    header = _HEADER.fullmatch(lines[0].rstrip("\r"))
    if header is None:
        raise CalibrationError(
            f"{name}:1: 'TRT-<version>-<algorithm>' expected, {lines[0][:60]!r} found",
            hint="a cache that TensorRT wrote is text and begins with TRT-",
        )
    entries: list[tuple[str, str]] = []
    seen: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        tensor, digits = _entry_of(line.rstrip("\r"), f"{name}:{number}")
        before, first = seen.setdefault(tensor, (digits, number))
        if before != digits:
            raise CalibrationError(
                f"{name}:{number}: tensor {tensor!r} has scale {digits}, and {before} in line {first}"
            )
        entries.append((tensor, digits))
    return TrtCache(int(header[1]), header[2], tuple(entries))


def cache_from_amax(
    amax: Mapping[str, float], *, version: int = 8601, algorithm: Algorithm = "EntropyCalibration2"
) -> TrtCache:
    """Make a cache of one's own scales.

    Args:
        amax: Tensor name to its largest magnitude. TensorRT's ONNX parser keeps the names of the file.
        version: See `version_number`; TensorRT skips a cache whose number it does not like.
        algorithm: The calibrator that will be attached when the cache is read. DLA wants
            ``EntropyCalibration2``, whatever method found the scales.

    Raises:
        CalibrationError: A scale is negative or no finite float32, or a name cannot be written.
        ConfigError: The algorithm is none of TensorRT's.
    """
    if algorithm not in get_args(Algorithm):
        raise ConfigError(
            f"calibrator algorithm: one of {', '.join(get_args(Algorithm))} expected, {algorithm!r} found"
        )
    entries = []
    for name, value in amax.items():
        if not name or name != name.strip() or re.search(r"[\r\n]", name):
            raise CalibrationError(f"tensor {name!r}: its name cannot be a line of a calibration cache")
        scale = value / _LEVELS
        if not (math.isfinite(scale) and 0 <= scale < 3.4028235e38):
            raise CalibrationError(f"tensor {name!r}: an amax of 0 or more expected, {value} found")
        entries.append((name, struct.pack(">f", scale).hex()))
    return TrtCache(version, algorithm, tuple(entries))


def match(cache: TrtCache, tensors: Mapping[str, object] | tuple[str, ...] | list[str]) -> Matched:
    """Compare a cache's names with those of a model.

    Args:
        cache: Whose scales are wanted.
        tensors: Names of the model's tensors that need a scale, in order.

    Examples:
        >>> found = match(cache_from_amax({"a": 127.0, "z": 1.0}), ("a", "b"))
        >>> dict(found.amax), found.unknown, found.missing
        ({'a': 127.0}, ('z',), ('b',))
    """
    has, wanted = cache.amax, dict.fromkeys(tensors)
    return Matched(
        amax={name: has[name] for name in wanted if name in has},
        unknown=tuple(name for name in has if name not in wanted),
        missing=tuple(name for name in wanted if name not in has),
    )


def version_number(text: str) -> int:
    """Give the number in a cache's header for a TensorRT version.

    Args:
        text: A release (``8.6.1``, ``10.3``) or such a number itself (``8601``, ``100300``).

    Raises:
        ConfigError: It is neither, or a TensorRT that reads no caches.

    Examples:
        >>> [version_number(text) for text in ("8.6.1", "10.3", "10.14.1.48", "7103", "100300")]
        [8601, 100300, 101401, 7103, 100300]
    """
    parts = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.\d+)?", text.strip())
    if parts is not None:
        major, minor, patch = int(parts[1]), int(parts[2]), int(parts[3] or 0)
        number = major * (10_000 if major >= 10 else 1000) + minor * 100 + patch
    elif re.fullmatch(r"[5-9]\d{3}|1\d{5}", text.strip()):
        number = int(text)
    else:
        raise ConfigError(f"--trt-version: such as 8.6.1, 10.3.0, 8601 or 100300 expected, {text!r} found")
    if number >= 110_000:
        raise ConfigError(
            f"--trt-version: TensorRT {text} reads no calibration cache (removed in 11)",
            hint="use model.int8.onnx, whose Q/DQ nodes every TensorRT from 8.5 on takes",
        )
    return number


def _entry_of(line: str, where: str) -> tuple[str, str]:
    found = _ENTRY.fullmatch(line)
    if found is None:
        raise CalibrationError(
            f"{where}: '<tensor>: <1 to 8 hexadecimal digits>' expected, {line[:80]!r} found"
        )
    tensor, digits = found.groups()
    scale = _scale_of(digits)
    if not math.isfinite(scale) or scale < 0:
        raise CalibrationError(
            f"{where}: tensor {tensor!r}: a scale of 0 or more expected, {digits} is {scale}"
        )
    return tensor, digits


def _scale_of(digits: str) -> float:
    (scale,) = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))
    return float(scale)
