"""What ``edgeyolo build`` does: a float model, or a float model and its scales, become an engine.

Owns the join of graph, scales and backend: the graph that a backend wants is made here, so one calibration
serves every backend. Refuses to ship INT8 in silence where it is slower than FP32: on ONNX Runtime both are
measured, and the sidecar keeps the numbers (a second TensorRT engine would take minutes).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from edgeyolo.build import BackendChoice, Batches, TensorRTOptions, build, choose_backend
from edgeyolo.build.trt_options import strongly_typed
from edgeyolo.errors import ConfigError
from edgeyolo.files import sha256_of
from edgeyolo.graph.onnx_file import read_onnx
from edgeyolo.graph.suppress import GraphNms, nms_from_options
from edgeyolo.pipeline.adapt import AdaptOptions, contract_form
from edgeyolo.pipeline.graph_for import Wanted, cache_bytes, checked_scales, graph_for, scales_path
from edgeyolo.runtime import Engine, open_engine
from edgeyolo.sidecar import Backend, EngineInfo
from edgeyolo.spec import Precision

# Batches, TensorRTOptions and suppression belong to a BuildConfig: who makes one finds them here.
__all__ = [
    "Batches",
    "BuildConfig",
    "GraphNms",
    "Speed",
    "TensorRTOptions",
    "build_engine",
    "in_contract_form",
    "measure",
    "nms_from_options",
]

_LEAST_TURNS = 5
_TURN_S, _BUDGET_S = 0.05, 3.0
_UNMEASURED = (
    "INT8 was not measured against FP32, which takes the float model: on ONNX Runtime a Q/DQ graph made for "
    "TensorRT is often slower than FP32. --calibration DIR with the float model measures both"
)
_EQUAL = 1.05  # below this ratio two medians of a busy machine say nothing


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What to build.

    Args:
        model: A float ONNX model; for int8 without `calibration` one that has Q/DQ nodes already. One of
            another origin is adapted first.
        output: The engine file.
        backend: Who runs it.
        precision: What it computes in.
        calibration: What ``edgeyolo calibrate`` wrote: its folder, or the scales file in it.
        implicit: Give the scales to TensorRT's calibrator and not into the graph (TensorRT up to 10, DLA).
        calibrate_on_device: Pictures for TensorRT's own calibrator, as ``edgeyolo calibrate`` takes them.
        limit: Most pictures for that.
        tensorrt: What else only TensorRT has.
        nms: A suppression that becomes part of the engine; None leaves it to the host.
        adapt: What the user says of a model of another origin.
        source: The model of another origin that `model` was adapted from.
        words: Options as they were given on a command line, for the command that the sidecar keeps.
        recipe: The recipe that this is a stage of; the sidecar keeps its hash and ``edgeyolo make``.
    """

    model: Path
    output: Path
    backend: BackendChoice = "auto"
    precision: Precision = "fp32"
    calibration: Path | None = None
    implicit: bool = False
    calibrate_on_device: str | None = None
    limit: int | None = None
    tensorrt: TensorRTOptions = field(default_factory=TensorRTOptions)
    nms: GraphNms | None = None
    adapt: AdaptOptions = field(default_factory=AdaptOptions)
    source: Path | None = None
    words: tuple[str, ...] = ()
    recipe: Path | None = None

    def __post_init__(self) -> None:
        for option, value in (
            ("--calibration", self.calibration),
            ("--calibrate-on-device", self.calibrate_on_device),
        ):
            if value is not None and self.precision != "int8":
                raise ConfigError(
                    f"{option} goes with --precision int8, --precision {self.precision} found",
                    hint=f"add --precision int8, or leave {option} out",
                )
        if self.calibration is not None and self.calibrate_on_device is not None:
            raise ConfigError("--calibration has scales, --calibrate-on-device finds them: one of the two")
        if self.implicit and self.calibration is None:
            raise ConfigError("--implicit goes with --calibration DIR, whose scales it gives to TensorRT")

    def command(self, backend: Backend) -> str:
        """Give the command that builds the same engine again."""
        if self.recipe is not None:
            return shlex.join(["edgeyolo", "make", str(self.recipe)])
        model = self.source or self.model
        words = ["edgeyolo", "build", str(model), "-o", str(self.output), "--backend", backend]
        words += ["--precision", self.precision]
        if self.calibration is not None:
            words += ["--calibration", str(self.calibration)]
        return shlex.join([*words, *self.words, *self.adapt.words()])

    def made_from(self) -> dict[str, str]:
        """Give role to sha256 of what the engine is made from beside model and scales."""
        files = {"recipe": self.recipe, "source": self.source}
        return {role: sha256_of(path) for role, path in files.items() if path is not None}


@contextlib.contextmanager
def in_contract_form(config: BuildConfig, say: Callable[[str], None]) -> Iterator[BuildConfig]:
    """Give the config with a model that keeps the graph contract; one of another origin is adapted."""
    with contract_form(config.model, config.adapt, say) as model:
        changed = model != config.model
        yield dataclasses.replace(config, model=model, source=config.model) if changed else config


@dataclass(frozen=True)
class Speed:
    """Median milliseconds of one inference, both engines measured in turn."""

    int8_ms: float
    fp32_ms: float

    def __str__(self) -> str:
        faster, slower = sorted((self.int8_ms, self.fp32_ms))
        times = f"INT8 {self.int8_ms:.2f} ms, FP32 {self.fp32_ms:.2f} ms an inference: INT8 is"
        if slower < _EQUAL * faster:
            return f"{times} as fast as FP32 here, within {_EQUAL - 1:.0%}"
        if self.int8_ms < self.fp32_ms:
            return f"{times} {slower / faster:.2f} times faster here"
        return (
            f"{times} {slower / faster:.2f} times SLOWER here; use --precision fp32 on this machine, unless "
            "you only want to see INT8's results"
        )


