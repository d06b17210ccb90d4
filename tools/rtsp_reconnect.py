"""Kill a real RTSP camera again and again while a run reads it, and tell whether anything stays behind.

    python tools/rtsp_reconnect.py ENGINE [--rounds 20] [--seed 0]

The camera is GStreamer's RTSP server on loopback, playing ``../shared/data/video`` where it is. Each round
ends it at a random moment: by ``kill -9``, or by SIGSTOP so that its connections stay open and silent; and
brings it back after a random while. A round is over when the run has frames again. Prints a line a round:
how, how long until live again, threads, file handles and resident memory.
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.frames import Sink
from edgeyolo.pipeline.cameras import open_cameras
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.pipeline.run import open_model
from edgeyolo.pipeline.sinks import SinkConfig, open_sinks
from edgeyolo.runtime import open_engine
from tests.camera.rtsp_process import RtspServer
from tests.parts import SHARED_DATA

STALL_TIMEOUT_S = 1.5
MOST_S = 90.0  # a recovery that takes longer is none


@dataclass
class Round:
    """What one round left."""

    how: str
    back_after_s: float
    threads: int
    handles: int
    rss_mib: float


def measured(how: str, back_after_s: float) -> Round:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Round(
        how, back_after_s, threading.active_count(), len(os.listdir("/proc/self/fd")), resident / 2**20
    )


def wait_until_live(monitor: Monitor, reconnects: int) -> None:
    deadline = time.monotonic() + MOST_S
    while True:
        (source,) = monitor.status().sources
        if source.reconnects >= reconnects and source.state == "live" and source.results > 0:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the camera did not come back: {source}")
        monitor.stop_event.wait(0.05)


def torment(
    server: RtspServer, monitor: Monitor, rounds: int, chance: random.Random, done: list[Round]
) -> None:
    """Do all rounds, then stop the run; whatever goes wrong is seen by the missing rounds."""
    try:
        wait_until_live(monitor, 0)
        for number in range(1, rounds + 1):
            time.sleep(chance.uniform(0.1, 1.0))
            how = chance.choice(["killed", "frozen"])
            if how == "killed":
                server.kill()
                time.sleep(chance.uniform(0.0, 1.5))
                server.start()
            else:
                server.freeze()
                time.sleep(STALL_TIMEOUT_S + chance.uniform(0.5, 1.5))
                server.thaw()
            back = time.monotonic()
            wait_until_live(monitor, number)
            done.append(measured(how, time.monotonic() - back))
            last = done[-1]
            print(
                f"{number:3} {how:7} live again {last.back_after_s:5.1f} s after it was back; "
                f"{last.threads} threads, {last.handles} handles, {last.rss_mib:.1f} MiB",
                flush=True,
            )
    finally:
        monitor.stop()


def reconnect(engine: Path, *, rounds: int, seed: int) -> list[Round]:
    """Run `engine` on a camera that is ended `rounds` times; give what each round left."""
    video = SHARED_DATA / "video" / "car-detection.mp4"
    done: list[Round] = []
    with (
        RtspServer(*(["--file", str(video)] if video.exists() else [])) as server,
        open_model(open_engine(engine)) as model,
    ):
        sources = open_cameras([server.url()], stall_timeout_s=STALL_TIMEOUT_S)
        monitor = Monitor(
            sources, model, stall_timeout_s=STALL_TIMEOUT_S, say=lambda line: print(f"    {line}", flush=True)
        )
        outputs = SinkConfig(jsonl=Path(os.devnull))
        sinks: list[Sink] = list(open_sinks(outputs, sources, model.names, monitor))
        tormentor = threading.Thread(
            target=torment, args=(server, monitor, rounds, random.Random(seed), done), daemon=True
        )
        tormentor.start()
        FrameLoop(sources, model, sinks, LoopConfig(), monitor).run()
        tormentor.join()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.monotonic()
    done = reconnect(options.engine, rounds=options.rounds, seed=options.seed)
    print(f"{len(done)} of {options.rounds} recoveries in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
