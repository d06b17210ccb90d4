"""Run on a board everything that only a board can confirm, and write one report of it.

    .venv/bin/python tools/board_report.py [-o board-report.md] [--keep FOLDER]

Uses the demo model, so nothing is downloaded; takes some minutes, most of them TensorRT's builder. A step
that fails is in the report with its error, and the others go on. docs/on-the-board.md says what is confirmed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PRECISIONS = ("fp32", "fp16", "int8")
PICTURES = 64
ASSETS = Path(__file__).resolve().parent.parent / "edgeyolo" / "assets"


@dataclass(frozen=True)
class Step:
    """One command and what came of it."""

    words: tuple[str, ...]
    code: int
    seconds: float
    stdout: str
    stderr: str

    def markdown(self) -> str:
        mark = "ok" if self.code == 0 else f"FAILED, exit code {self.code}"
        said = "\n".join(part.strip() for part in (self.stdout, self.stderr) if part.strip())
        title = f"### {mark}: `edgeyolo {' '.join(self.words)}` ({self.seconds:.1f} s)"
        return f"{title}\n\n```\n{said[-6000:]}\n```\n"


def run(*words: str | Path, folder: Path) -> Step:
    start = time.monotonic()
    command = [sys.executable, "-c", "from edgeyolo.cli.main import main; main()", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Step(tuple(map(str, words)), done.returncode, time.monotonic() - start, done.stdout, done.stderr)


def write_pictures(folder: Path) -> None:
    """Write frames of the synthetic scene, each of another scene."""
    import cv2

    from edgeyolo.camera.synthetic import SyntheticSource

    folder.mkdir()
    for frame in SyntheticSource(frames=PICTURES, cut=1):
        cv2.imwrite(str(folder / f"{frame.index:03d}.png"), frame.image_bgr)


def steps(folder: Path, backend: str) -> list[Step]:
    """Run every step in order; one that fails does not end the others."""
    write_pictures(folder / "pictures")
    demo = ASSETS / "demo"
    converted = run(
        "convert", f"{demo}.cfg", f"{demo}.weights", "--names", f"{demo}.names", "-o", "m.onnx", folder=folder
    )
    found = [run("doctor", folder=folder), converted]
    found.append(run("build", "m.onnx", "-o", "cpu.engine", "--backend", "onnxruntime", folder=folder))
    found.append(run("calibrate", "m.onnx", "pictures", "-o", "scales", folder=folder))
    for precision in PRECISIONS if backend == "tensorrt" else ("fp32", "int8"):  # a processor has no fp16
        engine = f"{precision}.engine"
        extra = ("--calibration", "scales") if precision == "int8" else ()
        words = ("build", "m.onnx", "-o", engine, "--backend", backend, "--precision", precision, *extra)
        found.append(run(*words, folder=folder))
        if found[-1].code == 0:
            found.append(run("compare", "cpu.engine", engine, "--images", "pictures", folder=folder))
            found.append(run("bench", engine, folder=folder))
    return found


def report(found: list[Step], folder: Path) -> str:
    """Give the report as Markdown: what failed first, then each step."""
    failed = [step for step in found if step.code != 0]
    lines = ["# EdgeYOLO board report", "", time.strftime("%Y-%m-%d %H:%M %z"), ""]
    lines.append(f"{len(found) - len(failed)} of {len(found)} steps went well.")
    lines += [f"* failed: `edgeyolo {' '.join(step.words)}`" for step in failed]
    for precision in PRECISIONS:
        sidecar = folder / f"{precision}.engine.json"
        if sidecar.is_file():
            facts = json.loads(sidecar.read_text())
            kept = {key: facts[key] for key in ("precision", "versions", "machine", "built_at")}
            lines += ["", f"`{sidecar.name}`:", "", "```json", json.dumps(kept, indent=1), "```"]
    return "\n".join([*lines, "", *(step.markdown() for step in found)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("board-report.md"))
    parser.add_argument("--backend", default="tensorrt", help="onnxruntime tries the script on a PC")
    parser.add_argument("--keep", type=Path, help="keep engines and pictures in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch, "report")).resolve()
        folder.mkdir(parents=True)
        found = steps(folder, options.backend)
        options.output.write_text(report(found, folder), encoding="utf-8")
    failed = sum(step.code != 0 for step in found)
    print(f"{options.output}: {len(found) - failed} of {len(found)} steps went well")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