def build_engine(config: BuildConfig, *, report: Callable[[str], None] | None = None) -> EngineInfo:
    """Build an engine, from scales where they are given.

    Args:
        config: What to build.
        report: Is told what was chosen, and why.

    Returns:
        What the sidecar says.

    Raises:
        CalibrationError: The scales cannot be read.
        StaleScalesError: They were made for another model or preprocess.
        EdgeYoloError: As `edgeyolo.build.build`.
    """
    say = report or (lambda _: None)
    with in_contract_form(config, say) as ready:
        return _build_engine(ready, say)


def _build_engine(config: BuildConfig, say: Callable[[str], None]) -> EngineInfo:
    backend, _ = choose_backend(config.backend)
    scales = None if config.calibration is None else scales_path(config.calibration)
    implicit = config.implicit or config.calibrate_on_device is not None
    if implicit and backend == "onnxruntime":
        raise ConfigError(
            "--implicit and --calibrate-on-device are TensorRT's, ONNX Runtime is the backend",
            hint="--calibration DIR alone, or --backend tensorrt",
        )
    as_it_is = scales is None and backend == "onnxruntime" and config.nms is None
    if not config.model.is_file() or as_it_is:
        info = _built(config, backend, config.model, None, config.tensorrt, say)
        if config.precision == "int8":
            say(_UNMEASURED)
        return info
    typed = _typed(backend, implicit)
    wanted = Wanted(
        backend=backend, precision=config.precision, typed=typed, implicit=implicit, nms=config.nms
    )
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as folder, _options(config, scales) as options:
        graph = graph_for(config.model, wanted, scales, Path(folder))
        for note in graph.notes:
            say(note)
        if backend == "tensorrt":
            options = dataclasses.replace(options, decode=graph.decode)
        info = _built(config, backend, graph.path, graph.made_from, options, say)
        if config.nms is not None:
            info = _with_extra(config, info, nms=dataclasses.asdict(config.nms))
        if backend == "tensorrt" or scales is None:
            return info
        fp32 = Path(folder, "fp32.engine")
        build(config.model, fp32, backend=backend, precision="fp32")
        speed = measure(config.output, fp32)
    say(str(speed))
    return _with_extra(config, info, speed_at_build=dataclasses.asdict(speed))


def _with_extra(config: BuildConfig, info: EngineInfo, **facts: Any) -> EngineInfo:
    """Write more into a sidecar."""
    info = dataclasses.replace(info, extra={**info.extra, **facts})
    info.write(config.output)
    return info


def _built(
    config: BuildConfig,
    backend: Backend,
    graph: Path,
    made_from: dict[str, str] | None,
    options: TensorRTOptions,
    say: Callable[[str], None],
) -> EngineInfo:
    return build(
        graph,
        config.output,
        backend=config.backend,
        precision=config.precision,
        made_from={**(made_from or {}), **config.made_from()},
        command=config.command(backend),
        tensorrt=options,
        report=say,
    )


def _typed(backend: Backend, implicit: bool) -> bool:
    if backend != "tensorrt":
        return False
    from edgeyolo.build.tensorrt_builder import tensorrt_version

    return strongly_typed(tensorrt_version(), implicit=implicit)


@contextlib.contextmanager
def _options(config: BuildConfig, scales: Path | None) -> Iterator[TensorRTOptions]:
    """Give the options with what implicit INT8 needs: a cache of our scales, or pictures on the device."""
    if config.implicit and scales is not None:
        found = checked_scales(config.model, read_onnx(config.model), scales)
        yield dataclasses.replace(config.tensorrt, implicit_cache=lambda number: cache_bytes(found, number))
    elif config.calibrate_on_device is not None:
        from edgeyolo.pipeline.device_feed import device_feed

        with device_feed(config.model, config.calibrate_on_device, config.limit) as feed:
            yield dataclasses.replace(config.tensorrt, device_feed=feed)
    else:
        yield config.tensorrt


def measure(int8: Path, fp32: Path) -> Speed:
    """Measure two engines in turn, so that a machine that slows down slows both.

    Args:
        int8: One engine.
        fp32: The other.
    """
    with open_engine(int8) as one, open_engine(fp32) as other:
        for engine in (one, other):
            _turn_ms(engine)  # to warm up
        turns: list[tuple[list[float], list[float]]] = []
        end = perf_counter() + _BUDGET_S
        while len(turns) < _LEAST_TURNS or perf_counter() < end:
            turns.append((_turn_ms(one), _turn_ms(other)))
    return Speed(*(median(itertools.chain(*each)) for each in zip(*turns, strict=True)))


def _turn_ms(engine: Engine) -> list[float]:
    """Time inferences that follow each other, as those of a camera do, in milliseconds.

    The first of a turn finds its threads asleep and the other engine's weights in the caches: it is left out
    where it is not alone. The ratio of yolov3-tiny on two cores varied by 0.1 so, by 0.2 with single ones.
    """
    times: list[float] = []
    end = perf_counter() + _TURN_S
    while not times or perf_counter() < end:
        times.append(_run_ms(engine))
    return times[1:] or times


def _run_ms(engine: Engine) -> float:
    start = perf_counter()
    engine.infer(0)
    return (perf_counter() - start) * 1e3
