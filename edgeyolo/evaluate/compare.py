"""How far two detectors agree on pictures that nobody labelled.

Owns matching and its figures. Refuses to run engines (`edgeyolo.pipeline.compare`) and to say which of the
two is right: the first is the reference because the user says so.

What the figures mean. *Agreement* is ``2 * matched / (boxes of one + boxes of the other)``: 1 where every box
has its partner of the same class at an IoU of 0.5 or more, and it falls alike for a lost and for an invented
box. *Pseudo-mAP* is COCO's average precision with the reference's boxes above the threshold as the truth;
unlike agreement it sees boxes near the threshold and how tightly boxes lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.errors import EvaluationError
from edgeyolo.vision.boxes import iou_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Agreement", "Pair", "PictureAgreement", "above", "compare", "match_detections", "pseudo_map"]

MATCH_IOU = 0.5
# COCO's: IoU 0.50, 0.55 ... 0.95 and 101 points of recall.
_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Pair:
    """What the two detectors say of one picture, each with boxes far below the threshold too.

    Args:
        name: The picture.
        reference: Boxes of the reference.
        candidate: Boxes of the detector under test, with the reference's class ids.
    """

    name: str
    reference: Detections
    candidate: Detections


@dataclass(frozen=True)
class PictureAgreement:
    """One picture's figures, over boxes above the threshold.

    Args:
        name: The picture.
        matched: Boxes that both have.
        lost: Boxes of the reference without partner.
        invented: Boxes of the candidate without partner.
        iou: Mean IoU of matched boxes; 1 where there are none.
        drift: Largest ``|score - reference score|`` of matched boxes; 0 where there are none.
    """

    name: str
    matched: int
    lost: int
    invented: int
    iou: float
    drift: float

    @property
    def badness(self) -> float:
        """Orders pictures by what a user would call worse: wrong boxes first, then loose or doubtful ones."""
        return self.lost + self.invented + (1 - self.iou) + self.drift


@dataclass(frozen=True)
class Agreement:
    """How far two detectors agree.

    Args:
        pictures: Pictures compared.
        conf: The threshold, 0..1.
        matched: Boxes that both have.
        lost: Boxes of the reference without partner.
        invented: Boxes of the candidate without partner.
        mean_iou: Mean IoU of matched boxes; 1 where there are none.
        score_bias: Mean of ``score - reference score`` of matched boxes: negative where the candidate is shy.
        score_drift: Mean of ``|score - reference score|``.
        score_drift_p95: 95th percentile of the same.
        pseudo_map: COCO AP against the reference's boxes, 0..1; NaN where the reference has none.
        pseudo_map50: The same at an IoU of 0.5 alone.
        worst: The pictures that differ most, worst first; those that do not differ are not among them.
    """

    pictures: int
    conf: float
    matched: int
    lost: int
    invented: int
    mean_iou: float
    score_bias: float
    score_drift: float
    score_drift_p95: float
    pseudo_map: float
    pseudo_map50: float
    worst: tuple[PictureAgreement, ...] = field(default=())

    @property
    def agreement(self) -> float:
        """2 * matched / (2 * matched + lost + invented), 0..1; 1 where neither found anything."""
        boxes = 2 * self.matched + self.lost + self.invented
        return 2 * self.matched / boxes if boxes else 1.0


def compare(pairs: Iterable[Pair], *, conf: float = 0.25, worst: int = 10) -> Agreement:
    """Compare two detectors.

    Args:
        pairs: Their boxes, picture by picture; score 0.01 and up is enough for the pseudo-mAP.
        conf: Boxes above it are what a user would see, 0..1.
        worst: How many of the worst pictures to keep.

    Raises:
        EvaluationError: There is no picture.

    Examples:
        >>> box = np.array([[0, 0, 10, 10]], np.float32)
        >>> one = Detections(box, np.array([0.9], np.float32), np.array([0]))
        >>> found = compare([Pair("a", one, one), Pair("b", one, Detections.empty())])
        >>> round(found.agreement, 3), found.lost, [picture.name for picture in found.worst]
        (0.667, 1, ['b'])
    """
    kept = list(pairs)
    if not kept:
        raise EvaluationError("nothing to compare: no picture")
    pictures, ious, drifts = [], [], []
    for pair in kept:
        reference, candidate = above(pair.reference, conf), above(pair.candidate, conf)
        rows, columns, iou = match_detections(reference, candidate)
        drift = candidate.scores[columns].astype(np.float64) - reference.scores[rows]
        ious.append(iou)
        drifts.append(drift)
        pictures.append(
            PictureAgreement(
                pair.name,
                len(rows),
                len(reference) - len(rows),
                len(candidate) - len(rows),
                float(iou.mean()) if len(iou) else 1.0,
                float(np.abs(drift).max(initial=0)),
            )
        )
    return _summed(kept, pictures, np.concatenate(ious), np.concatenate(drifts), conf=conf, worst=worst)


def _summed(
    pairs: Sequence[Pair],
    pictures: Sequence[PictureAgreement],
    ious: npt.NDArray[np.float64],
    drifts: npt.NDArray[np.float64],
    *,
    conf: float,
    worst: int,
) -> Agreement:
    every = pseudo_map(pairs, conf=conf)
    differing = [picture for picture in pictures if picture.badness > 0]
    return Agreement(
        pictures=len(pairs),
        conf=conf,
        matched=sum(picture.matched for picture in pictures),
        lost=sum(picture.lost for picture in pictures),
        invented=sum(picture.invented for picture in pictures),
        mean_iou=float(ious.mean()) if len(ious) else 1.0,
        score_bias=float(drifts.mean()) if len(drifts) else 0.0,
        score_drift=float(np.abs(drifts).mean()) if len(drifts) else 0.0,
        score_drift_p95=float(np.percentile(np.abs(drifts), 95)) if len(drifts) else 0.0,
        pseudo_map=float(np.mean(list(every.values()))),
        pseudo_map50=every[_IOUS[0]],
        worst=tuple(sorted(differing, key=lambda picture: (-picture.badness, picture.name))[:worst]),
    )


def above(found: Detections, conf: float) -> Detections:
    """Give the boxes whose score is greater than `conf`.

    Class-wise suppression lets a stronger box remove a weaker one and never the other way, so this is what a
    detector with that threshold would have given.
    """
    kept = found.scores > conf
    return Detections(found.xyxy[kept], found.scores[kept], found.class_ids[kept])


def match_detections(
    a: Detections, b: Detections, *, iou: float = MATCH_IOU
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Pair boxes of one class, closest pairs first.

    Args:
        a: One side.
        b: The other side.
        iou: Least IoU of a pair, 0..1.

    Returns:
        Indices into `a`, indices into `b`, both shape ``(K,)``, and their IoU.
    """
    overlap = iou_matrix(a.xyxy, b.xyxy)
    overlap[a.class_ids[:, None] != b.class_ids[None]] = 0
    rows, columns = np.nonzero(overlap >= iou)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    for row, column in zip(rows[order], columns[order], strict=True):
        if free_a[row] and free_b[column]:
            free_a[row] = free_b[column] = False
            pairs.append((row, column))
    taken = np.array(pairs, np.intp).reshape(-1, 2)
    return taken[:, 0], taken[:, 1], overlap[taken[:, 0], taken[:, 1]]


