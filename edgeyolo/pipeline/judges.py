"""How well a model does with one way of making pictures into its input: by labels, or by the mirror.

Owns the two judges and when two of their scores are a tie. Refuses to know which candidates there are.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeyolo.evaluate.coco import evaluate
from edgeyolo.evaluate.confirmed import confirmed_confidence
from edgeyolo.pipeline.evaluate import CONF, IOU
from edgeyolo.pipeline.steps import Steps
from edgeyolo.pipeline.trial import TrialEngine
from edgeyolo.runtime import Detector
from edgeyolo.spec import Preprocess
from edgeyolo.vision.images import read_image

__all__ = ["ByLabels", "ByMirror", "Judge", "Trial"]

_FLOOR = 0.1  # scores below this are noise, where nothing says what is right
_TIE = 2.0  # standard errors: a smaller difference is one that chance makes
_TIE_AP = 0.0025  # average precision that changes with the next hundred pictures


@dataclass(frozen=True)
class Trial:
    """One candidate and how the model did with it.

    Args:
        preprocess: The candidate.
        score: Average precision, or confirmed confidence a picture.
        each: Confirmed confidence of every picture; empty with labels.
    """

    preprocess: Preprocess
    score: float
    each: tuple[float, ...] = ()

    def is_tied(self, best: Trial) -> bool:
        """Say whether the pictures do not tell it from the best."""
        gains = [theirs - own for theirs, own in zip(best.each, self.each, strict=True)]
        if len(gains) < 2:
            return best.score - self.score <= _TIE_AP
        return best.score - self.score <= _TIE * statistics.stdev(gains) / math.sqrt(len(gains))


class Judge(ABC):
    """Scores one candidate."""

    def __init__(self, engine: TrialEngine, steps: Steps, pictures: int) -> None:
        self._engine, self._steps = engine, steps
        self.pictures = pictures
        self._number = 0

    def __call__(self, preprocess: Preprocess) -> Trial:
        """Score a candidate; says how far it is on stderr."""
        self._number += 1
        self._steps.begin(f"candidate {self._number}", self.pictures)
        self._engine.see(preprocess)
        trial = self._trial(preprocess)
        self._steps.end()
        return trial

    @abstractmethod
    def _trial(self, preprocess: Preprocess) -> Trial:
        """Look at every picture."""


class ByMirror(Judge):
    """Without labels."""

    def __init__(self, engine: TrialEngine, steps: Steps, images: Sequence[Path]) -> None:
        super().__init__(engine, steps, len(images))
        self._images = images

    def _trial(self, preprocess: Preprocess) -> Trial:
        detector = Detector(self._engine, conf=_FLOOR)
        each = []
        for done, path in enumerate(self._images, 1):
            image = read_image(path)
            mirrored = np.ascontiguousarray(image[:, ::-1])
            each.append(confirmed_confidence(detector(image), detector(mirrored), image.shape[1]))
            self._steps(done)
        return Trial(preprocess, statistics.fmean(each), tuple(each))


class ByLabels(Judge):
    """With labels: average precision."""

    def __init__(
        self,
        engine: TrialEngine,
        steps: Steps,
        images: Path,
        annotations: Path,
        names: tuple[str, ...],
        limit: int,
    ) -> None:
        super().__init__(engine, steps, limit)
        self._where = images, annotations, names

    def _trial(self, preprocess: Preprocess) -> Trial:
        detector = Detector(self._engine, conf=CONF, iou=IOU, multi_label=True)
        images, annotations, names = self._where
        report = evaluate(detector, images, annotations, names, limit=self.pictures, on_image=self._steps)
        self.pictures = report.images
        return Trial(preprocess, report.ap)
