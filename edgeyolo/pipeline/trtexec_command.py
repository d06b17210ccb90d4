"""The command line that builds an engine with ``trtexec``, release by release.

Owns which option a release has and how it spells it. Refuses to run it and to write files (`trtexec` does).

Source: NVIDIA/TensorRT, ``samples/common/sampleOptions.cpp`` of 8.2, 8.4, 8.6 and 10; ``CHANGELOG.md``
(8.4.1: ``--memPoolSize`` for ``--workspace``, ``--layerPrecisions``, ``--layerOutputTypes``);
``trtexec --help`` of 8.5; developer guide, "Migrating trtexec Usage" from 8.x to 10.x and 10.x to 11.x.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from edgeyolo.build import Batches, TensorRTOptions
from edgeyolo.build.trt_options import strongly_typed
from edgeyolo.errors import ConfigError, GraphError, PrecisionError
from edgeyolo.spec import Precision, TensorSpec

__all__ = ["CACHE", "ENGINE", "MODEL", "TrtexecBuild", "Version"]

Version = tuple[int, int, int]

MODEL, ENGINE, CACHE = "model.onnx", "model.engine", "calibration.cache"
_FIRST_POOLS, _FIRST_LAYERS = (8, 4), (8, 4)
_FIRST_SKIP, _FIRST_LEVELS, _FIRST_COMPATIBLE = (8, 6), (8, 6), (8, 6)
_FIRST_NMS = (8, 5)  # the parser's NonMaxSuppression
_FIRST_ALWAYS_STRONG = (11,)  # the precision flags, --calib and the need for --stronglyTyped are gone
_PLAIN_NAME = re.compile(r"[\w./-]+")


@dataclass(frozen=True, kw_only=True)
class TrtexecBuild:
    """What trtexec of a release shall build.

    Args:
        version: TensorRT's on the board.
        precision: What was asked for.
        implicit: INT8 comes from the calibration cache, the graph is float.
        in_graph_nms: The graph has a NonMaxSuppression.
        options: What else was asked for.

    Raises:
        ConfigError: The release lacks an option.
        PrecisionError: It has no implicit INT8.
    """

    version: Version
    precision: Precision
    implicit: bool
    in_graph_nms: bool = False
    options: TensorRTOptions

    def __post_init__(self) -> None:
        words = ".".join(map(str, self.version))
        if self.implicit and self.version >= _FIRST_ALWAYS_STRONG:
            raise PrecisionError(f"TensorRT {words} has no implicit INT8", hint="leave --implicit out")
        for name, asked, first in (
            ("--optimization-level", self.options.optimization_level is not None, _FIRST_LEVELS),
            ("--version-compatible", self.options.version_compatible, _FIRST_COMPATIBLE),
            ("--nms graph", self.in_graph_nms, _FIRST_NMS),
        ):
            if asked and self.version < first:
                came = ".".join(map(str, first))
                raise ConfigError(
                    f"{name} came with TensorRT {came}, --trtexec {words} found", hint=f"leave {name} out"
                )

    @property
    def typed(self) -> bool:
        """Whether types are the graph's own."""
        return strongly_typed(self.version, implicit=self.implicit)

    @property
    def lowered(self) -> bool:
        """Whether flags allow less than FP32 everywhere, so that the decode must be held in it by name."""
        return self.precision != "fp32" and not self.typed

    @property
    def holds_layers(self) -> bool:
        """Whether trtexec can be told the precision of a layer."""
        return self.version >= _FIRST_LAYERS

    def command(self, tensor: TensorSpec, decode: Collection[str]) -> str:
        """Give the command line.

        Args:
            tensor: The model's input.
            decode: Nodes that stay in FP32 where precision is a flag.

        Raises:
            GraphError: A node has a name that the option's own syntax cannot hold.
        """
        words = ["trtexec", f"--onnx={MODEL}", f"--saveEngine={ENGINE}"]
        words += self._precision_words(decode)
        words += _shape_words(tensor, self.options.batches or Batches(1, 1, 1))
        words += self._option_words()
        words.append("--skipInference" if self.version >= _FIRST_SKIP else "--buildOnly")
        return shlex.join(words)

    def _precision_words(self, decode: Collection[str]) -> Iterator[str]:
        if self.precision == "fp32":
            yield "--noTF32"  # TF32 has the mantissa of FP16
        if self.lowered:
            yield "--fp16"
            if self.precision == "int8":
                yield "--int8"
            if self.implicit:
                yield f"--calib={CACHE}"
            if self.holds_layers and decode:
                yield from _fp32_words(decode)
        elif self.typed and self.version < _FIRST_ALWAYS_STRONG:
            yield "--stronglyTyped"

    def _option_words(self) -> Iterator[str]:
        options = self.options
        if options.workspace_mib is not None:
            pool = "--memPoolSize=workspace:" if self.version >= _FIRST_POOLS else "--workspace="
            yield f"{pool}{options.workspace_mib}"
        if options.dla_core is not None:
            yield f"--useDLACore={options.dla_core}"
        if options.gpu_fallback:
            yield "--allowGPUFallback"
        if options.sparse:
            yield "--sparsity=enable"
        if options.version_compatible:
            yield "--versionCompatible"
        if options.optimization_level is not None:
            yield f"--builderOptimizationLevel={options.optimization_level}"
        if options.timing_cache:
            yield "--timingCacheFile=timing.cache"


def _shape_words(tensor: TensorSpec, batches: Batches) -> Iterator[str]:
    if tensor.shape[0] == -1:
        for name, size in (("min", batches.least), ("opt", batches.best), ("max", batches.most)):
            yield f"--{name}Shapes={tensor.name}:{'x'.join(map(str, (size, *tensor.shape[1:])))}"


def _fp32_words(nodes: Collection[str]) -> Iterator[str]:
    """Hold layers in FP32, and what they store too."""
    odd = sorted(name for name in nodes if not _PLAIN_NAME.fullmatch(name))
    if odd:
        raise GraphError(
            f"node {odd[0]!r}: trtexec cannot be told to keep it in FP32",
            hint="edgeyolo simplify, or convert again: names of letters, digits, _ . / and - are needed",
        )
    layers = ",".join(f"{name}:fp32" for name in sorted(nodes))
    yield from ("--precisionConstraints=obey", f"--layerPrecisions={layers}", f"--layerOutputTypes={layers}")