def pseudo_map(pairs: Sequence[Pair], *, conf: float, ious: Sequence[float] = _IOUS) -> dict[float, float]:
    """Give COCO's average precision with the reference's boxes above `conf` as the truth.

    Args:
        pairs: Boxes of both, picture by picture.
        conf: What of the reference counts as truth, 0..1.
        ious: IoU limits.

    Returns:
        IoU limit to the mean over classes of AP, 0..1; NaN where the truth is empty.

    Source:
        COCO's evaluation (cocoapi ``cocoeval.py``): detections by falling score, each takes the free truth
        box that it overlaps most; precision made monotone and read at 101 recalls.
    """
    truths = [above(pair.reference, conf) for pair in pairs]
    classes = sorted({int(c) for truth in truths for c in truth.class_ids})
    if not classes:
        return dict.fromkeys(ious, float("nan"))
    each = [_average_precision(truths, pairs, class_id, ious) for class_id in classes]
    return {limit: float(np.mean([ap[k] for ap in each])) for k, limit in enumerate(ious)}


def _average_precision(
    truths: Sequence[Detections], pairs: Sequence[Pair], class_id: int, ious: Sequence[float]
) -> list[float]:
    """Give one class's AP at every IoU limit."""
    hits, scores, expected = [], [], 0
    for truth, pair in zip(truths, pairs, strict=True):
        wanted = truth.xyxy[truth.class_ids == class_id]
        mine = pair.candidate.class_ids == class_id
        order = np.argsort(-pair.candidate.scores[mine], kind="stable")
        overlap = iou_matrix(pair.candidate.xyxy[mine][order], wanted)
        hits.append(np.stack([_hits(overlap, limit) for limit in ious]))
        scores.append(pair.candidate.scores[mine][order])
        expected += len(wanted)
    ranking = np.argsort(-np.concatenate(scores), kind="stable")
    return [_area(row, expected) for row in np.concatenate(hits, axis=1)[:, ranking]]


def _hits(overlap: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.bool_]:
    """Tell which detections, by falling score, find a truth box that is still free."""
    free = np.ones(overlap.shape[1], bool)
    found = np.zeros(len(overlap), bool)
    for row, values in enumerate(overlap):
        candidates = np.where(free, values, -1)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= limit:
            free[best], found[row] = False, True
    return found


def _area(hits: npt.NDArray[np.bool_], expected: int) -> float:
    true_positives = np.cumsum(hits)
    recall = true_positives / expected
    precision = true_positives / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0)[at].mean())
