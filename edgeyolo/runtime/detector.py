"""A detector: decoded boxes and scores of an engine become boxes in the picture.

Owns reading the ``boxes`` and ``scores`` tensors of the graph contract. Filter and NMS are
``edgeyolo.vision.postprocess``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError
from edgeyolo.runtime.engine import Engine
from edgeyolo.runtime.predictor import Predictor
from edgeyolo.vision.nms import Suppression
from edgeyolo.vision.postprocess import detections_from_outputs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["CONF", "IOU", "Detector"]

CONF = 0.25
IOU = 0.45


class Detector(Predictor[Detections]):
    """A detection engine that takes pictures and gives boxes.

    Args:
        engine: Path of an engine file, or an open engine.
        conf: Least score (objectness times class) of a box, 0..1.
        iou: Boxes of one class that overlap more than this are one object, 0..1.
        nms: ``class`` suppresses a class at a time, ``agnostic`` across classes, ``none`` not at all,
            ``soft`` lowers scores (these two have no use for `iou`). None is ``none`` where the model's boxes
            are final (`ModelSpec.final`), else ``class``.
        classes: Names or ids of the classes to report; all by default.
        multi_label: Whether a box may be reported once for every class above `conf`, as mean average
            precision is computed; otherwise once, for its best class.

    Raises:
        EngineError: It cannot be opened, or is no detector with decoded outputs.
        ConfigError: `conf` or `iou` is out of range, or a class is unknown.
    """

    task = "detect"
    outputs = "decoded"

    def __init__(
        self,
        engine: Path | str | Engine,
        *,
        conf: float = CONF,
        iou: float = IOU,
        nms: Suppression | None = None,
        classes: Sequence[str | int] | None = None,
        multi_label: bool = False,
    ) -> None:
        for name, value in (("conf", conf), ("iou", iou)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name}: 0..1 expected, {value} found")
        if nms not in (None, *get_args(Suppression)):
            raise ConfigError(f"nms: one of {', '.join(get_args(Suppression))} expected, {nms!r} found")
        super().__init__(engine, classes=classes)
        self.conf = conf
        self.iou = iou
        self.nms: Suppression = nms or ("none" if self.engine.info.spec.final else "class")
        self.multi_label = multi_label
        # Share of `conf` from which boxes are given: objects are followed through weak ones, which are not
        # reported by themselves (`edgeyolo.events.WEAK`).
        self.weak = 1.0

    def postprocess(
        self, outputs: Mapping[str, npt.NDArray[np.float32]], geometry: Letterbox, index: int = 0
    ) -> Detections:
        """Filter, suppress and map the boxes of picture `index` to its own pixels."""
        return detections_from_outputs(
            outputs["boxes"][index],
            outputs["scores"][index],
            geometry,
            conf=self.conf * self.weak,
            iou=self.iou,
            nms=self.nms,
            class_ids=self.class_ids,
            multi_label=self.multi_label,
        )
