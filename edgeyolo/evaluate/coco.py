"""Mean average precision of anything that finds boxes, on a folder of pictures with a COCO file.

Owns the loop over the pictures and the report. Refuses to know engines: a model comes in as a callable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.errors import EvaluationError, SourceError
from edgeyolo.evaluate.annotations import Annotations, Picture, read_annotations
from edgeyolo.evaluate.average_precision import AveragePrecision, FoundBox, average_precision
from edgeyolo.evaluate.classes import ClassMatch, match_classes
from edgeyolo.vision.images import read_image

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ClassReport", "Report", "evaluate"]

Detect = Callable[["npt.NDArray[np.uint8]"], Detections]


@dataclass(frozen=True, kw_only=True)
class ClassReport:
    """One class.

    Args:
        name: The model's name for it.
        boxes: True boxes, without crowds.
        ap: Average precision, IoU 0.50 to 0.95; NaN where `boxes` is 0.
        ap50: At IoU 0.50; NaN where `boxes` is 0.
    """

    name: str
    boxes: int
    ap: float
    ap50: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """How right the model was.

    Args:
        ap: Mean average precision over classes and over IoU 0.50, 0.55, ... 0.95.
        ap50: The same at IoU 0.50.
        ap75: The same at IoU 0.75.
        images: Pictures looked at.
        boxes: True boxes in them, of the classes compared, without crowds.
        detections: Boxes found in them, of the classes compared.
        classes: One entry a class compared, in the model's order.
        absent: File names that the annotations list and the folder lacks.
        unreadable: File names that are no pictures.
        classes_without_category: Classes of the model that the annotations do not have: not measured.
        categories_without_class: Categories that the model does not have: not measured.
        latency_ms: ``p50`` and ``p90`` of one call of the model.
    """

    ap: float
    ap50: float
    ap75: float
    images: int
    boxes: int
    detections: int
    classes: tuple[ClassReport, ...]
    absent: tuple[str, ...]
    unreadable: tuple[str, ...]
    classes_without_category: tuple[str, ...]
    categories_without_class: tuple[str, ...]
    latency_ms: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values; what is not defined is null, as JSON has no NaN."""
        data = asdict(self)
        for entry in data["classes"]:
            entry.update({key: None for key in ("ap", "ap50") if math.isnan(entry[key])})
        return data

    def lines(self) -> Iterator[str]:
        """Give the report as a table."""
        yield f"{'class':<20} {'boxes':>6} {'AP50':>7} {'AP':>7}"
        for entry in self.classes:
            if entry.boxes:
                yield f"{entry.name:<20} {entry.boxes:>6} {entry.ap50:7.3f} {entry.ap:7.3f}"
        yield f"{'all':<20} {self.boxes:>6} {self.ap50:7.4f} {self.ap:7.4f}   AP75 {self.ap75:.4f}"
        seen = sum(1 for entry in self.classes if entry.boxes)
        yield (
            f"{self.images} images, {self.boxes} boxes of {seen} classes, {self.detections} detections, "
            f"{self.latency_ms['p50']:.1f} ms an image (p90 {self.latency_ms['p90']:.1f})"
        )
        for what, names in (
            ("images of the annotations that are not in the folder", self.absent),
            ("files that are no pictures", self.unreadable),
            ("classes of the model without a category (not measured)", self.classes_without_category),
            ("categories without a class of the model (not measured)", self.categories_without_class),
        ):
            if names:
                more = ", ..." if len(names) > 5 else ""
                yield f"{len(names)} {what}: {', '.join(names[:5])}{more}"


