"""A model that is tried before it is an engine: a graph in memory, run by the detector that runs engines.

Owns the session for such a trial. A graph placed for TensorRT is computed as TensorRT would: each Q/DQ pair
rounds, everything between is float32. ONNX Runtime would fuse its pairs into integer kernels otherwise, whose
rounding says nothing of a Jetson.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import EngineError, GraphError
from edgeyolo.optional import require
from edgeyolo.qdq.placement import exact_int8
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import ModelSpec, Precision, Preprocess

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["TrialEngine"]

_ERRORS_ONLY = 3


class TrialEngine:
    """An `edgeyolo.runtime.Engine` of one slot over a graph in memory.

    Args:
        model: The graph.
        spec: What it is.
        precision: What its results stand for.
        fuse: Whether ONNX Runtime may use its integer kernels.

    Set `recorded` to a list to have the outputs of every inference kept there.

    Raises:
        GraphError: ONNX Runtime refuses the graph.
    """

    slots = 1

    def __init__(self, model: onnx.ModelProto, spec: ModelSpec, *, precision: Precision, fuse: bool) -> None:
        ort = require("onnxruntime", why="to try the INT8 model")
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        for key, value in (exact_int8() if fuse else {"session.disable_quant_qdq": "1"}).items():
            options.add_session_config_entry(key, value)
        try:
            self._session: Any = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime's errors share no base but Exception
            raise GraphError(
                f"ONNX Runtime {ort.__version__} does not load the {precision} model: {exc}"
            ) from exc
        self.recorded: list[list[npt.NDArray[np.float32]]] | None = None
        self._names = [output.name for output in self._session.get_outputs()]
        self.batch = spec.batch or 1
        width, height = spec.input_wh
        channels = 1 if spec.preprocess.channels == "gray" else 3
        self._input = np.zeros((self.batch, channels, height, width), np.float32)
        self._info = EngineInfo(
            backend="onnxruntime", precision=precision, spec=spec, inputs=(), outputs=(), engine_sha256="",
            made_from={}, versions={}, machine={}, built_at="", command="",
        )  # fmt: skip

    @property
    def info(self) -> EngineInfo:
        """The model's spec; nothing of a file."""
        return self._info

    def see(self, preprocess: Preprocess) -> None:
        """Say how pictures become the input of the detectors that are made with this engine from now on."""
        spec = dataclasses.replace(self._info.spec, preprocess=preprocess)
        self._info = dataclasses.replace(self._info, spec=spec)

    def input(self, slot: int) -> npt.NDArray[np.float32]:
        """Give the input, shape ``(batch, C, H, W)``."""
        return self._input

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing to tell."""
        return ()

    def start(self, slot: int, *, batch: int | None = None) -> None:
        """Do nothing: `infer` computes in its caller's thread."""

    def infer(self, slot: int, *, batch: int | None = None) -> Mapping[str, npt.NDArray[np.float32]]:
        """Run the graph."""
        try:
            outputs = self._session.run(self._names, {self._info.spec.input_name: self._input})
        except Exception as exc:  # ONNX Runtime's errors share no base but Exception
            raise EngineError(f"ONNX Runtime failed on the {self._info.precision} model: {exc}") from exc
        if self.recorded is not None:
            self.recorded.append(outputs)
        return dict(zip(self._names, outputs, strict=True))

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def __enter__(self) -> TrialEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
