"""Many images through one ONNX Runtime session, side by side.

Owns session options for measuring (no integer kernels: Q/DQ pairs are computed as they are written, but where
the kernels are what is measured) and the threads. Refuses to know what is measured.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import GraphError
from edgeyolo.optional import require
from edgeyolo.qdq.placement import exact_int8

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["run_side_by_side", "session_for"]

_MAX_WORKERS = 4  # each holds the activations of one image


def session_for(model: bytes, *, workers: int | None = None, fuse: bool = False) -> tuple[Any, int]:
    """Open a session that computes every node as written, unless told to `fuse`.

    ONNX Runtime would turn Q/DQ pairs into its own integer kernels, whose rounding is its own; switched off,
    a Q/DQ graph is what the ONNX standard says it is, which TensorRT follows too.

    Args:
        model: A serialised model.
        workers: Images that run side by side; as many as there are cores, four at most, by default. One
            thread an image serves small networks better than all threads for one image.
        fuse: Let ONNX Runtime use its integer kernels, as an engine does.

    Returns:
        The session and the number of workers.

    Raises:
        GraphError: ONNX Runtime refuses the model.
    """
    ort = require("onnxruntime", why="to run the model over the calibration images")
    cores = os.cpu_count() or 1
    workers = workers or min(cores, _MAX_WORKERS)
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, cores // workers)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in (exact_int8() if fuse else {"session.disable_quant_qdq": "1"}).items():
        options.add_session_config_entry(key, value)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]), workers
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise GraphError(f"ONNX Runtime {ort.__version__} does not load the model: {exc}") from exc


def run_side_by_side(
    session: Any,
    outputs: list[str],
    batches: Iterable[npt.NDArray[np.float32]],
    workers: int,
    *,
    fixed: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> Iterator[tuple[list[npt.NDArray[np.float32]], int]]:
    """Run every batch, a bounded number at a time.

    Args:
        session: From `session_for`.
        outputs: Names of the outputs to give.
        batches: Tensors for the first input.
        workers: How many run side by side.
        fixed: Further inputs, the same for every batch.

    Yields:
        Outputs and number of images of every batch, in the order of the batches.

    Raises:
        GraphError: The model fails as it runs.
    """
    name = session.get_inputs()[0].name
    pending: deque[tuple[Future[list[npt.NDArray[np.float32]]], int]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for batch in batches:
                feeds = {name: batch, **(fixed or {})}
                pending.append((pool.submit(_run, session, outputs, feeds), len(batch)))
                if len(pending) > workers:
                    future, count = pending.popleft()
                    yield future.result(), count
            while pending:
                future, count = pending.popleft()
                yield future.result(), count
        finally:
            for future, _ in pending:
                future.cancel()


def _run(
    session: Any, outputs: list[str], feeds: Mapping[str, npt.NDArray[np.float32]]
) -> list[npt.NDArray[np.float32]]:
    try:
        return list(session.run(outputs, feeds))
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise GraphError(f"the model loads and fails as it runs: {exc}") from exc
