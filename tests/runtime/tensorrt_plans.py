"""TensorRT engines for tests, built by the simulated TensorRT through its public interface."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeyolo.runtime.tensorrt_engine import TensorRTEngine
from edgeyolo.sidecar import EngineInfo, read_sidecar, sidecar_path
from edgeyolo.spec import ModelSpec, TensorSpec
from tests import tiny_models
from tests.sim.cuda.simulator import Simulator
from tests.sim.tensorrt import simulated_tensorrt, surface

__all__ = [
    "COMMAND",
    "KINDS",
    "build_plan",
    "device_of",
    "edit_sidecar",
    "open_kind",
    "run_frames",
    "write_engine",
]

COMMAND = "edgeyolo build m.onnx -o m.engine --backend tensorrt"


def build_plan(
    generation: str, onnx_model: bytes, *, batches: tuple[int, int, int] = (1, 2, 4), compatible: bool = False
) -> bytes:
    """Build a plan as NVIDIA's samples do, on a machine of its own.

    Args:
        generation: Of TensorRT.
        onnx_model: An ONNX file.
        batches: The profile of a dynamic model.
        compatible: Whether later versions shall take it too.
    """
    trt = simulated_tensorrt(generation)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(onnx_model)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    shape = tuple(network.get_input(0).shape)
    if shape[0] == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(network.get_input(0).name, *((size, *shape[1:]) for size in batches))
        config.add_optimization_profile(profile)
    return bytes(memoryview(builder.build_serialized_network(network, config)))


def write_engine(onnx_path: Path, path: Path, generation: str = "10.3", **changes: Any) -> Path:
    """Write a plan and its sidecar.

    Args:
        onnx_path: The model, with EdgeYOLO's metadata.
        path: The engine.
        generation: Of TensorRT.
        **changes: Of `build_plan`'s options, or fields of the sidecar.
    """
    import onnx

    model = onnx.load(str(onnx_path))
    spec = ModelSpec.from_metadata({p.key: p.value for p in model.metadata_props})
    assert spec is not None
    options = {key: changes.pop(key) for key in ("batches", "compatible") if key in changes}
    path.write_bytes(build_plan(generation, onnx_path.read_bytes(), **options))
    fields: dict[str, Any] = {
        "backend": "tensorrt", "precision": "fp32", "spec": spec,
        "inputs": tuple(map(_tensor, model.graph.input)), "outputs": tuple(map(_tensor, model.graph.output)),
        "engine_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "made_from": {},
        "versions": {"tensorrt": surface(generation)["version"]},
        "machine": {"gpu": "Simulated Orin", "sm": "8.7"},
        "built_at": "2026-01-01T00:00:00Z", "command": COMMAND,
    }  # fmt: skip
    EngineInfo(**{**fields, **changes}).write(path)
    return path


def edit_sidecar(engine: Path, **changes: Any) -> None:
    """Change fields of a sidecar."""
    path = sidecar_path(engine)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _tensor(value: Any) -> TensorSpec:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return TensorSpec(name=value.name, shape=shape, dtype="float32")


# How the runtime may go through its work: kind -> (batch of the model, CUDA graphs, integrated GPU).
KINDS: dict[str, tuple[int | None, bool, bool]] = {
    "graph, board": (1, True, True),
    "graph, card": (1, True, False),
    "pieces, board": (1, False, True),
    "pieces, card": (1, False, False),
    "dynamic, board": (None, False, True),
    "dynamic, card": (None, False, False),
}
_INTEGRATED = 18  # CU_DEVICE_ATTRIBUTE_INTEGRATED


@contextlib.contextmanager
def device_of(simulator: Simulator, kind: str) -> Iterator[None]:
    """Let the simulated GPU be a board's or a card's."""
    simulator.set_attribute(_INTEGRATED, int(KINDS[kind][2]))
    try:
        yield
    finally:
        simulator.set_attribute(_INTEGRATED, 1)


def open_kind(path: Path, kind: str, *, max_batch: int = 1) -> TensorRTEngine:
    """Open an engine as `KINDS` says."""
    return TensorRTEngine(path, read_sidecar(path), max_batch=max_batch, graph=KINDS[kind][1])


def run_frames(engine: TensorRTEngine, frames: int = 7) -> list[str]:
    """Send frames through both slots as the frame loop does, the next one started before the last is read.

    The detector of `tests.tiny_models` gives each quarter's mean colour, so that a frame of one level must
    come back as that level.

    Returns:
        What was wrong with which frame.
    """

    def level(frame: int) -> float:
        return (frame + 1) / 16

    def fill(frame: int) -> None:
        engine.input(frame % 2)[...] = level(frame)
        engine.start(frame % 2)

    wrong = []
    fill(0)
    for frame in range(frames):
        if frame + 1 < frames:
            fill(frame + 1)
        outputs = engine.infer(frame % 2)
        for name, expected in (("scores", level(frame)), ("boxes", np.array([tiny_models.QUARTERS]))):
            if not (outputs[name] == expected).all():
                wrong.append(f"frame {frame}: {name}: {expected} expected, {outputs[name].ravel()[:4]} found")
    return wrong
