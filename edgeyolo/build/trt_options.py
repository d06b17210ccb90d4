"""What a user may ask of a TensorRT build, and what a TensorRT release can be asked for.

Owns the options and the rule of typing. Refuses to fulfil them (`edgeyolo.build.tensorrt_builder`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeyolo.build.trt_profiles import Batches
from edgeyolo.errors import ConfigError

__all__ = ["DeviceFeed", "TensorRTOptions", "cache_number", "strongly_typed"]

# NVIDIA's own advice: strong typing from 10.12 on, where the precision flags are deprecated; 11 has no other.
_FIRST_STRONG = (10, 12)
_LEVELS = range(6)


class DeviceFeed(Protocol):
    """Gives calibration batches as device memory."""

    @property
    def batch(self) -> int:
        """Pictures a batch."""

    @property
    def batches(self) -> int:
        """How many batches there are."""

    def next(self) -> int | None:
        """Give the device address of the next batch, float32; None after the last."""


@dataclass(frozen=True, kw_only=True)
class TensorRTOptions:
    """Options of one build.

    Args:
        batches: For a model with an open batch.
        workspace_mib: Most memory a tactic may use; None takes a part of what is free.
        timing_cache: Keep what was measured in a file beside the engine.
        optimization_level: 0 (fast build) to 5 (long search); None is TensorRT's own, 3.
        sparse: Use 2:4 sparse kernels where the weights are sparse.
        version_compatible: The plan also loads in later versions of TensorRT.
        dla_core: Run on this accelerator.
        gpu_fallback: What the DLA cannot run may run on the GPU.
        decode: Names of the nodes that stay in FP32 where precision is a flag and not in the graph.
        implicit_cache: For INT8 without Q/DQ nodes: gives the calibration cache for a version number.
        device_feed: For INT8 without Q/DQ nodes and without scales: pictures for TensorRT's own calibrator.
    """

    batches: Batches | None = None
    workspace_mib: int | None = None
    timing_cache: bool = True
    optimization_level: int | None = None
    sparse: bool = False
    version_compatible: bool = False
    dla_core: int | None = None
    gpu_fallback: bool = False
    decode: frozenset[str] = frozenset()
    implicit_cache: Callable[[int], bytes] | None = field(default=None, repr=False)
    device_feed: DeviceFeed | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.optimization_level is not None and self.optimization_level not in _LEVELS:
            raise ConfigError(f"optimization level: 0 to 5 expected, {self.optimization_level} found")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ConfigError(f"workspace: 1 MiB or more expected, {self.workspace_mib} found")
        if self.gpu_fallback and self.dla_core is None:
            raise ConfigError("--gpu-fallback goes with --dla", hint="add --dla 0, or leave it out")
        batches = self.batches
        if self.dla_core is not None and batches is not None and batches.least != batches.most:
            # Source: developer guide, "Working with DLA": min, opt and max must be equal.
            raise ConfigError(
                f"DLA runs one batch size, {batches.json()} found", hint=f"--batches {batches.best}"
            )
        if self.implicit_cache is not None and self.device_feed is not None:
            raise ConfigError("--implicit takes scales, --calibrate-on-device finds them: one of the two")

    @property
    def implicit(self) -> bool:
        """Whether INT8 is asked of TensorRT's calibrator and not of Q/DQ nodes."""
        return self.implicit_cache is not None or self.device_feed is not None

    def json(self) -> dict[str, Any]:
        """Give what a sidecar keeps."""
        return {
            "optimization_level": self.optimization_level,
            "sparse": self.sparse,
            "version_compatible": self.version_compatible,
            "dla_core": self.dla_core,
            "gpu_fallback": self.gpu_fallback,
        }


def strongly_typed(version: tuple[int, ...], *, implicit: bool = False) -> bool:
    """Tell whether a release takes its types from the graph alone.

    Args:
        version: At least (major, minor).
        implicit: INT8 is asked of a calibrator, which needs weak typing.

    Examples:
        >>> strongly_typed((10, 3)), strongly_typed((10, 13)), strongly_typed((11, 4))
        (False, True, True)
    """
    return version >= (11,) or (version >= _FIRST_STRONG and not implicit)


def cache_number(version: tuple[int, ...]) -> int:
    """Give ``NV_TENSORRT_VERSION``, the number in a calibration cache's first line.

    Examples:
        >>> cache_number((8, 6, 2)), cache_number((10, 3, 0))
        (8602, 100300)
    """
    unit = 10_000 if version[0] >= 10 else 1000  # Source: NvInferVersion.h
    return version[0] * unit + version[1] * 100 + version[2]
