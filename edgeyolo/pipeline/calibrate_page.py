"""What ``report.html`` says of a calibration: which figures, which layers, which pictures, which commands.

Owns the selection. Figures come from the stages, the page's look from `edgeyolo.calibrate.report`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from edgeyolo.calibrate.check import advice_on_count
from edgeyolo.calibrate.choice import group_counts
from edgeyolo.calibrate.report import LayerRow, ReportData, Thumbnail
from edgeyolo.calibrate.report_plots import HistogramPlot
from edgeyolo.optional import require
from edgeyolo.pipeline.calibration import AIM, NOT_INT8_EITHER, Calibration
from edgeyolo.pipeline.compare import worst_pictures
from edgeyolo.qdq.placement import float_layers_on

__all__ = ["page_of"]

_PLOTS = 9
_THUMBNAIL_SIDE = 480
_THUMBNAIL_QUALITY = 80


def page_of(result: Calibration) -> ReportData:
    """Put together what the page shows.

    Args:
        result: The finished calibration.

    Raises:
        SourceError: A picture can no longer be read.
    """
    return ReportData(
        model=result.config.model.name,
        verdict=result.verdict,
        passed=_passed(result),
        headline=_headline(result),
        inputs=_inputs(result),
        findings=result.checked.findings if result.checked else (),
        movement=tuple(_movement(result)),
        choices=_choices(result),
        log=result.choice.log,
        accuracy=tuple(_accuracy(result)),
        layers=tuple(_layers(result)),
        error_unit=result.choice.error_unit,
        histograms=tuple(_histograms(result)),
        histogram_note="These are of the network before equalisation and offsets."
        if result.choice.scales.channel_factors or result.choice.scales.offsets
        else "",
        worst=tuple(_worst(result)),
        commands=tuple(_commands(result)),
        fingerprints=_fingerprints(result),
        warnings=tuple(_warnings(result)),
    )


def _passed(result: Calibration) -> bool | None:
    """Tell good from bad by the target; where none was asked for, nothing below the search's aim is good."""
    if result.config.target_agreement is not None or not result.passed:
        return result.passed
    return True if result.agreement is not None and result.agreement >= AIM else None


def _headline(result: Calibration) -> dict[str, str]:
    figures = {}
    if result.agreement is not None:
        figures["agreement with FP32"] = f"{result.agreement:.3f}"
    if result.boxes is not None and not math.isnan(result.boxes.pseudo_map):
        figures["pseudo-mAP against FP32"] = f"{result.boxes.pseudo_map:.3f}"
    figures["of the multiply-adds in INT8"] = f"{result.int8_macs:.1%}"
    every = len(result.plan.layers)
    figures["layers in float"] = f"{every - len(result.int8_layers)} of {every}"
    if result.checked is not None:
        figures["pictures"] = str(len(result.checked.manifest))
    figures["calibrated in"] = f"{result.seconds:.0f} s"
    return figures


def _inputs(result: Calibration) -> dict[str, str]:
    checked = result.checked
    if checked is None:
        return {"source": f"calibration cache {result.config.from_cache}"}
    rows = {
        "source": checked.described,
        "found": f"{checked.considered} pictures",
        "used": f"{len(checked.manifest)} pictures, listed in manifest.txt",
    }
    if result.judged is not None:
        rows["compared on"] = f"{len(result.judged)} of them"
    return rows


def _movement(result: Calibration) -> Iterator[str]:
    if result.movement is not None:
        most = result.movement.most
        yield f"Would more pictures help? Going {result.movement} (percentile scales; most: {most})."


def _choices(result: Calibration) -> dict[str, str]:
    rows = {"method": result.choice.scales.provenance.method, "placement for": result.config.target}
    if result.choice.applied:
        rows["applied"] = "; ".join(result.choice.applied)
    if result.searched:
        rows["aims at"] = f"agreement {result.config.aim:g}"
        rows["may stay float"] = f"{result.config.max_float_macs:.1%} of the multiply-adds at most"
    return rows


def _accuracy(result: Calibration) -> Iterator[tuple[str, str, str]]:
    if isinstance(result.labelled, tuple):
        fp32, int8 = result.labelled
        yield f"AP on {fp32.images} labelled pictures", f"{fp32.ap:.4f}", f"{int8.ap:.4f}"
        yield "AP50", f"{fp32.ap50:.4f}", f"{int8.ap50:.4f}"
    found = result.boxes
    if found is None:
        return
    yield "boxes above the threshold", str(found.matched + found.lost), str(found.matched + found.invented)
    yield "of them matched by the other", str(found.matched), str(found.matched)
    yield "mean IoU of matched boxes", "", f"{found.mean_iou:.4f}"
    yield "score bias, mean drift", "", f"{found.score_bias:+.4f}, {found.score_drift:.4f}"


