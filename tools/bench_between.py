"""Boxes between detections (``--every``): the motion model against optical flow, on a video.

The detector sees every frame, and that is the truth; the two see every Nth and say where the boxes are in the
others. Prints the mean intersection over union with the truth, over boxes that moved, and what a box costs.

    python tools/bench_between.py ENGINE VIDEO [--every 2,3,5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeyolo import Detector
from edgeyolo.detections import Detections
from edgeyolo.events import WEAK
from edgeyolo.events.tracker import Tracker
from edgeyolo.rules import TrackRules
from edgeyolo.vision.boxes import iou_matrix

CONF = 0.25
MOVED = 0.9  # intersection over union with its place in the frame before
FOUND = 0.2  # of either way, so that the detector's own mistakes do not count

Grey = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--every", default="2,3,5")
    arguments = parser.parse_args()
    frames, found, fps = seen(arguments.engine, arguments.video)
    print("every  moved boxes  model IoU  flow IoU  flow ms a box")
    for every in map(int, arguments.every.split(",")):
        compare(frames, found, fps, every)


def seen(engine: Path, video: Path) -> tuple[list[Grey], list[Detections], float]:
    frames, found = [], []
    capture = cv2.VideoCapture(str(video))
    with Detector(engine, conf=CONF) as detector:
        detector.weak = WEAK
        while True:
            good, image = capture.read()
            if not good:
                return frames, found, capture.get(cv2.CAP_PROP_FPS)
            found.append(detector(image))
            frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def compare(frames: list[Grey], found: list[Detections], fps: float, every: int) -> None:
    tracker = Tracker(TrackRules())
    flowed = np.empty((0, 4), np.float32)
    scores, spent = [], []
    for index, real in enumerate(found):
        boxes = tracker.follow(index / fps, None if index % every else real, conf=CONF).boxes
        if index % every == 0:
            flowed = boxes.xyxy[boxes.track_ids > 0]
            continue
        start = time.perf_counter()
        flowed = flow(frames[index - 1], frames[index], flowed)
        if len(flowed):
            spent.append((time.perf_counter() - start) * 1e3 / len(flowed))
        truth = real.xyxy[real.scores >= CONF]
        if not len(truth) or not len(flowed) or not len(boxes) or not len(found[index - 1]):
            continue
        moved = iou_matrix(truth, found[index - 1].xyxy).max(axis=1) < MOVED
        model, other = (iou_matrix(truth, b).max(axis=1) for b in (boxes.xyxy, flowed))
        used = moved & ((model > FOUND) | (other > FOUND))
        scores += list(zip(model[used], other[used], strict=True))
    means = np.mean(scores, axis=0)
    print(
        f"{every:5d}  {len(scores):11d}  {means[0]:9.3f}  {means[1]:8.3f}  {statistics.median(spent):13.1f}"
    )


def flow(before: Grey, after: Grey, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Move each box by the median of 48 points that are found again on the way back (Kalal et al., 2010)."""
    return np.array([box + shift(before, after, box) for box in boxes], np.float32).reshape(-1, 4)


def shift(before: Grey, after: Grey, box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    ends = [(box[k] * 0.8 + box[k + 2] * 0.2, box[k] * 0.2 + box[k + 2] * 0.8) for k in (0, 1)]
    x, y = np.linspace(*ends[0], 6), np.linspace(*ends[1], 8)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    there, good, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=(15, 15), maxLevel=3)
    sure = (good & again).ravel().astype(bool) & (np.linalg.norm((back - points)[:, 0], axis=1) < 1)
    if sure.sum() < 5:
        return np.zeros(4, np.float32)
    return np.tile(np.median((there - points)[sure, 0], axis=0), 2)


if __name__ == "__main__":
    main()
