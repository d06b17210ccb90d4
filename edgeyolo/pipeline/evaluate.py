"""Mean average precision of an engine: `edgeyolo.runtime` finds the boxes, `edgeyolo.evaluate` judges."""

from __future__ import annotations

from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.evaluate.coco import Report, evaluate
from edgeyolo.pipeline.open_any import open_any
from edgeyolo.pipeline.run import refuse_idle_iou
from edgeyolo.pipeline.steps import Steps
from edgeyolo.runtime.detector import Detector
from edgeyolo.vision.nms import Suppression

__all__ = ["CONF", "IOU", "evaluate_engine"]

CONF = 0.001
"""Nearly every box counts: average precision is the area under the whole curve of precision and recall."""

IOU = 0.45


def evaluate_engine(
    engine: Path | str,
    images: Path | str,
    annotations: Path | str,
    *,
    limit: int | None = None,
    iou: float | None = None,
    nms: Suppression | None = None,
) -> Report:
    """Measure an engine on pictures with ground truth; says how far it is on stderr.

    Args:
        engine: The engine file, or an ONNX file.
        images: Folder of the pictures.
        annotations: COCO "instances" file.
        limit: Only the first pictures.
        iou: As for `Detector`; None is `IOU`.
        nms: As for `Detector`.

    Raises:
        ConfigError: An option is out of its range.
        EngineError: The engine cannot be used, or is no detector.
        EvaluationError: The annotations do not fit the engine or the pictures.
        MissingDependencyError: faster-coco-eval is absent.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit: 1 or more expected, {limit} found")
    steps = Steps(shown=True)
    opened = open_any(engine)
    with Detector(opened, conf=CONF, iou=IOU if iou is None else iou, nms=nms, multi_label=True) as detector:
        refuse_idle_iou(detector.nms, iou)
        steps.begin("evaluating")
        report = evaluate(detector, images, annotations, detector.names, limit=limit, on_image=steps)
        steps.end()
    return report
