"""TensorRT engines, built on the machine that will run them, for TensorRT 8.6, 10 and 11.

Owns the order of a build and what is made of its end: a plan, or an error with TensorRT's last words. The
plan is written as TensorRT gave it, so that trtexec and every other tool can read it. Refuses to rewrite a
graph: where a release takes its types from the graph, the graph that it is given has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.boards import require_precision
from edgeyolo.build.builder import Built
from edgeyolo.build.graph_contract import spec_from_graph
from edgeyolo.build.onnx_content import metadata_of, read_model
from edgeyolo.build.trt_calibrator import Calibration, calibration_from_cache, calibration_on_device
from edgeyolo.build.trt_config import configure, place_on_dla, workspace_mib
from edgeyolo.build.trt_content import check_content
from edgeyolo.build.trt_layers import counted, precision_by_layer
from edgeyolo.build.trt_log import BuildLog
from edgeyolo.build.trt_network import Network, parse_network
from edgeyolo.build.trt_options import TensorRTOptions, cache_number, strongly_typed
from edgeyolo.build.trt_profiles import add_profile
from edgeyolo.build.trt_progress import Progress
from edgeyolo.build.trt_timing_cache import TimingCacheFile
from edgeyolo.errors import BuildError, ConfigError, MissingDependencyError, PrecisionError
from edgeyolo.gpu import Gpu, find_gpu
from edgeyolo.jetson import jetpack_here, memory_here
from edgeyolo.machine import version_tuple
from edgeyolo.optional import require
from edgeyolo.sidecar import Backend
from edgeyolo.spec import Precision

if TYPE_CHECKING:
    import tensorrt

__all__ = ["FIRST_VERSION", "TensorRTBuilder", "gpu_here", "tensorrt_version"]

FIRST_VERSION = (8, 6)
_WHY = "to build a TensorRT engine"


def tensorrt_version() -> tuple[int, ...]:
    """Give the version of the TensorRT here, three numbers.

    Raises:
        MissingDependencyError: There is none, or it does not load.
        ConfigError: It is older than EdgeYOLO can drive.
    """
    trt = require("tensorrt", why=_WHY)
    if not hasattr(trt, "__version__"):  # a folder of type stubs also answers to the name
        raise MissingDependencyError(
            f"TensorRT is needed {_WHY}; a package 'tensorrt' without it is installed"
        )
    version = version_tuple(trt.__version__, 3)
    if version < FIRST_VERSION:
        raise ConfigError(
            f"TensorRT 8.6 or newer expected, {trt.__version__} found",
            hint=f"edgeyolo build MODEL.onnx --trtexec {version[0]}.{version[1]} -o FOLDER",
        )
    return version


def gpu_here() -> Gpu:
    """Give the GPU.

    Raises:
        MissingDependencyError: None answers.
    """
    gpu, found = find_gpu()
    if gpu is None:
        raise MissingDependencyError(
            f"a CUDA device is needed {_WHY}: {found}",
            hint="edgeyolo doctor; without a GPU: --backend onnxruntime, or edgeyolo check",
        )
    return gpu


class TensorRTBuilder:
    """A `edgeyolo.build.builder.Builder` for TensorRT.

    Args:
        options: What was asked for beside the precision.
        say: Is told what was chosen, and how far the build is.
    """

    backend: Backend = "tensorrt"

    def __init__(self, options: TensorRTOptions, *, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say

    def build(self, onnx_path: Path, engine: Path, precision: Precision) -> Built:
        """Build a plan and load it once.

        Raises:
            GraphError: The graph breaks the contract, or its open dimensions cannot be built.
            PrecisionError: GPU, release or graph cannot deliver `precision`.
            ParseError: TensorRT's parser refuses the graph.
            BuildError: The build failed; the message has TensorRT's last words.
            MissingDependencyError: TensorRT or a GPU is absent.
        """
        version, gpu = tensorrt_version(), gpu_here()
        job = _Job(require("tensorrt", why=_WHY), version, gpu, self._options, precision, self._say)
        require_precision(gpu.sm, precision, where=gpu.name)
        model = read_model(onnx_path)
        check_content(model, onnx_path, precision, version, implicit=self._options.implicit)
        nodes = [f"{node.name!r} ({node.op_type})" for node in model.graph.node]
        metadata = metadata_of(model)
        del model  # the parser makes its own copy: on a small board two do not fit beside each other
        network = parse_network(job.trt, onnx_path, job.log, strongly_typed=job.strong, nodes=nodes)
        spec = spec_from_graph(onnx_path, network.inputs, network.outputs, metadata)
        inputs, outputs = network.inputs, network.outputs
        plan, facts = job.plan(network, engine)
        del network  # a small board has no room for builder and engine beside each other
        extra = job.delivered(plan, facts)
        jetpack = jetpack_here()
        return Built(
            spec=spec,
            inputs=inputs,
            outputs=outputs,
            versions={"tensorrt": job.trt.__version__, "cuda_driver": ".".join(map(str, gpu.cuda))},
            machine={**gpu.facts(), **({} if jetpack is None else {"jetpack": jetpack.versions})},
            extra=extra,
        )


@dataclass
class _Job:
    """One build."""

    trt: Any
    version: tuple[int, ...]
    gpu: Gpu
    options: TensorRTOptions
    precision: Precision
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.log = BuildLog(echo=self.say, echo_from="ERROR")
        self.strong = strongly_typed(self.version, implicit=self.options.implicit)

    def plan(self, network: Network, engine: Path) -> tuple[Any, dict[str, Any]]:
        """Configure, build and write the plan; give it, and what the sidecar keeps."""
        config = self.log.made(network.builder.create_builder_config(), "builder configuration")
        limit_mib = self._workspace()
        configure(self.trt, network, config, self.options, self.precision, limit_mib)
        batches = add_profile(network, config, self.options.batches, self.log)
        away = self._dla(network, config)
        calibration = self._calibration(network, config)
        cache = self._timing_cache(engine, config)
        try:
            plan, seconds = self._built(network, config, calibration)
        finally:
            if cache is not None:  # of a build that failed, too: the next one goes on from there
                cache.keep(config)
        if plan is None:
            raise self._failure(limit_mib)
        engine.write_bytes(memoryview(plan))
        return plan, {
            **self.options.json(),
            "strongly_typed": self.strong,
            "profile": None if batches is None else batches.json(),
            "workspace_mib": limit_mib,
            "layers_off_dla": list(dict.fromkeys([*away, *self.log.left_dla])),
            "calibration": None if calibration is None else {"batches": calibration.seen},
            "build_s": round(seconds, 1),
        }

    def delivered(self, plan: tensorrt.IHostMemory, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Load the plan once and say what it is; give what the sidecar keeps."""
        layers = precision_by_layer(
            self.trt, plan, self.log, version_compatible=self.options.version_compatible
        )
        self._check_delivered(layers)
        self.say(f"built in {facts['build_s']} s; layers: {counted(layers) or 'not told'}")
        self._say_warnings()
        return {**facts, "precision_by_layer": layers}

    def _built(
        self, network: Network, config: tensorrt.IBuilderConfig, calibration: Calibration | None
    ) -> tuple[Any, float]:
        """Build; give the plan, or None, and the seconds it took. Errors of callbacks are raised here."""
        with Progress(self.say) as progress:
            progress.attach(self.trt, config)
            plan = network.builder.build_serialized_network(network.network, config)
            seconds = progress.elapsed_s
        if progress.error is not None:
            raise progress.error
        if calibration is not None:
            calibration.check(self.trt.__version__)
        return plan, seconds

    def _check_delivered(self, layers: Mapping[str, str]) -> None:
        """Fail where TensorRT was allowed a precision and chose it for no layer at all."""
        told = [kind for kind in layers.values() if kind]
        if self.precision != "fp32" and told and not any(self.precision in kind for kind in told):
            raise PrecisionError(
                f"{self.precision} was asked for, and TensorRT {self.trt.__version__} "
                f"computes no layer in it (layers: {counted(layers)})",
                hint="--precision fp32 is as fast for this model",
            )

    def _workspace(self) -> int | None:
        if self.options.workspace_mib is not None:
            return self.options.workspace_mib
        memory = memory_here() if self.gpu.integrated else None
        if memory is None:
            return None  # a card has its own memory: TensorRT's limit is all of it
        chosen, words = workspace_mib(memory)
        self.say(f"workspace {chosen} MiB: {words}")
        return chosen

    def _dla(self, network: Network, config: tensorrt.IBuilderConfig) -> tuple[str, ...]:
        if self.options.dla_core is None:
            return ()
        where = f"{self.gpu.name} with TensorRT {self.trt.__version__}"
        away = place_on_dla(self.trt, network, config, self.options, self.precision, where)
        if away:
            more = " ..." if len(away) > 6 else ""
            self.say(f"{len(away)} layers run on the GPU, not on the DLA: {', '.join(away[:6])}{more}")
        return away

    def _calibration(self, network: Network, config: tensorrt.IBuilderConfig) -> Calibration | None:
        if self.options.implicit_cache is not None:
            cache = self.options.implicit_cache(cache_number(self.version))
            calibration = calibration_from_cache(self.trt, cache)
        elif self.options.device_feed is not None:
            calibration = calibration_on_device(self.trt, self.options.device_feed)
            if any(-1 in tensor.shape for tensor in network.inputs):
                self._set_calibration_profile(network, config, self.options.device_feed.batch)
        else:
            return None
        config.int8_calibrator = calibration.calibrator
        return calibration

    def _set_calibration_profile(self, network: Network, config: tensorrt.IBuilderConfig, batch: int) -> None:
        profile = self.log.made(network.builder.create_optimization_profile(), "calibration profile")
        for tensor in network.inputs:
            shape = (batch, *tensor.shape[1:])
            profile.set_shape(tensor.name, shape, shape, shape)
        if not config.set_calibration_profile(profile):
            raise BuildError(f"TensorRT refuses the calibration profile of batch {batch}")

    def _timing_cache(self, engine: Path, config: tensorrt.IBuilderConfig) -> TimingCacheFile | None:
        if not self.options.timing_cache:
            return None
        cache = TimingCacheFile(engine.parent, self.trt.__version__, self.gpu.name, self.say)
        cache.attach(config)
        return cache

    def _failure(self, limit_mib: int | None) -> BuildError:
        said = self.log.last()
        if self.log.out_of_memory:
            return BuildError(
                f"memory ran out while building:\n{said}",
                hint="close what else uses memory, add swap, --workspace MIB smaller than "
                f"{limit_mib or self.gpu.memory_mib}, --optimization-level 2, or a smaller --size or batch",
            )
        if self.log.skipped_tactics or "insufficient" in said:
            return BuildError(
                f"no kernel fits into the workspace of {limit_mib} MiB:\n{said}",
                hint="--workspace MIB with more, or free memory first",
            )
        return BuildError(
            f"TensorRT {self.trt.__version__} gives no plan:\n{said or '  (and no reason)'}",
            hint="edgeyolo check MODEL.onnx; --precision fp16 tells whether the precision is to blame",
        )

    def _say_warnings(self) -> None:
        if self.log.skipped_tactics:
            self.say(f"{self.log.skipped_tactics} tactics left out for want of memory: more may be faster")
        for warning in self.log.warnings[:3]:
            self.say(f"TensorRT warns: {warning}")
