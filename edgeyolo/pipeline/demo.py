"""The whole way on this machine with nothing to download: what ``edgeyolo demo`` does.

Owns the demo's order and its report. Every stage is called as the command line calls it; nothing here
computes boxes or numbers of its own.

A `Variant` is one way to build the demo model: FP32 and INT8. Another is one more entry of what
`_build_variants` gives, and its column in the tables comes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeyolo.build import build
from edgeyolo.camera.synthetic import SyntheticSource
from edgeyolo.darknet.convert import ConvertOptions, convert
from edgeyolo.evaluate.coco import Report
from edgeyolo.frames import Sink
from edgeyolo.graph.simplify import simplify
from edgeyolo.optional import require
from edgeyolo.pipeline.build import BuildConfig, build_engine
from edgeyolo.pipeline.calibrate import calibrate
from edgeyolo.pipeline.calibration import CalibrateConfig
from edgeyolo.pipeline.drawing import drawer
from edgeyolo.pipeline.evaluate import evaluate_engine
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig, LoopReport
from edgeyolo.pipeline.progress import ProgressSink
from edgeyolo.pipeline.run import open_model
from edgeyolo.pipeline.scenes import write_scenes
from edgeyolo.pipeline.stats import STAGES
from edgeyolo.runtime import open_engine
from edgeyolo.show import JsonLinesSink, VideoSink
from edgeyolo.show.contact_sheet import ContactSheetSink

__all__ = ["ASSETS", "DemoReport", "Variant", "VariantReport", "demo"]

ASSETS = Path(__file__).resolve().parents[1] / "assets"

# Training used seeds below 10^9, and the 200 from there to choose the best weights (tools/train_demo.py).
_SCENES_SEED = 2 * 10**9
_SCENES = 200
# Calibration sees neither the scenes of training nor those that accuracy is measured on.
_CALIBRATION_SEED = 4 * 10**9
_CALIBRATION_SCENES = 96
_CALIBRATED = "int8"
_VIDEO = SyntheticSource(frames=360, cut=60, seed=3 * 10**9 + 193)  # six bright scenes, for the picture
_SHOWN = range(_VIDEO.cut // 2, _VIDEO.frames, _VIDEO.cut)  # the middle of each scene
_CAPTION = (
    "frames of test://   coloured: found, with score   white corners: ground truth   red corners: missed"
)
_WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One engine of the demo model.

    Args:
        label: Its name in the tables.
        engine: Its file; the names of its results begin as this one does.
    """

    label: str
    engine: Path


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """What was measured of a variant.

    Args:
        variant: Which.
        accuracy: Against the truth of the scenes that training never saw.
        speed: Of the whole loop, drawing and writing the video included.
        video: The annotated video.
        jsonl: What was found in it.
        contact_sheet: Some of its frames beside the truth.
    """

    variant: Variant
    accuracy: Report
    speed: LoopReport
    video: Path
    jsonl: Path
    contact_sheet: Path

    @property
    def stage_ms(self) -> dict[str, dict[str, float]]:
        """Stage to ``{"p50", "p99"}``, milliseconds a frame."""
        times = self.speed.times
        return {
            stage: {f"p{p}": round(times.percentile(stage, p), 3) for p in (50, 99)}
            for stage in STAGES
            if times.count(stage)
        }

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {
            "label": self.variant.label,
            "engine": str(self.variant.engine),
            "engine_bytes": self.variant.engine.stat().st_size,
            "accuracy": self.accuracy.to_json(),
            "fps": round(self.speed.fps, 2),
            "stage_ms": self.stage_ms,
            "video": str(self.video),
            "jsonl": str(self.jsonl),
            "contact_sheet": str(self.contact_sheet),
        }


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo made and measured.

    Args:
        output: The folder.
        scenes: Folder of the pictures that accuracy was measured on.
        annotations: Their truth, a COCO "instances" file.
        variants: One entry an engine.
        seconds: How long all of it took.
    """

    output: Path
    scenes: Path
    annotations: Path
    variants: tuple[VariantReport, ...]
    seconds: float

    @property
    def calibration_page(self) -> Path:
        """What the INT8 calibration saw, chose and lost."""
        return self.output / _CALIBRATED / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {
            "output": str(self.output),
            "scenes": str(self.scenes),
            "annotations": str(self.annotations),
            "calibration_page": str(self.calibration_page),
            "variants": [variant.to_json() for variant in self.variants],
            "seconds": round(self.seconds, 1),
        }


def demo(output: Path | str, *, say: Callable[[str], None] = lambda line: None) -> DemoReport:
    """Convert, simplify, build, run and evaluate the demo model.

    Args:
        output: Folder for everything that is made.
        say: Is told each step as it begins.

    Raises:
        MissingDependencyError: A package is absent, the one that computes mean average precision among them.
        EdgeYoloError: A stage failed.
    """
    begun = time.perf_counter()
    require("faster_coco_eval", why="to compute mean average precision")  # now rather than in a minute
    output = Path(output)
    variants = _build_variants(output, say)
    scenes, annotations = output / "scenes", output / "scenes.json"
    say(f"draw {_SCENES} scenes that training never saw -> {scenes}")
    write_scenes(scenes, annotations, seeds=range(_SCENES_SEED, _SCENES_SEED + _SCENES))
    reports = tuple(_measure(variant, scenes, annotations, say) for variant in variants)
    return DemoReport(
        output=output,
        scenes=scenes,
        annotations=annotations,
        variants=reports,
        seconds=time.perf_counter() - begun,
    )


def _build_variants(output: Path, say: Callable[[str], None]) -> list[Variant]:
    """Take the demo model from Darknet's files to engines."""
    onnx, simple, engine = output / "demo.onnx", output / "demo.simple.onnx", output / "demo.engine"
    cfg, weights = ASSETS / "demo.cfg", ASSETS / "demo.weights"
    say(f"convert {cfg.name} and {weights.name} -> {onnx}")
    network = convert(cfg, weights, onnx, ConvertOptions(names=ASSETS / "demo.names")).network
    size = f"{network.input_shape.w}x{network.input_shape.h}"
    say(f"  {network.parameter_count:,} parameters, {2 * network.macs / 1e9:.2f} GFLOPs at {size}")
    say(f"simplify -> {simple}")
    simplify(onnx, simple)
    say(f"build -> {engine}")
    build(simple, engine, backend="onnxruntime")
    return [Variant(label="FP32", engine=engine), _int8_variant(simple, output, say)]


