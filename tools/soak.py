"""Run an engine on sources for a long time and tell whether anything grows.

    python tools/soak.py ENGINE SOURCE... [--minutes 60] [--every-s 10] [--save OUT.mp4]

Prints a line a sample (resident memory, file handles, threads, age of results) and at the end the slope of
each by least squares over the second half, when everything is warm: so much an hour. A live source is any
camera, or ``test://?live=1&fps=30``. Whatever happens to the cameras meanwhile (unplug them, kill the
server) is counted.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np

from edgeyolo.camera import STALL_TIMEOUT_S
from edgeyolo.frames import Sink
from edgeyolo.pipeline.cameras import open_cameras
from edgeyolo.pipeline.drawing import drawer
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.pipeline.run import open_model
from edgeyolo.pipeline.signals import stopping_on_signals
from edgeyolo.pipeline.sinks import SinkConfig, open_sinks
from edgeyolo.runtime import open_engine

COLUMNS = ("rss_mib", "handles", "threads", "age_p50_ms", "age_p99_ms", "fps")


def sample(monitor: Monitor) -> list[float]:
    """Read the columns now."""
    status = monitor.status()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    ages = [source.age_ms for source in status.sources if source.age_ms]
    return [
        resident / 2**20,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        max((age["p50"] for age in ages), default=0.0),
        max((age["p99"] for age in ages), default=0.0),
        sum(source.fps for source in status.sources),
    ]


def slopes(times_s: list[float], rows: list[list[float]]) -> list[float]:
    """Give the slope of each column over the second half, an hour."""
    half = len(rows) // 2
    return [
        float(np.polyfit(np.array(times_s[half:]) / 3600, column, 1)[0]) for column in np.array(rows[half:]).T
    ]


def watch(monitor: Monitor, minutes: float, every_s: float) -> tuple[list[float], list[list[float]]]:
    """Sample until the time is up or the run is stopped, then stop it."""
    begun, times, rows = time.monotonic(), [], []
    print(" ".join(f"{name:>11}" for name in ("minute", *COLUMNS)), flush=True)
    while time.monotonic() - begun < minutes * 60 and not monitor.stop_event.wait(every_s):
        times.append(time.monotonic() - begun)
        rows.append(sample(monitor))
        print(" ".join(f"{value:11.1f}" for value in (times[-1] / 60, *rows[-1])), flush=True)
    monitor.stop()
    return times, rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", type=Path)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every-s", type=float, default=10.0)
    parser.add_argument("--save", type=Path, help="record a video, too")
    options = parser.parse_args()

    model = open_model(open_engine(options.engine, max_batch=len(options.sources)))
    sources = open_cameras(options.sources, stall_timeout_s=STALL_TIMEOUT_S)
    monitor = Monitor(sources, model, say=lambda line: print(line, flush=True))
    outputs = SinkConfig(jsonl=Path(os.devnull), save=options.save)
    sinks: list[Sink] = list(open_sinks(outputs, sources, model.names, monitor))
    kept: list[tuple[list[float], list[list[float]]]] = []
    watcher = threading.Thread(
        target=lambda: kept.append(watch(monitor, options.minutes, options.every_s)), daemon=True
    )
    with stopping_on_signals(monitor.stop_event):
        watcher.start()
        report = FrameLoop(sources, model, sinks, LoopConfig(draw=drawer(model.names)), monitor).run()
        monitor.stop()
        watcher.join()
    model.close()
    times, rows = kept[0]
    for source in report.status.sources:
        print(
            f"{source.camera}: {source.captured} frames, {source.results} answered, {source.dropped} passed "
            f"over, {source.reconnects} reconnects"
        )
    if len(rows) >= 6:
        for name, slope, values in zip(COLUMNS, slopes(times, rows), np.array(rows).T, strict=True):
            print(f"{name:<11} {slope:+10.2f} an hour   (min {values.min():.1f}, max {values.max():.1f})")


if __name__ == "__main__":
    main()
