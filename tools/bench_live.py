"""How old results are when a camera is faster than the model, and whether cameras get their shares.

    python tools/bench_live.py ENGINE [--model-ms 100] [--fps 30] [--cameras 1] [--minutes 5]

Cameras are ``test://?live=1``: frames come at their rate on the wall clock, whether anybody takes them or
not. The model is ENGINE, made to take `--model-ms` by sleeping (as a GPU would: the processor is free
meanwhile). Prints a line every ten seconds: the age of results since the last line, and the results a
second of each camera.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeyolo.frames import Result
from edgeyolo.pipeline.cameras import open_cameras
from edgeyolo.pipeline.loop import FrameLoop
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.runtime import Detector

LINE_S = 10.0


class SlowDetector(Detector):
    """A detector whose inference takes a given time."""

    model_s = 0.1

    def infer(self, slot: int = 0, batch: int = 1) -> Mapping[str, Any]:
        until = time.monotonic() + self.model_s
        outputs = super().infer(slot, batch)
        time.sleep(max(0.0, until - time.monotonic()))
        return outputs


class Ages:
    """A sink that keeps ages and counts results, and stops the run when its time is up."""

    wants_picture = False

    def __init__(self, monitor: Monitor, seconds: float) -> None:
        self.every_age_ms: list[float] = []
        self._monitor = monitor
        self._begun = self._line = time.monotonic()
        self._end = self._begun + seconds
        self._ages_ms: list[float] = []
        self._counts: Counter[str] = Counter()

    def write(self, result: Result) -> None:
        now = time.monotonic()
        self._ages_ms.append(result.age_ms)
        self._counts[result.frame.camera] += 1
        if now - self._line >= LINE_S:
            p50, p99 = np.percentile(self._ages_ms, (50, 99))
            shares = " ".join(f"{c}: {n / (now - self._line):.2f}" for c, n in sorted(self._counts.items()))
            age = f"age p50 {p50:6.1f} p99 {p99:6.1f} max {max(self._ages_ms):6.1f} ms"
            print(f"{now - self._begun:6.0f} s  {age}  results a second {shares}", flush=True)
            self.every_age_ms += self._ages_ms
            self._line, self._ages_ms, self._counts = now, [], Counter()
        if now >= self._end:
            self._monitor.stop()

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", type=Path)
    parser.add_argument("--model-ms", type=float, default=100.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()

    small = "width=320&height=240&objects=3"  # cheap to draw: the machine is not the thing measured
    uris = [f"test://?live=1&frames=0&fps={options.fps:g}&{small}&seed={k}" for k in range(options.cameras)]
    sources = open_cameras(uris, stall_timeout_s=5.0)
    with SlowDetector(options.engine) as model:
        model.model_s = options.model_ms / 1e3
        monitor = Monitor(sources, model)
        ages = Ages(monitor, options.minutes * 60)
        report = FrameLoop(sources, model, [ages], None, monitor).run()
    p50, p99 = np.percentile(ages.every_age_ms, (50, 99))
    late = float(np.mean(np.array(ages.every_age_ms) > 1.5 * options.model_ms))
    print(f"all: age p50 {p50:.1f} p99 {p99:.1f} ms; {late:.2%} above {1.5 * options.model_ms:g} ms")
    for camera in report.status.sources:
        counts = f"{camera.captured} frames, {camera.results} answered, {camera.dropped} passed over"
        print(f"{camera.camera}: {counts}")


if __name__ == "__main__":
    main()
