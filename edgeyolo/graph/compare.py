"""Do two ONNX models compute the same? Both run on ONNX Runtime with the same random tensors.

Owns the random inputs and the comparison. What is not float must be equal; floats may differ by a little of
the output's own range, because a rewritten graph adds in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeyolo.errors import GraphError, MismatchError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["Difference", "prove_equal", "random_inputs"]

# Where a model leaves height and width open: a size that every YOLO's strides divide.
_OPEN_SIDE = 320
# Where it leaves the batch open: more than one, so that a batch that became fixed is noticed.
_OPEN_BATCH = 2
_IMAGE_RANK = 4
_FLOAT16_FACTOR = 1000.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one output of two models lies apart.

    Args:
        output: Name of the output.
        largest: Largest absolute difference, in the output's own unit.
        range: Largest magnitude in the output.
    """

    output: str
    largest: float
    range: float


def prove_equal(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, *, runs: int = 3, tolerance: float = 5e-5
) -> tuple[Difference, ...]:
    """Run both models on the same random tensors and compare every output.

    Args:
        reference: What is right.
        candidate: What must compute the same.
        runs: How many different inputs.
        tolerance: Largest allowed difference, as a part of ``max(1, largest magnitude of the output)``;
            float16 outputs get a thousand times that.

    Returns:
        One `Difference` an output: the largest of all runs.

    Raises:
        MismatchError: An output is missing, has another shape or type, or differs by more.
        GraphError: ONNX Runtime cannot run one of them.
    """
    session = _session(reference, "the input model")
    names = [item.name for item in session.get_outputs()]
    inputs = [random_inputs(session.get_inputs(), seed) for seed in range(runs)]
    expected = [_run(session, names, item) for item in inputs]
    del session  # a session holds the weights: one at a time
    session = _session(candidate, "the rewritten model")
    missing = set(names) - {item.name for item in session.get_outputs()}
    if missing:
        raise MismatchError(f"the rewritten model lacks the output {', '.join(sorted(missing))}")
    found = [_run(session, names, item) for item in inputs]
    worst: list[Difference] = []
    for i, name in enumerate(names):
        differences = [_difference(name, a[i], b[i], tolerance) for a, b in zip(expected, found, strict=True)]
        worst.append(max(differences, key=lambda item: item.largest))
    return tuple(worst)


def random_inputs(specs: Sequence[Any], seed: int) -> dict[str, npt.NDArray[Any]]:
    """Make one plausible tensor an input: floats 0..1 as pixels are, bytes 0..255, other integers 0 or 1.

    Args:
        specs: Inputs of an ONNX Runtime session (``name``, ``shape``, ``type``).
        seed: Of the random generator.

    Raises:
        GraphError: An input that is no plain tensor of numbers.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for spec in specs:
        shape = [_side(spec.shape, axis) for axis in range(len(spec.shape))]
        inputs[spec.name] = _random_tensor(rng, spec.name, spec.type, shape)
    return inputs


def _side(shape: Sequence[int | str | None], axis: int) -> int:
    size = shape[axis]
    if isinstance(size, int):
        return size
    if len(shape) == _IMAGE_RANK and axis >= 2:
        return _OPEN_SIDE
    return _OPEN_BATCH if axis == 0 else 1


def _random_tensor(rng: np.random.Generator, name: str, kind: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    element = kind.removeprefix("tensor(").removesuffix(")")
    floats = {"float": np.float32, "double": np.float64, "float16": np.float16}
    if element in floats:
        return rng.random(shape, np.float32).astype(floats[element])
    if element in ("uint8", "int8", "int32", "int64", "bool"):
        high = 256 if element == "uint8" else 2
        return rng.integers(0, high, shape).astype(element)
    raise GraphError(f"input {name}: a tensor of numbers expected, {kind} found")


def _session(model: onnx.ModelProto, what: str) -> Any:
    ort = require("onnxruntime", why="to prove that a rewritten graph computes the same")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Rewriting is what is under test; ONNX Runtime's own must not hide or add a difference.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        raise GraphError(f"ONNX Runtime cannot load {what}: {exc}") from exc


def _run(
    session: Any, names: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    try:
        return [np.asarray(value) for value in session.run(list(names), dict(inputs))]
    except Exception as exc:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
        raise GraphError(f"ONNX Runtime cannot run the model on {shapes}: {exc}") from exc


def _difference(name: str, a: npt.NDArray[Any], b: npt.NDArray[Any], tolerance: float) -> Difference:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise MismatchError(
            f"output {name}: {a.dtype} of shape {list(a.shape)} expected, {b.dtype} of {list(b.shape)} found"
        )
    if not np.issubdtype(a.dtype, np.floating):
        if not np.array_equal(a, b):
            raise MismatchError(f"output {name}: {int(np.sum(a != b))} of {a.size} values differ")
        return Difference(output=name, largest=0.0, range=0.0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # equal infinities too, whose difference is no number
    finite = np.where(np.isfinite(a), a, 0).astype(np.float64)
    gap = np.where(same, 0.0, np.abs(finite - b))
    largest, reach = float(gap.max(initial=0.0)), float(np.abs(finite).max(initial=0.0))
    allowed = tolerance * max(1.0, reach) * (_FLOAT16_FACTOR if a.dtype == np.float16 else 1.0)
    if not largest <= allowed or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        raise MismatchError(
            f"output {name}: a difference of at most {allowed:.3g} expected, {largest:.3g} found "
            f"(largest magnitude {reach:.3g})"
        )
    return Difference(output=name, largest=largest, range=reach)
