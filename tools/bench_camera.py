"""What it costs to read a camera, without a model: processor time, copying, and the age of a picture.

    python tools/bench_camera.py URI [--seconds 10]

Processor time is of the whole process, decoding included, divided by the pictures. Copying is the time of the
reading thread itself for each picture: out of GStreamer's memory into an array, and its time stamp. Age is
from the moment that the source gives for a picture to the moment when it is at hand.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from edgeyolo.camera import open_source


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("uri")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    source = open_source(options.uri)
    frames = iter(source)
    frame = next(frames)
    ages, own = [], []
    begun, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - begun < options.seconds:
        before = time.thread_time()
        frame = next(frames)
        own.append(time.thread_time() - before)
        ages.append(time.monotonic() - frame.captured_at_s)
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    source.close()
    height, width = frame.image_bgr.shape[:2]
    print(f"{source.name}: {width}x{height}, {len(ages) / seconds:.1f} a second; {'; '.join(source.notes)}")
    print(
        f"processor {cpu / len(ages) * 1e3:.1f} ms a picture, of which copying {np.median(own) * 1e3:.1f} ms"
    )
    print(f"age ms: p50 {np.percentile(ages, 50) * 1e3:.0f}, p99 {np.percentile(ages, 99) * 1e3:.0f}")


if __name__ == "__main__":
    main()
