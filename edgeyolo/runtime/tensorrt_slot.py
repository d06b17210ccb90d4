"""One slot of a TensorRT engine: an input with its outputs, and the queue they travel on.

Owns the views of results and the order in which a slot lets go. Refuses to know when its memory may be read
or written (`edgeyolo.runtime.tensorrt_engine` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeyolo.errors import EngineError
from edgeyolo.runtime.cuda import Buffer, Queue
from edgeyolo.runtime.cuda_library import Graph

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import tensorrt

__all__ = ["Slot"]


@dataclass
class Slot:
    """One input with its outputs, and the queue they travel on.

    TensorRT's context is in the attribute `opened` that `close` empties; see
    `edgeyolo.runtime.tensorrt_plan.Plan`.

    Args:
        queue: What is queued runs in order.
        images: The input.
        results: Output name to buffer.
        opened: TensorRT's execution context, which slots may share.
        graph: The slot's whole sequence, captured.
        started: The batch whose results the queue's mark stands for.
    """

    queue: Queue
    images: Buffer
    results: Mapping[str, Buffer]
    opened: tensorrt.IExecutionContext | None = None
    graph: Graph | None = None
    started: int | None = None
    _views: dict[int, Mapping[str, npt.NDArray[np.float32]]] = field(default_factory=dict)

    @property
    def exec_context(self) -> tensorrt.IExecutionContext:
        """TensorRT's execution context."""
        if self.opened is None:
            raise EngineError("the slot is closed")
        return self.opened

    def outputs(self, batch: int) -> Mapping[str, npt.NDArray[np.float32]]:
        """Give the first `batch` results of each output: views, made once."""
        found = self._views.get(batch)
        if found is None:
            arrays = {name: buffer.array[:batch] for name, buffer in self.results.items()}
            found = self._views[batch] = MappingProxyType(arrays)
        return found

    def drop_graph(self) -> None:
        """Destroy the graph, if any; with the GPU's context current, after all work."""
        if self.graph is not None:
            self.graph.close()
            self.graph = None

    def close(self) -> None:
        """Let TensorRT's context and the views go; with the GPU's context current, after all work."""
        self.drop_graph()
        self.opened = None
        self._views.clear()
