"""What a calibration is asked for, and what it gave: types between the work, the page and the command.

Owns the two dataclasses and their text. Refuses to do anything.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgeyolo.calibrate.check import Checked, Movement
from edgeyolo.calibrate.choice import Choice
from edgeyolo.calibrate.collect import Statistics
from edgeyolo.calibrate.manifest import Manifest
from edgeyolo.calibrate.trt_cache import version_number
from edgeyolo.errors import ConfigError
from edgeyolo.evaluate.compare import Agreement, Pair
from edgeyolo.pipeline.adapt import AdaptOptions
from edgeyolo.pipeline.labels import LabelledAccuracy
from edgeyolo.qdq import Layer, QuantPlan
from edgeyolo.qdq.placement import float_layers_on, int8_layers
from edgeyolo.spec import ModelSpec

__all__ = ["AIM", "CalibrateConfig", "Calibration", "Method", "Target"]

Method = Literal["auto", "entropy", "mse", "percentile", "minmax"]
Target = Literal["tensorrt", "onnxruntime"]

# What a search aims at where nobody asked for a number. Small detectors keep 0.99 of their mAP well below it
# (docs/int8.md), so falling short of it is told and no failure.
AIM = 0.95

_NAMED = 5  # pictures that could not be read, named on the terminal

# Why a target computes more in float than the scales say (`edgeyolo.qdq.placement.int8_layers`).
NOT_INT8_EITHER = "no INT8 layer reads its result, or a float layer does"


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """What to calibrate, with what, how.

    Args:
        model: A float ONNX model; one of another origin is adapted first.
        images: Pictures in any form that `edgeyolo.calibrate.gather.gather` takes; None only with
            `from_cache`.
        output: Folder for the results.
        method: How scales are chosen.
        limit: At most so many pictures, spread over all.
        every: Every n-th frame of a video.
        target: Whose placement ``model.int8.onnx`` has.
        target_agreement: Least agreement with the float model, 0..1: less is a failure. None asks for as much
            as the float budget buys, up to `AIM`.
        max_float_macs: Largest share of the multiply-adds that may stay float, 0..1.
        trt_version: TensorRT version in the header of ``tensorrt.cache``.
        from_cache: Take the scales of this calibration cache instead of choosing any.
        adapt: What the user says of a model of another origin.
        progress: Whether to tell on stderr how far it is.
    """

    model: Path
    images: str | None
    output: Path
    method: Method = "auto"
    limit: int | None = None
    every: int | None = None
    target: Target = "tensorrt"
    target_agreement: float | None = None
    max_float_macs: float = 0.05
    trt_version: str = "8601"
    from_cache: Path | None = None
    adapt: AdaptOptions = field(default_factory=AdaptOptions)
    progress: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (("method", self.method, Method), ("target", self.target, Target)):
            if value not in get_args(allowed):
                raise ConfigError(
                    f"--{name}: one of {', '.join(get_args(allowed))} expected, {value!r} found"
                )
        for name, share in (
            ("target-agreement", self.aim),
            ("max-float-macs", self.max_float_macs),
        ):
            if not 0 <= share <= 1:
                raise ConfigError(f"--{name}: 0..1 expected, {share} found")
        if self.images is None and self.from_cache is None:
            raise ConfigError("IMAGES: your pictures expected, none found; only --from-cache goes without")
        if self.images is None and self.target_agreement is not None:
            raise ConfigError("--target-agreement needs IMAGES to measure the agreement on, none found")
        version_number(self.trt_version)

    @property
    def aim(self) -> float:
        """The agreement that a search stops at."""
        return AIM if self.target_agreement is None else self.target_agreement


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a calibration gave.

    Args:
        config: What was asked for.
        plan: Layers and tensors of the model.
        spec: The model.
        choice: The scales and how they were chosen.
        checked: The pictures; None without.
        statistics: What was collected; None with scales from a cache.
        movement: Whether more pictures would still move the scales; None where it is not known.
        judged: Pictures that both models were compared on.
        pairs: What both models said of them.
        boxes: How far their boxes agree; None where they were not compared, or give none.
        agreement: Share of all confident scores that both agree on, 0..1
            (`edgeyolo.calibrate.agreement.OutputError.agreement`); None where they were not compared.
        labelled: Average precision of float and INT8 model on the judged pictures, or why there is none; None
            where the pictures came without labels.
        seconds: Seconds of the whole work.
    """

    config: CalibrateConfig
    plan: QuantPlan
    spec: ModelSpec
    choice: Choice
    checked: Checked | None
    statistics: Statistics | None
    movement: Movement | None
    judged: Manifest | None = None
    pairs: tuple[Pair, ...] = ()
    boxes: Agreement | None = None
    agreement: float | None = None
    labelled: LabelledAccuracy | str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the target agreement was met, where one was asked for, within the float budget."""
        wanted = self.config.target_agreement
        agrees = self.agreement is None or wanted is None or self.agreement >= wanted
        return agrees and not self._over_budget

    @property
    def float_macs(self) -> float:
        """Share of the multiply-adds that the scales leave in float, 0..1."""
        left = self.choice.scales.float_layers
        return self.plan.share(layer for layer in self.plan.layers if layer.name in left)

    @property
    def _over_budget(self) -> bool:
        """A search keeps within the budget; a calibration cache of another model does not."""
        return self.float_macs > self.config.max_float_macs + 1e-9

    @property
    def searched(self) -> bool:
        """Whether scales were searched for, which aims at an agreement."""
        return self.config.method == "auto" and self.config.from_cache is None

    @property
    def int8_macs(self) -> float:
        """Share of the multiply-adds that is INT8 on the target, 0..1."""
        return self.plan.share(self.int8_layers)

    @property
    def int8_layers(self) -> tuple[Layer, ...]:
        """The layers that are INT8 on the target."""
        return int8_layers(self.plan, self.config.target, self.choice.scales)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of what was written into the folder."""
        return ("scales.json", "model.int8.onnx", "tensorrt.cache", "report.html", "manifest.txt")

    @property
    def engine(self) -> Path:
        """What the engine that comes next may be called."""
        return self.config.model.with_suffix(".int8.engine")

    @property
    def build_command(self) -> Sequence[str]:
        """The command that comes next, as words."""
        words = ["edgeyolo", "build", str(self.config.model), "-o", str(self.engine), "--precision", "int8"]
        return [*words, "--calibration", str(self.config.output), *self.config.adapt.words()]

    @property
    def verdict(self) -> str:
        """One sentence on the target."""
        wanted = self.config.target_agreement
        if self._over_budget:
            return (
                f"Not met: {self.float_macs:.1%} of the multiply-adds would stay in float, at most "
                f"{self.config.max_float_macs:.1%} asked for (--max-float-macs). A cache of another model or "
                "another export? Names must be the same."
            )
        if self.agreement is None:
            return "Agreement with FP32 was not measured: there were no pictures."
        found = self.agreement
        if wanted is not None and self.passed:
            return f"Met: agreement with FP32 {found:.3f}, at least {wanted:g} asked for."
        more = "More pictures, more typical ones, or a larger --max-float-macs may bring more."
        if wanted is not None:
            return f"Not met: agreement with FP32 {found:.3f}, at least {wanted:g} asked for. {more}"
        if self.searched and found < AIM:
            return (
                f"Agreement with FP32 is {found:.3f}, short of the {AIM:g} that the search aims at with at "
                f"most {self.config.max_float_macs:.1%} of the multiply-adds in float. {more} "
                "--target-agreement X makes less than X a failure."
            )
        return f"Agreement with FP32 is {found:.3f}; --target-agreement X makes less than X a failure."

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        boxes = self.boxes
        return {
            "model": str(self.config.model),
            "output": str(self.config.output),
            "method": self.choice.scales.provenance.method,
            "target": self.config.target,
            "passed": self.passed,
            "agreement": self.agreement,
            "target_agreement": self.config.target_agreement,
            "matched_boxes": boxes and boxes.agreement,
            "pseudo_map": None if boxes is None or math.isnan(boxes.pseudo_map) else boxes.pseudo_map,
            "labelled": self._labelled_json(),
            "int8_macs": self.int8_macs,
            "layers": len(self.plan.layers),
            "float_layers": float_layers_on(self.config.target, self.plan, self.choice.scales),
            "images": len(self.checked.manifest) if self.checked else 0,
            "findings": [dataclasses.asdict(f) for f in self.checked.findings] if self.checked else [],
            "movement": self.movement and dataclasses.asdict(self.movement),
            "unmatched": list(self.choice.unmatched),
            "lacking": list(self.choice.lacking),
            "seconds": self.seconds,
            "files": [str(self.config.output / name) for name in self.files],
        }

    def _labelled_json(self) -> object:
        if not isinstance(self.labelled, tuple):
            return self.labelled
        return {
            name: {"ap": report.ap, "ap50": report.ap50}
            for name, report in zip(("fp32", "int8"), self.labelled, strict=True)
        }

    def lines(self) -> Iterator[str]:
        """Give the result as text."""
        left = float_layers_on(self.config.target, self.plan, self.choice.scales)
        yield self.verdict
        boxes = self.boxes
        if boxes is not None and boxes.matched + boxes.lost + boxes.invented:
            yield (
                f"boxes with a score above {boxes.conf:g}: {boxes.agreement:.1%} are in both, mean IoU "
                f"{boxes.mean_iou:.3f}, on {boxes.pictures} picture{'s' * (boxes.pictures != 1)}"
            )
        yield (
            f"INT8: {self.int8_macs:.1%} of the multiply-adds, {len(left)} of "
            f"{len(self.plan.layers)} layers left in float"
        )
        others = len(self.plan.layers) - len(self.int8_layers) - len(left)
        if others:
            yield f"{others} more that {self.config.target} computes in float: {NOT_INT8_EITHER}"
        yield from (f"  float: {name}: {why}" for name, why in left.items())
        if isinstance(self.labelled, tuple):
            fp32, int8 = self.labelled
            yield f"AP {fp32.ap:.4f} FP32, {int8.ap:.4f} INT8; AP50 {fp32.ap50:.4f}, {int8.ap50:.4f}"
        elif self.labelled is not None:
            yield self.labelled
        if self.movement is not None:
            yield str(self.movement)
        if self.choice.unmatched:
            yield f"names of the cache that are not in this model ({len(self.choice.unmatched)}):"
            yield from (f"  {name}" for name in self.choice.unmatched)
        if self.choice.lacking:
            yield f"tensors of this model that are not in the cache ({len(self.choice.lacking)}):"
            yield from (f"  {name}" for name in self.choice.lacking)
        if self.checked is not None and self.checked.findings:
            counts = sorted({finding.kind for finding in self.checked.findings})
            yield "pictures: " + ", ".join(
                f"{self.checked.count(kind)} {kind.replace('_', ' ')}" for kind in counts
            )
            lost = [each for each in self.checked.findings if each.kind in {"missing", "unreadable"}]
            yield from (f"  left out: {each.name}: {each.text}" for each in lost[:_NAMED])
            if len(lost) > _NAMED:
                yield f"  and {len(lost) - _NAMED} more that could not be read: report.html names them"
        yield f"{self.config.output}: {', '.join(self.files)}"
