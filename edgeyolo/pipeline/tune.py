"""``edgeyolo tune-preprocess``: which way of making pictures into its input does a model like best?

Owns the order in which candidates are tried, and the choice. With labels a candidate is judged by average
precision, without by `edgeyolo.evaluate.confirmed`; of candidates that the pictures do not tell apart the one
that changes least is taken. Without labels it refuses to choose how a picture is fitted: a stretched one is
larger and so finds more, whatever the model was trained with (measured on YOLOX and Yolo-Fastest).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.adapt.candidates import changes, other_fits, other_pads, other_values
from edgeyolo.adapt.options import preprocess_text
from edgeyolo.calibrate.gather import gather
from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.files import sha256_of
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.pipeline.adapt import AdaptOptions, contract_form
from edgeyolo.pipeline.judges import ByLabels, ByMirror, Judge, Trial
from edgeyolo.pipeline.steps import Steps
from edgeyolo.pipeline.trial import TrialEngine
from edgeyolo.spec import ModelSpec, Preprocess

if TYPE_CHECKING:
    import onnx

__all__ = ["Trial", "TuneConfig", "TuneReport", "tune_preprocess"]


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """What to tune, on what.

    Args:
        model: An ONNX model; one of another origin is adapted first.
        images: Pictures as `edgeyolo.calibrate.gather.gather` takes them; with annotations their folder.
        annotations: COCO "instances" file; None judges without labels.
        output: Where a copy of the model with the best preprocess goes; None writes none.
        limit: At most so many pictures.
        adapt: What the user says of a model of another origin.
    """

    model: Path
    images: str
    annotations: Path | None = None
    output: Path | None = None
    limit: int = 32
    adapt: AdaptOptions = field(default_factory=AdaptOptions)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"--limit: 1 or more expected, {self.limit} found")


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """What came of it.

    Args:
        labelled: The scores are average precision; else confidence that the mirror confirms.
        pictures: How many were looked at.
        before: The preprocess that the model came with.
        chosen: The best that could be told, or of ties with it the one nearest to `before`.
        trials: Every candidate, the best first.
        tied: Candidates that the pictures do not tell from the best.
        output: The file that was written.
    """

    labelled: bool
    pictures: int
    before: Preprocess
    chosen: Preprocess
    trials: tuple[Trial, ...]
    tied: tuple[Preprocess, ...]
    output: Path | None

    @property
    def measure(self) -> str:
        """What the scores are."""
        return "average precision" if self.labelled else "confidence that the mirror confirms, a picture"

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {
            "measure": self.measure,
            "labelled": self.labelled,
            "pictures": self.pictures,
            "before": dataclasses.asdict(self.before),
            "chosen": dataclasses.asdict(self.chosen),
            "option": preprocess_text(self.chosen),
            "ranking": [
                {
                    **dataclasses.asdict(trial.preprocess),
                    "score": trial.score,
                    "tied": trial.preprocess in self.tied,
                }
                for trial in self.trials
            ],
            "output": None if self.output is None else str(self.output),
        }

    def lines(self) -> Iterator[str]:
        """Give the ranking as a table."""
        yield f"{self.measure}; {self.pictures} pictures"
        for trial in self.trials:
            marks = [
                word
                for word, holds in (
                    ("chosen", trial.preprocess == self.chosen),
                    ("as the model says", trial.preprocess == self.before),
                    ("tied", trial.preprocess in self.tied),
                )
                if holds
            ]
            mark = f"   {', '.join(marks)}" if marks else ""
            yield f"{trial.score:9.4f}  {preprocess_text(trial.preprocess)}{mark}"
        if len(self.tied) > 1:
            yield "tied: these pictures do not tell them apart; the one nearest to the model's own is chosen"
        if not self.labelled:
            yield (
                "resize and pad are kept: without labels the way that shows a picture largest always wins; "
                "--annotations COCO.json tells"
            )
        if self.chosen == self.before:
            yield "the preprocess of the model is right as far as these pictures tell"
        else:
            yield f"better: --preprocess {preprocess_text(self.chosen)}"


def tune_preprocess(config: TuneConfig, *, say: Callable[[str], None]) -> TuneReport:
    """Try the usual ways of making pictures into a model's input, and write a copy with the best.

    Args:
        config: What to tune.
        say: Is told what a model of another origin was taken for.

    Raises:
        ConfigError: An option has no meaning.
        GraphError: No detector that gives boxes and scores.
        EvaluationError: The annotations fit neither the model nor the pictures.
        CalibrationError: There are no pictures.
        OutputError: The copy cannot be written.
    """
    steps = Steps(shown=True)
    with ExitStack() as stack:
        path = stack.enter_context(contract_form(config.model, config.adapt, say))
        model = read_onnx(path)
        spec = _spec(model, config.model)
        engine = stack.enter_context(TrialEngine(model, spec, precision="fp32", fuse=True))
        judge = _judge(config, engine, spec, steps)
        trials, tied = _tried(spec.preprocess, judge, labelled=config.annotations is not None)
        chosen = _nearest(tied, spec.preprocess)
        if config.output is not None:
            _write(model, dataclasses.replace(spec, preprocess=chosen), path, config.output)
    return TuneReport(
        labelled=config.annotations is not None,
        pictures=judge.pictures,
        before=spec.preprocess,
        chosen=chosen,
        trials=tuple(trials),
        tied=tuple(trial.preprocess for trial in tied),
        output=config.output,
    )


def _judge(config: TuneConfig, engine: TrialEngine, spec: ModelSpec, steps: Steps) -> Judge:
    if config.annotations is not None:
        images = Path(config.images)
        return ByLabels(engine, steps, images, config.annotations, spec.names, config.limit)
    found = gather(config.images).manifest
    paths = [found.root / item.path for item in found.items]
    # Spread over all: neighbours in a folder are often frames of one scene.
    places = np.unique(np.linspace(0, len(paths) - 1, config.limit).round().astype(int))
    return ByMirror(engine, steps, [paths[place] for place in places])


def _tried(before: Preprocess, judge: Judge, *, labelled: bool) -> tuple[list[Trial], list[Trial]]:
    """Ask one question at a time: what the values are, how the picture is fitted, what the padding is.

    Returns:
        All trials, the best first; those of which one is to be chosen.
    """
    trials = [judge(before), *map(judge, other_values(before))]
    tied = _tied(trials)
    chosen = _nearest(tied, before)
    trials += [judge(candidate) for candidate in other_fits(chosen)]
    if labelled:
        chosen = _nearest(_tied(trials), before)
        trials += [judge(candidate) for candidate in other_pads(chosen)]
        tied = _tied(trials)
    return sorted(trials, key=lambda trial: -trial.score), tied


def _nearest(tied: Sequence[Trial], before: Preprocess) -> Preprocess:
    """Give the one that changes least; of several the best."""
    return min(tied, key=lambda trial: (changes(trial.preprocess, before), -trial.score)).preprocess


def _tied(trials: Sequence[Trial]) -> list[Trial]:
    best = max(trials, key=lambda trial: trial.score)
    return [trial for trial in trials if trial is best or trial.is_tied(best)]


def _spec(model: onnx.ModelProto, path: Path) -> ModelSpec:
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    assert spec is not None  # it is in contract form
    if (spec.task, spec.outputs) != ("detect", "decoded"):
        raise GraphError(
            f"{path}: a detector with boxes and scores expected, {spec.task} {spec.outputs} found"
        )
    if spec.preprocess.channels == "gray":
        raise GraphError(f"{path}: a picture of three channels expected, a grey one found")
    return spec


def _write(model: onnx.ModelProto, spec: ModelSpec, source: Path, output: Path) -> None:
    provenance = {**spec.provenance, "tuned_from_sha256": sha256_of(source)}
    metadata = dataclasses.replace(spec, provenance=provenance).to_metadata()
    for entry in model.metadata_props:
        entry.value = metadata.get(entry.key, entry.value)
    write_onnx(model, output)
