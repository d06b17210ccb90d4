"""What fifty viewers of the page cost the detection.

    python tools/bench_web.py ENGINE [--source URI] [--viewers 50] [--seconds 8] [--rounds 5]

Runs ``edgeyolo run ENGINE SOURCE --web`` and, in turns, nobody looks, and so many viewers do: all but one
read MJPEG as fast as it comes, one reads nothing. Viewers are another process. Prints the detections a second
of both and their ratio (median of neighbouring pairs, because other work on the machine comes and goes); the
processor seconds a second of the run and of the viewers (where all cores are busy, what the viewers take is
taken from the run); and those of the run per detection.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
EDGEYOLO = [sys.executable, "-c", "from edgeyolo.cli.start import start; start()"]
START_S = 60.0


@dataclass(frozen=True)
class Window:
    """One stretch of time."""

    fps: float
    run_cpu: float
    viewer_cpu: float
    pictures: float


def view(port: int, viewers: int) -> None:
    """Be the viewers until terminated, all but the first reading; then print the pictures that each got."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ready = selectors.DefaultSelector()
    request = b"GET /stream/0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(viewers)]
    got = dict.fromkeys(peers[1:], 0)
    for peer in peers:
        peer.sendall(request)
    for peer in got:
        ready.register(peer, selectors.EVENT_READ)
    try:
        while True:
            for key, _ in ready.select():
                got[key.fileobj] += key.fileobj.recv(1 << 20).count(b"Content-Length:")  # type: ignore
            time.sleep(0.002)  # a browser, too, takes what has come together
    finally:
        print(json.dumps(sorted(got.values())))


def status(port: int) -> dict[str, Any]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/api/status")
        return dict(json.loads(connection.getresponse().read()))


def encoded(port: int) -> float:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    lines = [line for line in text.splitlines() if line.startswith("edgeyolo_web_frames_encoded_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(port: int, run: int, viewers: int | None, seconds: float) -> Window:
    def now() -> tuple[float, float, float, float, float]:
        return (
            time.monotonic(),
            status(port)["cameras"][0]["results"],
            cpu_s(run),
            cpu_s(viewers) if viewers else 0.0,
            encoded(port),
        )

    before = now()
    time.sleep(seconds)
    passed, *rest = (b - a for a, b in zip(before, now(), strict=True))
    return Window(*(value / passed for value in rest))


@contextlib.contextmanager
def running(engine: Path, source: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [*EDGEYOLO, "run", str(engine), source, "--web", f"127.0.0.1:{port}", "--web-clients", "512"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                if status(port)["cameras"][0]["results"] > 10:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the run did not start: {' '.join(command)}")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def viewing(port: int, viewers: int) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--be-viewers", str(port), str(viewers)], stdout=subprocess.PIPE, text=True
    )
    try:
        while status(port)["streams"] < viewers:
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        got = json.loads(process.communicate()[0])
        print(f"{'':>12}  each of those who read got {got[0]} to {got[-1]} pictures")
    while status(port)["streams"]:
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", type=Path)
    parser.add_argument("--source", default="test://?width=1280&height=720&frames=0")
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pairs = []
    with running(options.engine, options.source, port) as run:
        for _ in range(options.rounds):
            alone = measure(port, run.pid, None, options.seconds)
            with viewing(port, options.viewers) as viewers:
                watched = measure(port, run.pid, viewers, options.seconds)
            pairs.append((alone, watched))
            show("nobody", alone)
            show(f"{options.viewers} viewers", watched)
    ratio = statistics.median(watched.fps / alone.fps for alone, watched in pairs)
    cost = statistics.median((w.run_cpu / w.fps) / (a.run_cpu / a.fps) for a, w in pairs)
    print(f"processor time of a detection with {options.viewers} viewers, of that with none: {cost:.3f}")
    print(f"detections a second with {options.viewers} viewers, of those with none: {ratio:.3f}")


def show(who: str, window: Window) -> None:
    print(
        f"{who:>12}: {window.fps:6.1f} results/s, {window.pictures:5.1f} pictures/s encoded; processor: run "
        f"{window.run_cpu:.2f}, viewers {window.viewer_cpu:.2f} of {os.cpu_count()}; run, a result: "
        f"{window.run_cpu / window.fps * 1e3:.1f} ms",
        flush=True,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-viewers"]:
        view(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
