"""What following objects costs and how well it works, on scenes with ground truth.

The first table is milliseconds of processor time a frame by number of objects, tracking alone and with four
zones and four lines, median over a sequence. The second is accuracy: CLEAR MOT and IDF1 on walkers who cross
and cover each other and on the shapes of ``test://``, as a perfect detector sees them and as one that errs.

    python tools/bench_tracker.py [--objects 5,20,60,200]
    python tools/bench_tracker.py --trackers    # the same scenes, in an environment with pip install trackers
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the scenes, which tests own

from edgeyolo.detections import Detections
from edgeyolo.events import analyst_for
from edgeyolo.events.tracker import Tracker
from edgeyolo.frames import Frame
from edgeyolo.rules import Line, Rules, TrackRules, Zone
from tests.events.scenes import Errors, Scores, crossing_walkers, mot_scores, scene_truth, seen_by_detector

CONF = 0.25
Follow = Callable[[list[tuple[float, Detections | None]], float], list[Detections]]
REAL = Errors(missed=0.05, weak=0.1, jitter=0.03, false=0.1, other_class=0.03)
POOR = Errors(missed=0.25, weak=0.2, jitter=0.05, false=0.3, other_class=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", default="5,20,60,200")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trackers", action="store_true", help="accuracy of the package trackers instead")
    arguments = parser.parse_args()
    if not arguments.trackers:
        times([int(part) for part in arguments.objects.split(",")])
        print()
    accuracy(arguments.seeds, theirs if arguments.trackers else ours)


def times(counts: list[int]) -> None:
    x = np.linspace(0.1, 0.8, 4)
    rules = Rules(
        zones=tuple(
            Zone(name=f"z{k}", points=((v, 0.2), (v + 0.15, 0.2), (v, 0.9))) for k, v in enumerate(x)
        ),
        lines=tuple(Line(name=f"l{k}", a=(v, 1), b=(v, 0)) for k, v in enumerate(x)),
    )
    print("objects  tracking ms  with 4 zones and 4 lines ms  between detections ms")
    for count in counts:
        scene = list(seen_by_detector(parade(count), Errors(missed=0.02, jitter=0.03, other_class=0.03)))
        row = [timed(scene, rules=None), timed(scene, rules=rules), timed(scene, rules=rules, every=3)]
        print(f"{count:7d}  {row[0]:11.2f}  {row[1]:27.2f}  {row[2]:21.2f}")


def parade(count: int) -> Iterator[tuple[float, Detections]]:
    """Objects in rows, each on its own path, shoulder to shoulder in a picture of 640x480: all are seen."""
    columns = int(np.ceil(np.sqrt(count)))
    x, y = np.arange(count) % columns * 640 / columns, np.arange(count) // columns * 480 / columns
    side = np.array([400, 300]) / columns
    for index in range(300):
        sway = 120 / columns * np.sin(index / 15 + np.arange(count))
        low = np.stack([x + 60 / columns + sway, y + 30 / columns + sway / 2], axis=1)
        boxes = np.concatenate([low, low + side], axis=1).astype(np.float32)
        ids = np.arange(count)
        yield index / 30, Detections(boxes, np.ones(count, np.float32), np.zeros(count, np.int64), ids + 1)


def timed(scene: list[tuple[float, Detections]], *, rules: Rules | None, every: int = 1) -> float:
    """Median milliseconds of processor time; with `every` those of frames between detections."""
    analyst = analyst_for("0", rules, ["person", "other"], conf=lambda: CONF)
    image = np.zeros((480, 640, 3), np.uint8)
    spent = []
    for index, (time_s, found) in enumerate(scene):
        frame = Frame(image_bgr=image, source="", index=index, time_s=time_s, captured_at_s=time.monotonic())
        start = time.thread_time()
        analyst.update(frame, None if index % every else found)
        if every == 1 or index % every:
            spent.append((time.thread_time() - start) * 1e3)
    return statistics.median(spent)


def accuracy(seeds: int, follow: Follow) -> None:
    print("scene                                    MOTA   IDF1  switches  objects  numbers")
    for name, fps, errors, every in (
        ("perfect detector, 30 FPS", 30, Errors(), 1),
        ("errs, 30 FPS", 30, REAL, 1),
        ("errs, 10 FPS", 10, REAL, 1),
        ("errs, 5 FPS", 5, REAL, 1),
        ("errs, 30 FPS, every 3rd detected", 30, REAL, 3),
        ("errs, 30 FPS, every 6th detected", 30, REAL, 6),
        ("errs a lot, 30 FPS", 30, POOR, 1),
    ):
        if every > 1 and follow is not ours:
            continue  # no boxes between detections
        for kind in ("walkers", "test://"):
            rows = [sequence(kind, seed, fps, errors, every, follow) for seed in range(seeds)]
            shares = f"{mean(r.mota for r in rows):5.3f}  {mean(r.idf1 for r in rows):5.3f}"
            sums = [
                sum(values)
                for values in zip(*((r.switches, r.objects, r.numbers) for r in rows), strict=True)
            ]
            print(f"{kind + ' ' + name:40s} {shares}  {sums[0]:8d}  {sums[1]:7d}  {sums[2]:7d}", flush=True)


def sequence(kind: str, seed: int, fps: float, errors: Errors, every: int, follow: Follow) -> Scores:
    make = {
        "walkers": lambda: crossing_walkers(seed, fps=fps, seconds=20, people=6),
        "test://": lambda: scene_truth(seed, fps=fps, seconds=8, objects=10),
    }[kind]
    truth = list(make())
    seen = [
        (time_s, None if index % every else found)
        for index, (time_s, found) in enumerate(seen_by_detector(truth, errors, seed))
    ]
    return mot_scores([real for _, real in truth], follow(seen, fps))


def ours(seen: list[tuple[float, Detections | None]], fps: float) -> list[Detections]:
    tracker = Tracker(TrackRules())
    return [tracker.follow(time_s, found, conf=CONF).boxes for time_s, found in seen]


def theirs(seen: list[tuple[float, Detections | None]], fps: float) -> list[Detections]:
    """ByteTrack of the package trackers, given the times, our least score and our patience of 1.5 s."""
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(
        frame_rate=fps, lost_track_buffer=45, track_activation_threshold=CONF, high_conf_det_threshold=CONF
    )
    followed = []
    for time_s, found in seen:
        boxes = supervision.Detections(
            xyxy=found.xyxy.copy(), confidence=found.scores.copy(), class_id=found.class_ids.copy()
        )
        boxes = tracker.update(boxes, timestamp=time_s)
        numbers = np.full(len(boxes), -1) if boxes.tracker_id is None else np.asarray(boxes.tracker_id)
        followed.append(
            Detections(boxes.xyxy, boxes.confidence, boxes.class_id, numbers.astype(np.int64) + 1)
        )
    return followed


def mean(values: Iterator[float]) -> float:
    return statistics.mean(values)


if __name__ == "__main__":
    main()
