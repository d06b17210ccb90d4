"""How much of its average precision a model keeps in INT8, and how sure that is: a paired bootstrap.

A few hundred pictures tell the average precision of a detector to a hundredth or so, and INT8 is to cost less
than that. Both models see the same pictures, so most of that doubt is common to them: the pictures are drawn
anew with replacement a few hundred times, and the ratio of the two precisions is looked at each time.

    python tools/bench_kept.py FLOAT.onnx INT8.onnx... --data IMAGES ANNOTATIONS.json [--data ...]
        [--without DIR/manifest.txt]

``--without`` leaves out what was calibrated with. *Pooled* takes the boxes of all classes as one list: with
80 classes and a few hundred pictures most classes have few boxes, and the mean over classes is as noisy as
these. *Error* is what calibration makes less, at the outputs, of the same pictures: it tells two calibrations
apart whose average precision differs by luck. Every graph is computed as its Q/DQ nodes are written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgeyolo.calibrate.agreement import OutputDeviation
from edgeyolo.detections import Detections
from edgeyolo.evaluate.annotations import TrueBox, read_annotations
from edgeyolo.evaluate.average_precision import MAX_DETECTIONS
from edgeyolo.evaluate.classes import match_classes
from edgeyolo.files import sha256_of
from edgeyolo.pipeline.evaluate import CONF, IOU
from edgeyolo.pipeline.trial import TrialEngine
from edgeyolo.runtime import Detector
from edgeyolo.spec import ModelSpec
from edgeyolo.vision.boxes import iou_matrix
from edgeyolo.vision.images import read_image

LIMITS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
ROUNDS = 400

Array = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="float ONNX model with EdgeYOLO's metadata")
    parser.add_argument("int8", type=Path, nargs="+", help="its Q/DQ graphs")
    parser.add_argument("--data", nargs=2, action="append", required=True, metavar=("IMAGES", "JSON"))
    parser.add_argument("--without", type=Path, help="manifest of pictures to leave out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    spec = spec_of(arguments.model)
    pictures = pictures_of(arguments.data, spec, arguments.without)
    known, reference = judged(arguments.model, spec, pictures)
    deviation = OutputDeviation(reference)
    weights = drawn(len(pictures))
    base = measured(known, weights)
    say(arguments.json, {"model": str(arguments.model), "images": len(pictures), **summary(base)})
    for path in arguments.int8:
        int8, outputs = judged(path, spec, pictures)
        found = measured(int8, weights)
        error = sum(deviation.of(index, each) for index, each in enumerate(outputs))
        row = {"model": str(path), **summary(found), **kept(found, base), "error": round(error, 4)}
        say(arguments.json, row)


def say(as_json: bool, row: dict[str, object]) -> None:
    print(json.dumps(row) if as_json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


@dataclass(frozen=True)
class Labelled:
    """A picture and what is in it, with the model's class ids."""

    path: Path
    boxes: tuple[TrueBox, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """What a model said of all pictures: one row a detection, best first, and the true boxes.

    Args:
        picture: Index of each detection's picture.
        class_id: Its class.
        right: Whether it has a true box at each limit, shape ``(N, 10)``.
        counts: Whether it counts at each limit: not where it lies in a crowd.
        true_picture: Index of each true box's picture.
        true_class: Its class.
    """

    picture: npt.NDArray[np.int64]
    class_id: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]
    true_picture: npt.NDArray[np.int64]
    true_class: npt.NDArray[np.int64]

    def of_class(self, class_id: int) -> Judged:
        """Give what concerns one class."""
        own, true = self.class_id == class_id, self.true_class == class_id
        found = self.picture[own], self.class_id[own], self.right[own], self.counts[own]
        return Judged(*found, self.true_picture[true], self.true_class[true])


def spec_of(path: Path) -> ModelSpec:
    model = onnx.load(path, load_external_data=False)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if spec is None:
        sys.exit(f"{path}: EdgeYOLO's metadata expected, none found; edgeyolo adapt gives it")
    return spec


def pictures_of(data: Iterable[tuple[str, str]], spec: ModelSpec, without: Path | None) -> list[Labelled]:
    left_out = {line.split()[0] for line in without.read_text().splitlines()} if without else set()
    found = []
    for folder, labels in data:
        truth = read_annotations(labels)
        class_of = {c: i for i, c in match_classes(spec.names, truth.categories).category_of.items()}
        boxes: dict[int, list[TrueBox]] = {}
        for box in truth.boxes:
            if box.category_id in class_of:
                boxes.setdefault(box.image_id, []).append(box)
        for picture in truth.pictures:
            path = Path(folder, picture.file_name)
            if sha256_of(path) not in left_out:
                own = tuple(boxes.get(picture.image_id, ()))
                found.append(Labelled(path, own, tuple(class_of[box.category_id] for box in own)))
    return found


