"""Scenes with ground truth for the tracker, a detector that errs as real ones do, and the measures.

`mot_scores` is CLEAR MOT (Bernardin and Stiefelhagen, 2008) and IDF1 (Ristani et al., 2016), by their papers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeyolo.camera.scene import SyntheticScene
from edgeyolo.detections import Detections
from edgeyolo.events.assign import best_pairs
from edgeyolo.vision.boxes import iou_matrix

__all__ = ["Errors", "Scores", "crossing_walkers", "mot_scores", "scene_truth", "seen_by_detector"]

Timed = tuple[float, Detections]


def scene_truth(seed: int, *, fps: float, seconds: float, objects: int) -> Iterator[Timed]:
    """Give the truth of ``test://``: shapes that swing about, turn, and cover each other."""
    scene = SyntheticScene(seed, (640, 480), objects=objects)
    for index in range(int(seconds * fps)):
        yield index / fps, scene.render(index / fps)[1]


def crossing_walkers(seed: int, *, fps: float, seconds: float, people: int) -> Iterator[Timed]:
    """Give people who walk through a 640x480 picture both ways, nearer ones lower and larger.

    Whoever is covered by nearer ones to more than 60 % is not there to see.
    """
    rng = np.random.default_rng(seed)
    height = np.sort(rng.uniform(60, 180, people))
    speed = rng.uniform(0.4, 1.0, people) * height * rng.choice([-1, 1], people)
    start, wobble = rng.uniform(0, 640, people), rng.uniform(0, 6.28, people)
    for index in range(int(seconds * fps)):
        time_s = index / fps
        x = start + speed * time_s + 0.05 * height * np.sin(2 * time_s + wobble)
        lap, x = np.floor_divide(x + 100, 840), np.mod(x + 100, 840) - 100  # who has gone comes in as another
        foot = 200 + 1.4 * height + 0.02 * height * np.sin(9 * time_s + wobble)
        boxes = np.stack([x - 0.2 * height, foot - height, x + 0.2 * height, foot], axis=1)
        boxes = np.clip(boxes, 0, [640, 480, 640, 480])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        shown = area > 0.3 * 0.4 * height**2
        for k in range(people):
            low, high = (
                np.maximum(boxes[k, :2], boxes[k + 1 :, :2]),
                np.minimum(boxes[k, 2:], boxes[k + 1 :, 2:]),
            )
            hidden = np.maximum(high - low, 0).prod(axis=1).max(initial=0) / max(area[k], 1e-9)
            shown[k] &= hidden < 0.6
        ids = (np.arange(people) + people * (lap + 100)).astype(np.int64) + 1
        count = int(shown.sum())
        yield (
            time_s,
            Detections(
                boxes[shown].astype(np.float32),
                np.ones(count, np.float32),
                np.zeros(count, np.int64),
                ids[shown],
            ),
        )


@dataclass(frozen=True)
class Errors:
    """How a detector errs: shares of boxes, and standard deviation of an edge in sides of the box."""

    missed: float = 0.0
    weak: float = 0.0
    jitter: float = 0.0
    false: float = 0.0
    other_class: float = 0.0


def seen_by_detector(
    truth: Iterable[Timed], errors: Errors, seed: int = 0
) -> Iterator[tuple[float, Detections]]:
    """Give what a detector would say: scores 0.5..0.95, weak ones 0.12..0.24."""
    rng = np.random.default_rng(seed)
    for time_s, real in truth:
        count = len(real)
        side = np.tile(real.xyxy[:, 2:] - real.xyxy[:, :2], 2)
        boxes = real.xyxy + errors.jitter * side * rng.standard_normal((count, 4))
        weak = rng.random(count) < errors.weak
        scores = np.where(weak, rng.uniform(0.12, 0.24, count), rng.uniform(0.5, 0.95, count))
        classes = np.where(rng.random(count) < errors.other_class, real.class_ids + 1, real.class_ids)
        kept = rng.random(count) >= errors.missed
        extra = int(rng.random() < errors.false)
        corner = rng.uniform(0, 400, (extra, 2))
        boxes = np.concatenate([boxes[kept], np.concatenate([corner, corner + 50], axis=1)])
        scores = np.concatenate([scores[kept], np.full(extra, 0.4)])
        classes = np.concatenate([classes[kept], np.zeros(extra, np.int64)])
        order = np.argsort(-scores, kind="stable")
        yield (
            time_s,
            Detections(
                boxes[order].astype(np.float32),
                scores[order].astype(np.float32),
                classes[order].astype(np.int64),
            ),
        )


@dataclass(frozen=True)
class Scores:
    """Measures of a sequence: shares, and the number of times that a real object got another number."""

    mota: float
    idf1: float
    switches: int
    objects: int
    numbers: int


def mot_scores(truth: Iterable[Detections], followed: Iterable[Detections], *, iou: float = 0.5) -> Scores:
    """Compare boxes with numbers with those of the truth, frame by frame."""
    missed = false = switches = real_boxes = said_boxes = 0
    last: dict[int, int] = {}
    overlap: Counter[tuple[int, int]] = Counter()
    real_ids: set[int] = set()
    for real, said in zip(truth, followed, strict=True):
        assert real.track_ids is not None
        assert said.track_ids is not None
        known = np.flatnonzero(said.track_ids > 0)
        likeness = iou_matrix(real.xyxy, said.xyxy[known])
        overlap.update(
            (int(real.track_ids[i]), int(said.track_ids[known[j]])) for i, j in np.argwhere(likeness >= iou)
        )
        for i, number in enumerate(real.track_ids.tolist()):  # who was right stays right, as CLEAR MOT has it
            same = np.flatnonzero(said.track_ids[known] == last.get(number, -1))
            if len(same) and likeness[i, same[0]] >= iou:
                likeness[i, same[0]] += 10
        pairs = best_pairs(likeness, iou)
        for i, j in pairs:
            number, said_number = int(real.track_ids[i]), int(said.track_ids[known[j]])
            switches += last.get(number, said_number) != said_number
            last[number] = said_number
        missed += len(real) - len(pairs)
        false += len(known) - len(pairs)
        real_boxes += len(real)
        said_boxes += len(known)
        real_ids.update(real.track_ids.tolist())
    rows, columns = sorted({i for i, _ in overlap}), sorted({j for _, j in overlap})
    table = np.array([[overlap[i, j] for j in columns] for i in rows], np.float64).reshape(
        len(rows), len(columns)
    )
    right = sum(table[i, j] for i, j in best_pairs(table, 1.0))
    return Scores(
        mota=1 - (missed + false + switches) / real_boxes,
        idf1=2 * right / (real_boxes + said_boxes),
        switches=switches,
        objects=len(real_ids),
        numbers=len(columns),
    )