def evaluate(
    detect: Detect,
    images: Path | str,
    annotations: Path | str,
    names: Sequence[str],
    *,
    limit: int | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure mean average precision.

    The model should report nearly every box it considers (score above 0.001) and every class of a box:
    average precision is the area under a whole curve.

    Args:
        detect: Takes a picture, ``(H, W, 3)`` uint8 BGR, and gives what is in it.
        images: Folder of the pictures.
        annotations: COCO "instances" file. Its file names are sought below `images`, with their folders or
            without.
        names: The model's class names; the index is the class id.
        limit: Only the first pictures of the file that are there.
        on_image: Called after each picture with how many are done and how many there are.

    Raises:
        EvaluationError: The annotations are not what they should be, or fit neither classes nor pictures.
        MissingDependencyError: faster-coco-eval or OpenCV is absent.
    """
    truth = read_annotations(annotations)
    match = match_classes(names, truth.categories)
    present, absent = _find(Path(images), truth)
    run = _Run(detect, match)
    for path, picture in present[:limit]:
        run.look_at(path, picture)
        if on_image is not None:
            on_image(run.count, len(present[:limit]))
    if not run.image_ids:
        raise EvaluationError(f"{images}: pictures expected, not one of {run.count} files is readable")
    return _report(run, truth, names, absent)


class _Run:
    """What has been found so far."""

    def __init__(self, detect: Detect, match: ClassMatch) -> None:
        self._detect = detect
        self.match = match
        self.count = 0
        self.image_ids: list[int] = []
        self.found: list[FoundBox] = []
        self.unreadable: list[str] = []
        self.latency_ms: list[float] = []

    def look_at(self, path: Path, picture: Picture) -> None:
        self.count += 1
        try:
            image = _as_labelled(path, picture)
        except SourceError:
            self.unreadable.append(picture.file_name)
            return
        start = perf_counter()
        detections = self._detect(image)
        self.latency_ms.append((perf_counter() - start) * 1e3)
        self.image_ids.append(picture.image_id)
        self.found.extend(self._boxes(picture.image_id, detections))

    def _boxes(self, image_id: int, detections: Detections) -> Iterator[FoundBox]:
        rows = zip(
            detections.xyxy.tolist(), detections.scores.tolist(), detections.class_ids.tolist(), strict=True
        )
        for (x0, y0, x1, y1), score, class_id in rows:
            category_id = self.match.category_of.get(class_id)
            if category_id is not None:
                xywh = (x0, y0, x1 - x0, y1 - y0)
                yield FoundBox(image_id=image_id, category_id=category_id, xywh=xywh, score=score)


def _find(folder: Path, truth: Annotations) -> tuple[list[tuple[Path, Picture]], tuple[str, ...]]:
    """Find the pictures of the file in a folder; give those that are there and the names of the others."""
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: a folder of pictures expected, none found", hint="--images DIR")
    present, absent = [], []
    for picture in truth.pictures:
        name = Path(picture.file_name)
        path = next((p for p in (folder / name, folder / name.name) if p.is_file()), None)
        if path is None:
            absent.append(picture.file_name)
        else:
            present.append((path, picture))
    if not present:
        some = ", ".join(absent[:3]) or "none"
        raise EvaluationError(
            f"{folder}: pictures of {truth.path} expected ({some} ...), not one of {len(absent)} found",
            hint="--images is the folder of these files",
        )
    return present, tuple(absent)


def _as_labelled(path: Path, picture: Picture) -> npt.NDArray[np.uint8]:
    """Read a picture the way up that its boxes are: upright, or as stored where only that has their size."""
    image = read_image(path)
    height, width = image.shape[:2]
    if picture.wh == (height, width):
        image = read_image(path, as_stored=True)
        height, width = image.shape[:2]
    if picture.wh not in (None, (width, height)):
        raise EvaluationError(
            f"{path}: {picture.wh[0]}x{picture.wh[1]} pixels expected by the annotations, "
            f"{width}x{height} found: its boxes would lie elsewhere",
            hint="annotations and pictures must be of one version of the data set",
        )
    return image


def _report(run: _Run, truth: Annotations, names: Sequence[str], absent: tuple[str, ...]) -> Report:
    category_of = run.match.category_of
    looked_at = set(run.image_ids)
    counts = dict.fromkeys(category_of.values(), 0)
    for box in truth.boxes:
        if box.image_id in looked_at and box.category_id in counts and not box.crowd:
            counts[box.category_id] += 1
    if not any(counts.values()):
        raise EvaluationError(
            f"{truth.path}: boxes of the model's classes expected, none in {len(looked_at)} images"
        )
    each = average_precision(run.image_ids, tuple(counts), truth.boxes, run.found)
    mean = AveragePrecision.mean(each.values())
    classes = tuple(
        ClassReport(name=names[i], boxes=counts[c], ap=each[c].ap, ap50=each[c].ap50)
        for i, c in sorted(category_of.items())
    )
    p50, p90 = np.percentile(run.latency_ms, (50, 90)).round(3).tolist()
    return Report(
        ap=mean.ap,
        ap50=mean.ap50,
        ap75=mean.ap75,
        images=len(run.image_ids),
        boxes=sum(counts.values()),
        detections=len(run.found),
        classes=classes,
        absent=absent,
        unreadable=tuple(run.unreadable),
        classes_without_category=run.match.without_category,
        categories_without_class=run.match.without_class,
        latency_ms={"p50": p50, "p90": p90},
    )