def judged(
    path: Path, spec: ModelSpec, pictures: Sequence[Labelled]
) -> tuple[Judged, list[list[npt.NDArray[np.float32]]]]:
    """Run a graph over the pictures and match its boxes with the true ones, as COCO does; and its outputs."""
    engine = TrialEngine(onnx.load(path), spec, precision="int8", fuse=False)
    engine.recorded = outputs = []
    detector = Detector(engine, conf=CONF, iou=IOU, multi_label=True)
    rows: list[tuple[int, int, float, Array, Array]] = []
    for index, picture in enumerate(pictures):
        rows += matched(index, picture, detector(read_image(picture.path)))
    rows.sort(key=lambda row: -row[2])
    solid = [
        (index, class_id)
        for index, picture in enumerate(pictures)
        for box, class_id in zip(picture.boxes, picture.classes, strict=True)
        if not box.crowd
    ]
    result = Judged(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[3] for row in rows], bool).reshape(-1, len(LIMITS)),
        np.array([row[4] for row in rows], bool).reshape(-1, len(LIMITS)),
        np.array([index for index, _ in solid], np.int64),
        np.array([class_id for _, class_id in solid], np.int64),
    )
    return result, outputs


def matched(
    index: int, picture: Labelled, found: Detections
) -> Iterable[tuple[int, int, float, Array, Array]]:
    for class_id in np.unique(found.class_ids):
        own = found.class_ids == class_id
        order = np.argsort(-found.scores[own], kind="stable")[:MAX_DETECTIONS]
        boxes, scores = found.xyxy[own][order], found.scores[own][order]
        truth = [b for b, c in zip(picture.boxes, picture.classes, strict=True) if c == class_id]
        truth.sort(key=lambda box: box.crowd)
        right = np.zeros((len(boxes), len(LIMITS)), bool)
        counts = np.ones_like(right)
        if truth:
            match_boxes(boxes, truth, right, counts)
        for row in range(len(boxes)):
            yield index, int(class_id), float(scores[row]), right[row], counts[row]


def match_boxes(
    boxes: npt.NDArray[np.float32],
    truth: Sequence[TrueBox],
    right: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.bool_],
) -> None:
    xyxy = np.array([[b.xywh[0], b.xywh[1], b.xywh[0] + b.xywh[2], b.xywh[1] + b.xywh[3]] for b in truth])
    overlap = np.asarray(iou_matrix(boxes.astype(np.float32), xyxy.astype(np.float32)), np.float64)
    crowd = np.array([box.crowd for box in truth])
    for column in np.flatnonzero(crowd):  # a crowd holds what lies in it: over the detection's own area
        overlap[:, column] = inside(boxes, xyxy[column])
    for at, limit in enumerate(LIMITS):
        taken = np.zeros(len(truth), bool)
        for row in range(len(boxes)):
            free = np.where(taken & ~crowd, -1.0, overlap[row])
            solid = np.where(crowd, -1.0, free)
            best = int(np.argmax(solid))
            if solid[best] >= limit - 1e-9:
                taken[best], right[row, at] = True, True
            elif crowd.any() and np.where(crowd, free, -1.0).max() >= limit - 1e-9:
                counts[row, at] = False


def inside(boxes: npt.NDArray[np.float32], crowd: Array) -> Array:
    low, high = np.maximum(boxes[:, :2], crowd[:2]), np.minimum(boxes[:, 2:], crowd[2:])
    own = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=1) / own, np.float64)


def drawn(pictures: int) -> npt.NDArray[np.int64]:
    """Give how often each picture is in each draw; the first draw is every picture once."""
    draws = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), ROUNDS)
    return np.concatenate([np.ones((1, pictures), np.int64), draws])


def measured(model: Judged, weights: npt.NDArray[np.int64]) -> Array:
    """Give average precision, mean over classes and pooled, of every draw: shape ``(draws, 2)``."""
    classes = [model.of_class(class_id) for class_id in np.unique(model.true_class)]
    rows = []
    for weight in weights:
        each = [precision(part, weight) for part in classes]
        rows.append([np.nanmean(each), precision(model, weight)])
    return np.array(rows)


def precision(model: Judged, weight: npt.NDArray[np.int64]) -> float:
    total = float(weight[model.true_picture].sum())
    if not total:
        return float("nan")
    if not len(model.picture):
        return 0.0
    often = weight[model.picture][:, None] * model.counts
    right = np.cumsum(often * model.right, axis=0)
    exact = right / np.maximum(np.cumsum(often, axis=0), 1)
    exact = np.maximum.accumulate(exact[::-1], axis=0)[::-1]
    padded = np.concatenate([exact, np.zeros((1, len(LIMITS)))])
    recall = right / total
    at = [np.searchsorted(recall[:, k], RECALLS, side="left") for k in range(len(LIMITS))]
    return float(np.mean([padded[places, k].mean() for k, places in enumerate(at)]))


def summary(found: Array) -> dict[str, object]:
    return {"ap": round(found[0, 0], 4), "pooled_ap": round(found[0, 1], 4)}


def kept(found: Array, base: Array) -> dict[str, object]:
    ratio = found / base
    return {
        "kept": round(ratio[0, 0], 4),
        "kept_sd": round(ratio[1:, 0].std(), 4),
        "pooled_kept": round(ratio[0, 1], 4),
        "pooled_kept_sd": round(ratio[1:, 1].std(), 4),
    }


if __name__ == "__main__":
    main()
