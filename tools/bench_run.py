"""Throughput of the whole frame loop against a bare ``session.run`` loop on the same frames' tensors.

    python tools/bench_run.py ENGINE VIDEO [--frames N] [--rounds N] [--save]

The two are measured in turn, round by round, in one process; the ratio of the medians is what counts, since
a machine's speed is not the same from minute to minute. The bare loop has its tensors ready in memory and
throws its outputs away; ours decodes, preprocesses, infers, postprocesses and writes JSON lines (and, with
``--save``, draws and encodes a video). An engine with random weights finds rubbish in plenty, and its
postprocess is measured rather than the loop: quiet it with ``--conf 0.999``.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime

from edgeyolo.camera import open_source
from edgeyolo.pipeline.run import RunConfig, open_model, run
from edgeyolo.pipeline.sinks import SinkConfig
from edgeyolo.runtime import open_engine


def tensors_of(engine: Path, video: str, frames: int) -> list[np.ndarray]:
    """Preprocess the frames once, with the engine's own preprocess."""
    with open_model(open_engine(engine)) as model:
        kept = []
        for frame in itertools.islice(open_source(video), frames):
            model.preprocess(frame.image_bgr)
            kept.append(model.engine.input(0).copy())
    return kept


def bare_fps(session: onnxruntime.InferenceSession, tensors: list[np.ndarray]) -> float:
    name = session.get_inputs()[0].name
    start = perf_counter()
    for tensor in tensors:
        session.run(None, {name: tensor})
    return len(tensors) / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", type=Path)
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="also draw and encode a video")
    parser.add_argument("--conf", type=float, default=None)
    options = parser.parse_args()

    tensors = tensors_of(options.engine, options.video, options.frames)
    session = onnxruntime.InferenceSession(str(options.engine), providers=["CPUExecutionProvider"])
    bare_fps(session, tensors[:5])
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            engine=options.engine,
            sources=[options.video],
            frames=len(tensors),
            conf=options.conf,
            sinks=SinkConfig(
                jsonl=Path(folder) / "out.jsonl",
                save=Path(folder) / "out.mp4" if options.save else None,
            ),
        )
        for number in range(options.rounds):
            bare.append(bare_fps(session, tensors))
            ours.append(run(config).loop.fps)
            print(f"round {number + 1}: bare {bare[-1]:7.1f} FPS   run {ours[-1]:7.1f} FPS", flush=True)
    theirs, mine = statistics.median(bare), statistics.median(ours)
    print(f"median:  bare {theirs:7.1f} FPS   run {mine:7.1f} FPS   ratio {mine / theirs:.2f}")


if __name__ == "__main__":
    main()
