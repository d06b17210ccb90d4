"""An engine opened for running: the protocol that every backend fulfils, and the door that picks one.

Owns the contract of slots and buffers, and the refusal of engines that do not fit this machine. Knows no
backend's library (``onnxruntime_engine`` does) and no pixels (``predictor`` does).

A *slot* is one input buffer with its outputs. While slot 0 is being inferred, slot 1 can be filled and
started by another thread; that is all the concurrency there is: one thread at a time may call `Engine.infer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from edgeyolo.errors import StaleEngineError
from edgeyolo.sidecar import EngineInfo, read_sidecar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Engine", "open_engine", "stale"]


class Engine(Protocol):
    """A model that is loaded and ready.

    Attributes are read-only. `close` frees everything, and twice is harmless; a ``with`` block closes.
    """

    @property
    def info(self) -> EngineInfo:
        """What the sidecar says."""

    @property
    def slots(self) -> int:
        """Number of input buffers; two where work overlaps."""

    @property
    def batch(self) -> int:
        """Pictures that one slot holds."""

    def input(self, slot: int) -> npt.NDArray[np.float32]:
        """Give the slot's own input buffer, always the same memory, to be written in place.

        Returns:
            Shape ``(batch, C, H, W)``, float32, C-contiguous.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it runs, such as a fast path that is not there."""

    def start(self, slot: int, *, batch: int | None = None) -> None:
        """Begin the inference of a slot that has been filled, and return without waiting for it.

        Optional: `infer` of the same slot and batch then waits for the results, and must follow before the
        slot's buffer is written again. A backend that computes in the caller's thread does nothing here.

        Raises:
            EngineError: The backend failed, or the engine is closed.
        """

    def infer(self, slot: int, *, batch: int | None = None) -> Mapping[str, npt.NDArray[np.float32]]:
        """Run the model on what the slot's buffer holds.

        Args:
            slot: Which buffer.
            batch: How many of its pictures count, from the first; all of them by default. A model of a
                fixed batch computes the others too and their results are cut off.

        Returns:
            Output name to array, first axis `batch`. The memory is the slot's: it is valid until the next
            `infer` of the same slot.

        Raises:
            EngineError: The backend failed, or the engine is closed.
        """

    def close(self) -> None:
        """Free everything; twice is harmless."""

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_engine(
    path: Path | str, *, threads: int | None = None, max_batch: int = 1, trust: bool = False
) -> Engine:
    """Load an engine after its sidecar has been proved and compared with this machine.

    Args:
        path: The engine file; ``PATH.json`` must lie beside it.
        threads: Processor threads of one inference, where the backend runs on the processor; its own
            choice by default.
        max_batch: Pictures a slot shall hold where the model's batch is dynamic; a model of a fixed batch
            has slots of that size.
        trust: Load an engine whose hash is not its sidecar's: an engine can be executable code, so its origin
            must be known in another way.

    Raises:
        EngineError: The engine or its sidecar is absent, unreadable or does not load.
        StaleEngineError: It was built for something else; the message names the field, built-for and
            running-on.
        MissingDependencyError: The backend's package, or the device it needs, is absent.
    """
    path = Path(path)
    info = read_sidecar(path, trust=trust)
    if info.backend == "onnxruntime":
        from edgeyolo.runtime.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, info, threads=threads, max_batch=max_batch)
    from edgeyolo.runtime.tensorrt_engine import TensorRTEngine

    return TensorRTEngine(path, info, max_batch=max_batch)


def stale(path: Path, info: EngineInfo, *, field: str, built_for: str, running_on: str) -> StaleEngineError:
    """Word the refusal of an engine that does not fit what runs here; a backend raises it."""
    return StaleEngineError(
        f"{path}: {field}: built for {built_for}, running on {running_on}",
        hint=f"build it again here: {info.command}",
    )
