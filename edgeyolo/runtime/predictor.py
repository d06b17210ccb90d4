"""From a picture to a result through an engine, in three steps that may run in three threads.

Owns the steps' order and the check that an engine is of the wanted task. Refuses to know what outputs
mean: `Detector` and `Classifier` do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from edgeyolo.class_names import class_ids_from_names
from edgeyolo.errors import EngineError
from edgeyolo.runtime.engine import Engine, open_engine
from edgeyolo.spec import Outputs, Task
from edgeyolo.vision.preprocess import Preprocessor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["Predictor"]

OutputT = TypeVar("OutputT", covariant=True)
SelfT = TypeVar("SelfT", bound="Predictor[Any]")  # typing.Self is not in Python 3.10


class Predictor(ABC, Generic[OutputT]):
    """An engine with the work before and after it.

    ``predictor(image)`` does all three steps. A loop that overlaps them calls `preprocess` and `start` in one
    thread, `infer` in a second and `postprocess` in a third; a slot is free again after its `postprocess`.

    Args:
        engine: Path of an engine file, or an engine that is open already; both are closed by `close`.
        classes: Names or ids of the classes to report; all by default.

    Raises:
        EngineError: The engine is of another task or has outputs of another contract.
        ConfigError: A class is not one of the engine's.
    """

    task: ClassVar[Task]
    outputs: ClassVar[Outputs]

    def __init__(self, engine: Path | str | Engine, *, classes: Sequence[str | int] | None = None) -> None:
        self.engine = open_engine(engine) if isinstance(engine, (str, Path)) else engine
        try:
            self._check_task()
            self.class_ids = None if classes is None else class_ids_from_names(self.names, classes)
        except BaseException:
            self.engine.close()
            raise
        spec = self.engine.info.spec
        self._preprocessor = Preprocessor(spec.preprocess, spec.input_wh)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the class id."""
        return self.engine.info.spec.names

    def preprocess(self, image_bgr: npt.NDArray[np.uint8], slot: int = 0, index: int = 0) -> Letterbox:
        """Write a picture into place `index` of a slot's input buffer.

        Args:
            image_bgr: Shape ``(H, W, 3)``, uint8.
            slot: Which input buffer.
            index: Which picture of its batch.

        Returns:
            The geometry that leads back to the picture's pixels.
        """
        return self._preprocessor(image_bgr, self.engine.input(slot)[index])

    def start(self, slot: int = 0, batch: int = 1) -> None:
        """Begin what `infer` then waits for; see `edgeyolo.runtime.engine.Engine.start`."""
        self.engine.start(slot, batch=batch)

    def infer(self, slot: int = 0, batch: int = 1) -> Mapping[str, npt.NDArray[np.float32]]:
        """Run the engine on a slot; see `edgeyolo.runtime.engine.Engine.infer`."""
        return self.engine.infer(slot, batch=batch)

    @abstractmethod
    def postprocess(
        self, outputs: Mapping[str, npt.NDArray[np.float32]], geometry: Letterbox, index: int = 0
    ) -> OutputT:
        """Turn the outputs for picture `index` of a batch into a result in that picture's pixels."""

    def __call__(self, image_bgr: npt.NDArray[np.uint8]) -> OutputT:
        """Give the result of one BGR picture, shape ``(H, W, 3)``, uint8."""
        geometry = self.preprocess(image_bgr)
        return self.postprocess(self.infer(), geometry)

    def close(self) -> None:
        """Close the engine; twice is harmless."""
        self.engine.close()

    def __enter__(self: SelfT) -> SelfT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_task(self) -> None:
        spec = self.engine.info.spec
        if spec.task != self.task:
            other = {"detect": "Detector", "classify": "Classifier"}[spec.task]
            raise EngineError(
                f"an engine for the task {self.task!r} expected, one for {spec.task!r} found",
                hint=f"open it with {other}, or `edgeyolo run`, which takes both",
            )
        if spec.outputs != self.outputs:
            raise EngineError(
                f"an engine with {self.outputs} outputs expected, one with {spec.outputs} outputs found",
                hint=f"edgeyolo convert ... --outputs {self.outputs}, then build again",
            )
