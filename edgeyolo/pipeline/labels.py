"""Mean average precision of float and INT8 model, where the calibration pictures came with labels.

Owns the choice of the labelled pictures. The measure is `edgeyolo.evaluate.coco`'s. A calibration does not
need labels, so whatever is wrong with them is a sentence in the report and no error.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.calibrate.manifest import Manifest
from edgeyolo.detections import Detections
from edgeyolo.errors import EvaluationError, MissingDependencyError
from edgeyolo.evaluate.coco import Report, evaluate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LabelledAccuracy", "accuracy_on_labels"]

Detect = Callable[["npt.NDArray[np.uint8]"], Detections]
LabelledAccuracy = tuple[Report, Report]


def accuracy_on_labels(
    source: str, judged: Manifest, models: tuple[Detect, Detect], names: tuple[str, ...]
) -> LabelledAccuracy | str | None:
    """Measure two models on those judged pictures that a COCO file labels.

    Args:
        source: What the user gave for pictures.
        judged: The pictures to measure on.
        models: Float and INT8 detector, reporting nearly every box.
        names: Their class names.

    Returns:
        One report a model; why there is none, in words; None where no labels were given.

    Raises:
        EngineError: A model failed.
    """
    path = Path(source)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    data = json.loads(path.read_bytes())
    if not data.get("annotations"):
        return None
    wanted = {item.path for item in judged.items}
    # `gather` found pictures by this list; what else is wrong with the file `evaluate` says.
    data["images"] = [image for image in data["images"] if _is_wanted(str(image["file_name"]), wanted)]
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as folder:
        labels = Path(folder, path.name)
        labels.write_text(json.dumps(data), encoding="utf-8")
        try:
            one, other = (evaluate(model, judged.root, labels, names) for model in models)
        except (EvaluationError, MissingDependencyError) as exc:
            return f"mAP was not computed: {exc.message}"
    return one, other


def _is_wanted(file_name: str, wanted: set[str]) -> bool:
    return file_name in wanted or Path(file_name).name in wanted
