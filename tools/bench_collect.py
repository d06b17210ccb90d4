"""What collecting activations costs beside the forward passes that it needs anyway: time and memory.

Both get the same pictures through the same preprocess. `bare` is the float model alone in ONNX Runtime as it
is by default (all threads for one picture); `side` is the same with pictures side by side, one thread each,
which is what collecting uses; `collect` counts every tensor's values too, in the two halves of
``edgeyolo calibrate``. They run in turn, each in a process of its own so that its peak memory is its own, and
medians of the rounds are compared.

    python tools/bench_collect.py MODEL.onnx IMAGES [--limit N] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

KINDS = ("bare", "side", "collect")


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(_measure(arguments)))
        return
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    peak: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for _ in range(arguments.rounds):
        for kind in KINDS:
            said = _run_child(kind, arguments)
            seconds[kind].append(said["seconds"])
            peak[kind] = max(peak[kind], said["peak_mib"])
            print(f"{kind:<8} {said['images']} pictures  {said['seconds']:6.1f} s", file=sys.stderr)
    for kind in KINDS:
        ratio = median(seconds[kind]) / median(seconds["bare"])
        print(f"{kind:<8} {median(seconds[kind]):6.1f} s  {ratio:4.2f} times bare  {peak[kind]:5.0f} MiB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="float ONNX model with EdgeYOLO's metadata")
    parser.add_argument("images", help="pictures, as for edgeyolo calibrate")
    parser.add_argument("--limit", type=int, default=None, help="so many pictures")
    parser.add_argument("--rounds", type=int, default=3, help="how often each")
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_child(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = [sys.executable, __file__, arguments.model, arguments.images, "--child", kind]
    if arguments.limit:
        words += ["--limit", str(arguments.limit)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one kind over the pictures; time without imports, with the making of sessions."""
    from edgeyolo.calibrate.feed import Feed
    from edgeyolo.calibrate.gather import gather
    from edgeyolo.graph.onnx_file import read_onnx
    from edgeyolo.spec import ModelSpec

    manifest = gather(arguments.images).manifest
    manifest = manifest.subset(arguments.limit or len(manifest))
    model = read_onnx(Path(arguments.model))
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if spec is None:
        sys.exit(f"{arguments.model}: EdgeYOLO's metadata expected, none found")
    work = {"bare": _bare, "side": _side, "collect": _collect}[arguments.child]
    run = work(model, manifest, lambda part: Feed(part, spec.preprocess, spec.input_wh))
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mib": peak, "images": len(manifest)}


def _bare(model: Any, manifest: Any, feed: Callable[[Any], Any]) -> Callable[[], None]:
    import onnxruntime

    def run() -> None:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for batch in feed(manifest):
            session.run(None, {name: batch})

    return run


def _side(model: Any, manifest: Any, feed: Callable[[Any], Any]) -> Callable[[], None]:
    from edgeyolo.calibrate.sessions import run_side_by_side, session_for

    def run() -> None:
        session, workers = session_for(model.SerializeToString())
        names = [output.name for output in session.get_outputs()]
        for _ in run_side_by_side(session, names, feed(manifest), workers):
            pass

    return run


def _collect(model: Any, manifest: Any, feed: Callable[[Any], Any]) -> Callable[[], None]:
    from edgeyolo.calibrate.collect import collect, taps_for
    from edgeyolo.calibrate.growth import collect_growing
    from edgeyolo.qdq import GraphView, quant_plan

    def run() -> None:
        view = GraphView(model)
        plan = quant_plan(view)
        taps = taps_for(view, plan)
        collect_growing(manifest, plan, lambda part: collect(model, taps, feed(part)))

    return run


if __name__ == "__main__":
    main()