def _layers(result: Calibration) -> Iterator[LayerRow]:
    scales = result.choice.scales
    left = float_layers_on(result.config.target, result.plan, scales)
    int8 = {layer.name for layer in result.int8_layers}
    macs = result.plan.macs or 1
    for layer in result.plan.layers:
        scale = scales.tensors.get(layer.input)
        reason = left.get(layer.name, "")
        if layer.name not in int8 and not reason:
            reason = f"{result.config.target} computes it in float: {NOT_INT8_EITHER}"
        yield LayerRow(
            name=layer.name,
            op=layer.op,
            macs=layer.macs / macs,
            int8=layer.name in int8,
            amax=None if scale is None else scale.amax,
            method="" if scale is None else scale.method,
            error=result.choice.layer_errors.get(layer.name),
            reason=reason,
        )


def _histograms(result: Calibration) -> Iterator[HistogramPlot]:
    """Plot the inputs of the layers of the largest error; where none was measured, of those most clipped."""
    if result.statistics is None:
        return
    scales, errors = result.choice.scales, result.choice.layer_errors
    plots: dict[str, tuple[float, HistogramPlot]] = {}
    for layer in result.plan.layers:
        group = result.plan.group_of.get(layer.input)
        if group is None or layer.input not in scales.tensors:
            continue
        counts, width = group_counts(result.plan, result.statistics, group)
        used = counts.nonzero()[0]
        largest = float((used[-1] + 1) * width) if len(used) else 0.0
        scale = scales.plain.get(layer.input) or scales.tensors[layer.input]
        plot = HistogramPlot(
            tensor=layer.input,
            counts=counts,
            width=width,
            amax=scale.amax,
            largest=largest,
            method=scale.method,
        )
        weight = errors.get(layer.name, 0.0) if errors else largest / scale.amax
        if layer.input not in plots or weight > plots[layer.input][0]:
            plots[layer.input] = (weight, plot)
    ranked = sorted(plots.values(), key=lambda entry: -entry[0])
    yield from (plot for _, plot in ranked[:_PLOTS])


def _worst(result: Calibration) -> Iterator[Thumbnail]:
    if result.boxes is None or result.judged is None:
        return
    cv2 = require("cv2", why="to draw the report's pictures")
    figures = {picture.name: picture for picture in result.boxes.worst}
    drawn = worst_pictures(
        result.judged,
        result.pairs,
        result.boxes,
        captions=("FP32", "INT8"),
        classes=result.spec.names,
        max_side=_THUMBNAIL_SIDE,
    )
    for name, picture in drawn:
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY])
        found = figures[name]
        caption = (
            f"{name}: {found.matched} matched, {found.lost} lost, {found.invented} invented, "
            f"IoU {found.iou:.2f}, score drift {found.drift:.2f}"
        )
        yield Thumbnail(caption, jpeg.tobytes())


def _commands(result: Calibration) -> Iterator[tuple[str, str]]:
    folder, engine = result.config.output, str(result.engine)
    yield "an engine for this machine, from scales.json", shlex.join(result.build_command)
    compare = ["edgeyolo", "compare", "FP32.engine", engine, "--images", result.config.images or "DIR"]
    yield "how far it agrees with an FP32 engine", shlex.join(compare)
    graph = str(folder / "model.int8.onnx")
    if result.config.target == "tensorrt":
        yield (
            "TensorRT 8.5 to 10 without EdgeYOLO, from the Q/DQ graph (11: no --int8 --fp16)",
            shlex.join(["trtexec", f"--onnx={graph}", "--int8", "--fp16", "--saveEngine=model.plan"]),
        )
    words = [
        "trtexec",
        f"--onnx={result.config.model}",
        "--int8",
        "--fp16",
        f"--calib={folder / 'tensorrt.cache'}",
    ]
    if result.choice.scales.float_layers:
        names = ",".join(f"{name}:fp16" for name in result.choice.scales.float_layers)
        words += ["--precisionConstraints=obey", f"--layerPrecisions={names}"]
    yield "or from the calibration cache (TensorRT 8 to 10, DLA)", shlex.join(words)


def _fingerprints(result: Calibration) -> dict[str, str]:
    made = result.choice.scales.provenance
    return {
        "model": f"sha256 {made.model_sha256}",
        "preprocess": f"sha256 {made.preprocess_sha256}",
        "manifest": f"sha256 {made.manifest_sha256}" if made.manifest_sha256 else "none",
        **dict(made.versions),
    }


def _warnings(result: Calibration) -> Iterator[str]:
    if isinstance(result.labelled, str):
        yield result.labelled
    if result.choice.unmatched:
        yield (
            f"{len(result.choice.unmatched)} names of the calibration cache are not in this model; they are "
            "listed step by step below."
        )
    if result.choice.lacking:
        yield (
            f"{len(result.choice.lacking)} tensors of this model are not in the calibration cache: layers "
            "that read them stay float."
        )
    checked = result.checked
    if checked is None:
        return
    if result.config.from_cache is None:
        advice = advice_on_count(len(checked.manifest), result.config.method)
        yield from [f"{advice}."] if advice else []
    for kind, words in (
        ("near_duplicate", "look like another: they count as one. From a video, take frames further apart"),
        ("dark", "are dark: right if the camera sees nights, wrong if not"),
        ("blurred", "are blurred"),
    ):
        if checked.count(kind) * 5 > len(checked.manifest):
            yield f"{checked.count(kind)} of {len(checked.manifest)} pictures {words}."
