"""Measure how long the command line takes to answer ``--help`` and ``--version``.

    .venv/bin/python tools/bench_start.py [--runs 20]

The goal is 0.3 s for ``edgeyolo --help`` on a laptop; the first run, with cold files, is shown on its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = (["--help"], ["--version"], ["run", "--help"], ["convert", "--help"])


def seconds(arguments: list[str]) -> float:
    edgeyolo = Path(sys.executable).with_name("edgeyolo")
    start = time.perf_counter()
    subprocess.run([edgeyolo, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    print(f"{'command':24} {'first':>8} {'median':>8} {'worst':>8}   seconds, {runs} runs")
    for arguments in COMMANDS:
        first, *times = (seconds(arguments) for _ in range(runs + 1))
        name = f"edgeyolo {' '.join(arguments)}"
        print(f"{name:24} {first:8.3f} {statistics.median(times):8.3f} {max(times):8.3f}")


if __name__ == "__main__":
    main()
