"""How fast an engine runs here: each stage's percentiles, frames a second, memory, time to load.

Owns the measurement. It runs the same loop as ``edgeyolo run`` (with drawing, without writing), so that what
it says is what a user gets.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeyolo.camera import open_source
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Frame, Result, Source
from edgeyolo.pipeline.drawing import drawer
from edgeyolo.pipeline.inference import Model
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig, LoopReport
from edgeyolo.pipeline.run import open_model
from edgeyolo.runtime import open_engine
from edgeyolo.vision.nms import Suppression

__all__ = ["BenchReport", "bench"]

_MEASURED = ("capture", "preprocess", "infer", "postprocess", "draw")
_PERCENTS = (50, 90, 99)
_WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """What was measured.

    Args:
        engine: The engine file.
        backend: Its backend.
        precision: Its precision.
        input_wh: Its input, pixels.
        source: Where the pictures came from.
        frames: Frames measured.
        fps: Frames a second of the overlapped loop.
        load_ms: Milliseconds to open the engine, its sidecar's check included.
        first_ms: Milliseconds of the first picture, from pixels to result, which no other number has in it.
        peak_memory_mib: Largest resident memory of the process so far.
        stage_ms: Stage to ``{"p50", "p90", "p99"}``; ``latency`` is preprocess, infer and postprocess of one
            frame together.
        layer_ms: Layer to mean milliseconds, one inference at a time; empty unless asked for.
        notes: What the user should know of how the engine runs.
    """

    engine: str
    backend: str
    precision: str
    input_wh: tuple[int, int]
    source: str
    frames: int
    fps: float
    load_ms: float
    first_ms: float
    peak_memory_mib: float
    stage_ms: dict[str, dict[str, float]]
    layer_ms: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Give the report as a table."""
        width, height = self.input_wh
        what = f"{self.backend} {self.precision} {width}x{height}"
        yield f"{self.engine}: {what}, {self.frames} frames of {self.source}"
        yield f"{'stage':<12} {'p50':>9} {'p90':>9} {'p99':>9}   ms"
        for stage, values in self.stage_ms.items():
            yield f"{stage:<12} " + " ".join(f"{values[f'p{p}']:9.2f}" for p in _PERCENTS)
        yield f"{self.fps:.1f} FPS with stages overlapped"
        yield (
            f"first result after {self.load_ms + self.first_ms:.0f} ms: load {self.load_ms:.0f} ms, "
            f"first picture {self.first_ms:.0f} ms; peak memory {self.peak_memory_mib:.0f} MiB"
        )
        yield from self.notes
        if self.layer_ms:
            yield from self._layer_lines()

    def _layer_lines(self) -> Iterator[str]:
        total = sum(self.layer_ms.values())
        yield f"{len(self.layer_ms)} layers, {total:.2f} ms, the slowest first:"
        for name, ms in sorted(self.layer_ms.items(), key=lambda item: -item[1]):
            yield f"{ms:9.3f} ms {ms / total if total else 0:6.1%}  {name}"


def bench(
    engine: Path | str,
    *,
    source: str = "test://",
    frames: int = 200,
    layers: bool = False,
    nms: Suppression | None = None,
) -> BenchReport:
    """Measure an engine on a source; one that ends early is begun again.

    Args:
        engine: The engine file.
        source: URI of the source.
        frames: Frames to measure, after a warm-up.
        layers: Whether to measure each layer too (TensorRT).
        nms: As for `Detector`.

    Raises:
        ConfigError: `frames` is below 1, or layers are asked of an engine that cannot tell.
        EngineError: The engine cannot be used.
        SourceError: The source cannot be opened, or fails.
    """
    if frames < 1:
        raise ConfigError(f"--frames: 1 or more expected, {frames} found")
    with ExitStack() as stack:
        start = perf_counter()
        model = open_model(open_engine(engine), nms=nms)
        load_ms = (perf_counter() - start) * 1e3
        stack.callback(model.close)
        if layers and model.engine.info.backend != "tensorrt":
            raise ConfigError(
                f"--layers: a TensorRT engine expected, {engine} is for {model.engine.info.backend}"
            )
        repeated = _Repeated(source)
        stack.callback(repeated.close)
        start = perf_counter()
        model(np.zeros((64, 64, 3), np.uint8))
        first_ms = (perf_counter() - start) * 1e3
        for _ in range(_WARM_UP):
            model.infer()
        sink = _LatencySink()
        config = LoopConfig(draw=drawer(model.names), limit=frames)
        report = FrameLoop({"0": repeated}, model, [sink], config).run()
        info, notes = model.engine.info, model.engine.notes
        layer_ms = _layer_ms(model) if layers else {}
    return BenchReport(
        engine=str(engine),
        backend=info.backend,
        precision=info.precision,
        input_wh=info.spec.input_wh,
        source=repeated.name,
        frames=report.frames,
        fps=report.fps,
        load_ms=load_ms,
        first_ms=first_ms,
        peak_memory_mib=_peak_memory_mib(),
        stage_ms=_stage_ms(report, sink.times),
        layer_ms=layer_ms,
        notes=notes,
    )


class _Repeated:
    """A source that begins again where it ends."""

    def __init__(self, uri: str) -> None:
        self._source: Source = open_source(uri)
        self.name, self.live, self.fps = self._source.name, self._source.live, self._source.fps
        self.frame_count, self.notes = None, self._source.notes

    def __iter__(self) -> Iterator[Frame]:
        while True:
            yield from self._source

    def close(self) -> None:
        self._source.close()


class _LatencySink:
    """Takes pictures, so that drawing is measured, and keeps each frame's latency."""

    wants_picture = True

    def __init__(self) -> None:
        self.times: list[float] = []

    def write(self, result: Result) -> None:
        self.times.append(result.latency_ms)

    def close(self) -> None:
        pass


def _layer_ms(model: Model) -> dict[str, float]:
    from edgeyolo.runtime.tensorrt_layers import layer_times

    return {name: round(ms, 4) for name, ms in layer_times(model.engine).items()}


def _peak_memory_mib() -> float:
    """Source: getrusage(2): ru_maxrss is in KiB on Linux, in bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _stage_ms(report: LoopReport, latency_ms: list[float]) -> dict[str, dict[str, float]]:
    table = {
        stage: {f"p{p}": round(report.times.percentile(stage, p), 3) for p in _PERCENTS}
        for stage in _MEASURED
    }
    table["latency"] = {f"p{p}": round(float(np.percentile(latency_ms, p)), 3) for p in _PERCENTS}
    return table