def _int8_variant(model: Path, output: Path, say: Callable[[str], None]) -> Variant:
    """Calibrate the model on scenes of its own and build the INT8 engine."""
    images, folder, engine = output / "calibration", output / _CALIBRATED, output / "demo.int8.engine"
    say(f"draw {_CALIBRATION_SCENES} other scenes, calibrate with them -> {folder / 'report.html'}")
    seeds = range(_CALIBRATION_SEED, _CALIBRATION_SEED + _CALIBRATION_SCENES)
    write_scenes(images, output / "calibration.json", seeds=seeds)
    result = calibrate(CalibrateConfig(model=model, images=str(images), output=folder))
    say(f"  {result.verdict}")
    say(f"build -> {engine}")
    config = BuildConfig(
        model=model, output=engine, backend="onnxruntime", precision="int8", calibration=folder
    )
    build_engine(config, report=lambda line: say(f"  {line}"))
    return Variant(label="INT8", engine=engine)


def _measure(variant: Variant, scenes: Path, annotations: Path, say: Callable[[str], None]) -> VariantReport:
    video, jsonl, sheet = (variant.engine.with_suffix(suffix) for suffix in (".mp4", ".jsonl", ".png"))
    say(f"{variant.label}: run on {_VIDEO.name} -> {video}")
    speed = _run(variant, video, jsonl, sheet)
    say(f"{variant.label}: evaluate on {_SCENES} scenes")
    accuracy = evaluate_engine(variant.engine, scenes, annotations)
    return VariantReport(
        variant=variant, accuracy=accuracy, speed=speed, video=video, jsonl=jsonl, contact_sheet=sheet
    )


def _run(variant: Variant, video: Path, jsonl: Path, sheet: Path) -> LoopReport:
    """Run as ``edgeyolo run`` does, with one sink more: the contact sheet."""
    model = open_model(open_engine(variant.engine))
    try:
        for _ in range(_WARM_UP):
            model.infer()
        sinks: list[Sink] = [
            VideoSink(video, fps=_VIDEO.fps),
            JsonLinesSink(jsonl, model.names),
            ContactSheetSink(sheet, model.names, frames=_SHOWN, caption=_CAPTION),
            ProgressSink(_VIDEO.frame_count),
        ]
        config = LoopConfig(draw=drawer(model.names))
        return FrameLoop({"0": _VIDEO}, model, sinks, config).run()
    finally:
        model.close()
