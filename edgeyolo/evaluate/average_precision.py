"""Average precision as COCO defines it, computed by faster-coco-eval.

Owns the adapter to that package: its dictionaries, its silence, its array. Nobody else imports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.evaluate.annotations import TrueBox
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MAX_DETECTIONS", "AveragePrecision", "FoundBox", "average_precision"]

MAX_DETECTIONS = 100
"""Boxes of one category in one picture that count, the best ones. Source: COCO detection evaluation."""


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """A box that the model found; `xywh` in pixels of the picture."""

    image_id: int
    category_id: int
    xywh: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """Average precision of one category, or the mean of several; NaN where there is no box to be found.

    Args:
        ap: Mean over the IoU limits 0.50, 0.55, ... 0.95.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
    """

    ap: float
    ap50: float
    ap75: float

    @classmethod
    def mean(cls, parts: Iterable[AveragePrecision]) -> AveragePrecision:
        """Average those that are defined, as COCO does."""
        rows = np.array([[p.ap, p.ap50, p.ap75] for p in parts]).reshape(-1, 3)
        rows = rows[~np.isnan(rows).any(axis=1)]
        ap, ap50, ap75 = rows.mean(axis=0).tolist() if len(rows) else [float("nan")] * 3
        return cls(ap=ap, ap50=ap50, ap75=ap75)


def average_precision(
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    truth: Iterable[TrueBox],
    found: Iterable[FoundBox],
) -> dict[int, AveragePrecision]:
    """Compute the average precision of each category.

    Args:
        image_ids: The pictures that were looked at; none twice.
        category_ids: The categories to report; none twice.
        truth: What is in these pictures; other pictures' boxes are left out.
        found: What the model says is in them.

    Returns:
        Category id to its average precision, in the order of `category_ids`.

    Raises:
        MissingDependencyError: faster-coco-eval is absent.
    """
    package = require("faster_coco_eval", why="to compute mean average precision")
    truths = package.COCO(_dataset(image_ids, category_ids, truth))
    results = [
        {"image_id": b.image_id, "category_id": b.category_id, "bbox": list(b.xywh), "score": b.score}
        for b in found
    ]
    if not results:  # version 1.6 refuses an empty list
        return _without_results(category_ids, {box["category_id"] for box in truths.dataset["annotations"]})
    evaluation = package.COCOeval_faster(truths, truths.loadRes(results), "bbox", print_function=_say_nothing)
    evaluation.evaluate()
    evaluation.accumulate()
    # IoU limit, recall, category (ids in rising order), area (the first is all), most detections (100 last).
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return {
        category_id: _summary(precision[:, :, sorted(category_ids).index(category_id)])
        for category_id in category_ids
    }


def _dataset(
    image_ids: Sequence[int], category_ids: Sequence[int], truth: Iterable[TrueBox]
) -> dict[str, Any]:
    images, categories = set(image_ids), set(category_ids)
    boxes = [box for box in truth if box.image_id in images and box.category_id in categories]
    return {
        "images": [{"id": image_id} for image_id in image_ids],
        "categories": [{"id": category_id, "name": str(category_id)} for category_id in category_ids],
        # Ids from 1: COCO's code takes the id 0 for "not matched".
        "annotations": [
            {
                "id": index,
                "image_id": box.image_id,
                "category_id": box.category_id,
                "bbox": list(box.xywh),
                "area": box.xywh[2] * box.xywh[3],
                "iscrowd": int(box.crowd),
            }
            for index, box in enumerate(boxes, 1)
        ],
    }


def _summary(precision: npt.NDArray[np.float64]) -> AveragePrecision:
    """Average over the recalls; `precision` has shape ``(10, 101)`` and -1 where there is no box to find."""
    if (precision < 0).all():
        return AveragePrecision(ap=float("nan"), ap50=float("nan"), ap75=float("nan"))
    each = precision.mean(axis=1)
    return AveragePrecision(ap=float(each.mean()), ap50=float(each[0]), ap75=float(each[5]))


def _without_results(category_ids: Sequence[int], in_truth: set[int]) -> dict[int, AveragePrecision]:
    return {
        category_id: AveragePrecision(ap=value, ap50=value, ap75=value)
        for category_id in category_ids
        for value in [0.0 if category_id in in_truth else float("nan")]
    }


def _say_nothing(*_: object) -> None:
    pass
