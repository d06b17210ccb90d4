"""A classifier: probabilities of an engine become ranked classes.

Owns reading the ``probabilities`` tensor of the graph contract, which a softmax inside the graph made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.detections import Classification
from edgeyolo.errors import ConfigError
from edgeyolo.runtime.engine import Engine
from edgeyolo.runtime.predictor import Predictor

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["Classifier"]


class Classifier(Predictor[Classification]):
    """A classification engine that takes pictures and gives their likeliest classes.

    Args:
        engine: Path of an engine file, or an open engine.
        top: How many classes to report, best first.
        classes: Names or ids of the classes to rank; all by default.

    Raises:
        EngineError: It cannot be opened, or is no classifier.
        ConfigError: `top` is below 1 or a class is unknown.
    """

    task = "classify"
    outputs = "probabilities"

    def __init__(
        self, engine: Path | str | Engine, *, top: int = 5, classes: Sequence[str | int] | None = None
    ) -> None:
        if top < 1:
            raise ConfigError(f"top: 1 or more expected, {top} found")
        super().__init__(engine, classes=classes)
        self.top = top

    def postprocess(
        self, outputs: Mapping[str, npt.NDArray[np.float32]], geometry: Letterbox, index: int = 0
    ) -> Classification:
        """Rank the classes of picture `index`; equal scores rank by class id."""
        scores = outputs["probabilities"][index]
        ids = np.arange(len(scores)) if self.class_ids is None else np.array(sorted(set(self.class_ids)))
        best = ids[np.argsort(-scores[ids], kind="stable")[: self.top]]
        return Classification(scores[best], best.astype(np.int64))
