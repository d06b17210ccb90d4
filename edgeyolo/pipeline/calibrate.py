"""What ``edgeyolo calibrate`` does: a model and your pictures become scales, an INT8 graph and a report.

Owns the order of the stages, the join of their results, and that the output folder gets all files or none.
Every figure comes from a stage; the page is put together in ``calibrate_page``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.calibrate.auto import AutoConfig, choice_by_search
from edgeyolo.calibrate.check import Checked, Movement, advice_on_count, check
from edgeyolo.calibrate.choice import Choice, choice_by_method, choice_from_cache
from edgeyolo.calibrate.collect import Statistics, collect, taps_for
from edgeyolo.calibrate.feed import Feed
from edgeyolo.calibrate.gather import gather
from edgeyolo.calibrate.growth import collect_growing
from edgeyolo.calibrate.manifest import Manifest
from edgeyolo.calibrate.report import report_html
from edgeyolo.calibrate.trt_cache import match, read_trt_cache, version_number
from edgeyolo.errors import GraphError
from edgeyolo.files import sha256_of, whole_folder, write_bytes, write_text
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.machine import versions_here
from edgeyolo.optional import require
from edgeyolo.pipeline.adapt import contract_form
from edgeyolo.pipeline.calibrate_page import page_of
from edgeyolo.pipeline.calibration import CalibrateConfig, Calibration
from edgeyolo.pipeline.compare import FLOOR, compare_detectors
from edgeyolo.pipeline.evaluate import CONF, IOU
from edgeyolo.pipeline.graph_for import cache_bytes
from edgeyolo.pipeline.labels import LabelledAccuracy, accuracy_on_labels
from edgeyolo.pipeline.steps import Steps
from edgeyolo.pipeline.trial import TrialEngine
from edgeyolo.qdq import GraphView, QuantPlan, int8_model, quant_plan
from edgeyolo.qdq.insert import require_opset
from edgeyolo.runtime import Detector, Engine
from edgeyolo.scales import Provenance, Scales, preprocess_sha256
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["calibrate"]

# Pictures that float and INT8 model are compared on at the end: enough for a figure, few enough for YOLOv3 on
# a laptop, where one picture through both takes a second or two.
_JUDGED = 48
# Pictures that judge what the search does, a quarter of all where there are few: the others are learnt from,
# and of those there are seldom enough.
_HELD_BACK = 32


def calibrate(config: CalibrateConfig) -> Calibration:
    """Calibrate a model and write the results, all files or none.

    Returns:
        What was found. `Calibration.passed` tells whether the target was met; the files are written either
        way, so that the report can be read.

    Raises:
        CalibrationError: The pictures, the cache or the activations give no scales.
        GraphError: The model cannot be taken; it is quantised already, for example.
        ConfigError: An option has no meaning for this model.
        OutputError: The folder cannot be written.
    """
    steps = Steps(shown=config.progress)
    with (
        whole_folder(config.output) as folder,
        contract_form(config.model, config.adapt, steps.say) as model,
    ):
        job = _Job(config, model, steps)
        result = job.run()
        job.write(folder, result)
    return result


class _Job:
    """One calibration: the model, and what is learnt about it step by step."""

    def __init__(self, config: CalibrateConfig, model: Path, steps: Steps) -> None:
        self._start_s = time.monotonic()
        self._config = config
        self._steps = steps
        self._model = read_onnx(model)
        self._model_sha256 = sha256_of(model)
        self._spec = _spec_of(self._model.metadata_props, model)
        self._view, self._plan = _planned(self._model, model)

    def run(self) -> Calibration:
        """Do all but the writing."""
        checked = self._pictures()
        if self._config.from_cache is not None:
            choice, statistics, moved = self._from_cache(self._config.from_cache), None, None
        else:
            assert checked is not None  # CalibrateConfig demands pictures where there is no cache
            seen, held_back = self._split(checked.manifest)
            statistics, moved = self._collected(seen)
            choice = self._chosen(checked.manifest, statistics, seen, held_back)
        result = Calibration(
            config=self._config,
            plan=self._plan,
            spec=self._spec,
            choice=choice,
            checked=checked,
            statistics=statistics,
            movement=moved,
        )
        if checked is not None:
            result = self._judged(result, checked.manifest)
        return dataclasses.replace(result, seconds=time.monotonic() - self._start_s)

    def write(self, folder: Path, result: Calibration) -> None:
        """Write every file of the output folder."""
        scales = result.choice.scales
        scales.write(folder / "scales.json")
        write_onnx(self._int8(scales), folder / "model.int8.onnx")
        version = version_number(self._config.trt_version)
        write_bytes(folder / "tensorrt.cache", cache_bytes(scales, version))
        manifest = result.checked.manifest if result.checked is not None else Manifest(Path(), ())
        manifest.write(folder / "manifest.txt")
        write_text(folder / "report.html", report_html(page_of(result)))

    def _pictures(self) -> Checked | None:
        if self._config.images is None:
            return None
        self._steps.begin("checking pictures")
        gathered = gather(self._config.images, every=self._config.every)
        checked = check(gathered, limit=self._config.limit, progress=self._steps)
        self._steps.end()
        if self._config.from_cache is None:
            advice = advice_on_count(len(checked.manifest), self._config.method)
            self._steps.say(advice or f"{len(checked.manifest)} pictures")
        return checked

    def _collected(self, manifest: Manifest) -> tuple[Statistics, Movement | None]:
        taps = taps_for(self._view, self._plan)
        done = 0

        def collect_part(part: Manifest) -> Statistics:
            nonlocal done
            before = done
            found = collect(
                self._model, taps, self._feed(part), progress=lambda count: self._steps(before + count)
            )
            done += found.images
            return found

        self._steps.begin("collecting activations", len(manifest))
        statistics, moved = collect_growing(manifest, self._plan, collect_part)
        self._steps.end()
        return statistics, moved

    def _split(self, manifest: Manifest) -> tuple[Manifest, Manifest]:
        """Hold some pictures back from the statistics where a search decides by them."""
        if self._config.method != "auto":
            return manifest, Manifest(manifest.root, ())
        count = max(1, min(_HELD_BACK, len(manifest) // 4))
        ranked = manifest.ranked()
        return Manifest.of(manifest.root, ranked[:-count]), Manifest.of(manifest.root, ranked[-count:])

    def _chosen(
        self, manifest: Manifest, statistics: Statistics, seen: Manifest, held_back: Manifest
    ) -> Choice:
        method = self._config.method
        provenance = self._provenance(manifest.fingerprint, len(manifest), method)
        if method != "auto":
            return choice_by_method(self._plan, statistics, method, provenance)
        deciding = list(self._feed(held_back))
        config = AutoConfig(
            target_agreement=self._config.aim,
            max_float_macs=self._config.max_float_macs,
            progress=self._steps.within,
        )
        return choice_by_search(self._model, statistics, self._feed(seen), deciding, provenance, config)

    def _feed(self, manifest: Manifest) -> Feed:
        return Feed(manifest, self._spec.preprocess, self._spec.input_wh)

    def _from_cache(self, path: Path) -> Choice:
        cache = read_trt_cache(path)
        wanted = [tensor for group in self._plan.groups for tensor in group]
        method = f"cache of TensorRT {cache.release}"
        return choice_from_cache(
            self._plan, match(cache, wanted), self._provenance("", 0, method), name=path.name
        )

    def _provenance(self, manifest_sha256: str, images: int, method: str) -> Provenance:
        ort = require("onnxruntime", why="to run the model over the calibration pictures")
        return Provenance(
            model_sha256=self._model_sha256,
            preprocess_sha256=preprocess_sha256(self._spec.preprocess),
            manifest_sha256=manifest_sha256,
            images=images,
            method=method,
            versions={**versions_here(), "onnxruntime": ort.__version__},
        )

    def _int8(self, scales: Scales) -> onnx.ModelProto:
        return int8_model(self._model, scales, self._config.target, plan=self._plan)

    def _judged(self, result: Calibration, manifest: Manifest) -> Calibration:
        """Run the float and the INT8 model over some pictures and compare what they say."""
        judged = Manifest.of(manifest.root, manifest.ranked()[-_JUDGED:])
        self._steps.begin("comparing FP32 with INT8", len(judged))
        int8 = self._int8(result.choice.scales)
        fuse = self._config.target == "onnxruntime"
        with (
            TrialEngine(self._model, self._spec, precision="fp32", fuse=True) as one,
            TrialEngine(int8, self._spec, precision="int8", fuse=fuse) as other,
        ):
            one.recorded, other.recorded = [], []
            if (self._spec.task, self._spec.outputs) == ("detect", "decoded"):
                detectors = Detector(one, conf=FLOOR), Detector(other, conf=FLOOR)
                pairs, boxes = compare_detectors(*detectors, judged, progress=self._steps)
            else:
                pairs, boxes = (), None
                for done, batch in enumerate(self._feed(judged), 1):
                    for engine in (one, other):
                        engine.input(0)[:1] = batch
                        engine.infer(0)
                    self._steps(done)
            agreement = OutputDeviation(one.recorded).agreement(other.recorded)
            one.recorded = other.recorded = None
            self._steps.end()
            labelled = self._labelled(judged, (one, other)) if boxes is not None else None
        return dataclasses.replace(
            result, judged=judged, pairs=pairs, boxes=boxes, agreement=agreement, labelled=labelled
        )

    def _labelled(self, judged: Manifest, engines: tuple[Engine, Engine]) -> LabelledAccuracy | str | None:
        one, other = (Detector(engine, conf=CONF, iou=IOU, multi_label=True) for engine in engines)
        return accuracy_on_labels(self._config.images or "", judged, (one, other), self._spec.names)


def _spec_of(metadata: Iterable[onnx.StringStringEntryProto], path: Path) -> ModelSpec:
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in metadata})
    assert spec is not None  # it is in contract form
    if spec.batch not in (None, 1):
        raise GraphError(
            f"{path}: a model of batch 1 or of a dynamic batch expected, batch {spec.batch} found",
            hint="scales belong to one ONNX file: edgeyolo convert ... --batch 1, calibrate and build that",
        )
    return spec


def _planned(model: onnx.ModelProto, path: Path) -> tuple[GraphView, QuantPlan]:
    """Plan INT8, refusing what cannot get it before any picture is read."""
    try:
        require_opset(model)
        view = GraphView(model)
        return view, quant_plan(view)
    except GraphError as exc:
        raise GraphError(f"{path}: {exc.message}", hint=exc.hint) from exc
