"""The embedded default: an engine that ONNX Runtime runs on the processor.

Owns the session, its options and the memory bound to it. The engine file is the ONNX file as it was built
from (see ``edgeyolo.build.onnxruntime_builder`` for why), so neither processor nor system must match the
sidecar; the runtime must not be older than the one that proved the model at build time, because ONNX
Runtime reads older models and promises nothing of newer ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import ConfigError, EngineError, TensorMismatchError
from edgeyolo.machine import version_tuple
from edgeyolo.optional import require
from edgeyolo.qdq.placement import exact_int8
from edgeyolo.runtime.engine import stale
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import TensorSpec

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["OnnxRuntimeEngine"]

SLOTS = 2  # one that is inferred and one that is filled meanwhile
_DTYPES = {"float32": "tensor(float)"}
_ERRORS_ONLY = 3
# How long a worker thread spins for the next piece of work before it sleeps. By default it spins for about a
# millisecond: best on an idle machine, ruinous where something else wants the cores (a decoder, a second
# camera). Measured on two cores with a 5 ms model in the frame loop: idle 226 FPS by default, 144 without
# spinning, 183-220 with 50 us; with eight other processes 30, 47 and 75. Versions that do not know the key
# ignore it.
_SPIN_US = "50"


class OnnxRuntimeEngine:
    """An `edgeyolo.runtime.engine.Engine` on ONNX Runtime's CPU provider.

    Input and output memory is ours, allocated once and bound by address: an inference copies nothing. On a
    4 ms model that saves 0.1 to 0.4 ms against feeding arrays.

    Args:
        path: The engine file.
        info: Its sidecar, already proved to belong to it.
        threads: Threads of one inference; None leaves it to ONNX Runtime (one a physical core).
        max_batch: Pictures a slot where the model's batch is dynamic.

    Raises:
        StaleEngineError: This onnxruntime is older than the one it was built with.
        TensorMismatchError: The file's tensors are not what the sidecar promises.
        EngineError: ONNX Runtime refuses the file.
        ConfigError: `threads` or `max_batch` is below 1.
    """

    def __init__(
        self, path: Path, info: EngineInfo, *, threads: int | None = None, max_batch: int = 1
    ) -> None:
        for name, value in (("threads", threads), ("max_batch", max_batch)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: 1 or more expected, {value} found")
        ort = require("onnxruntime", why="to run this engine")
        _check_version(path, info, ort.__version__)
        self._path = path
        self._info = info
        self._session: Any = _open_session(ort, path, threads)
        _check_tensors(path, "input", self._session.get_inputs(), info.inputs)
        _check_tensors(path, "output", self._session.get_outputs(), info.outputs)
        spec = info.spec
        self._batch = spec.batch or max_batch
        _, channels, height, width = info.inputs[0].shape
        shape = (self._batch, channels, height, width)
        self._inputs = [np.zeros(shape, np.float32) for _ in range(SLOTS)]
        self._bindings: dict[tuple[int, int], _Binding] = {}

    @property
    def info(self) -> EngineInfo:
        """What the sidecar says."""
        return self._info

    @property
    def slots(self) -> int:
        """Number of input buffers."""
        return SLOTS

    @property
    def batch(self) -> int:
        """Pictures that one slot holds."""
        return self._batch

    def input(self, slot: int) -> npt.NDArray[np.float32]:
        """Give the slot's input buffer, shape ``(batch, C, H, W)``."""
        return self._inputs[slot]

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing to tell."""
        return ()

    def start(self, slot: int, *, batch: int | None = None) -> None:
        """Do nothing: `infer` computes in its caller's thread."""

    def infer(self, slot: int, *, batch: int | None = None) -> Mapping[str, npt.NDArray[np.float32]]:
        """Run the model on the slot's buffer; see `edgeyolo.runtime.engine.Engine.infer`."""
        if self._session is None:
            raise EngineError(f"{self._path}: the engine is closed")
        wanted = self._batch if batch is None else batch
        if not 1 <= wanted <= self._batch:
            raise EngineError(f"{self._path}: a batch of 1..{self._batch} expected, {wanted} found")
        computed = self._info.spec.batch or wanted
        binding = self._bindings.get((slot, computed))
        if binding is None:
            binding = _Binding(self._session, self._inputs[slot][:computed], self._info)
            self._bindings[slot, computed] = binding
        try:
            return binding.run(self._session, wanted)
        except Exception as exc:  # ONNX Runtime's errors share no base but Exception
            raise EngineError(f"{self._path}: ONNX Runtime failed: {exc}") from exc

    def close(self) -> None:
        """Free the session and the memory bound to it."""
        self._bindings.clear()
        self._session = None

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Binding:
    """One slot's input, and outputs of the same batch, bound to a session by address."""

    def __init__(self, session: Any, images: npt.NDArray[np.float32], info: EngineInfo) -> None:
        self._images = images  # bound by address: must outlive the binding
        self._io = session.io_binding()
        self._io.bind_input(info.inputs[0].name, "cpu", 0, np.float32, images.shape, images.ctypes.data)
        self._outputs: dict[str, npt.NDArray[np.float32]] = {}
        for tensor in info.outputs:
            array = np.empty((len(images), *tensor.shape[1:]), np.float32)
            self._io.bind_output(tensor.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            self._outputs[tensor.name] = array

    def run(self, session: Any, batch: int) -> dict[str, npt.NDArray[np.float32]]:
        session.run_with_iobinding(self._io)
        return {name: array[:batch] for name, array in self._outputs.items()}


def _open_session(ort: Any, path: Path, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    for key, value in exact_int8().items():
        options.add_session_config_entry(key, value)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise EngineError(
            f"{path}: ONNX Runtime {ort.__version__} does not load it: {exc}",
            hint=f"edgeyolo inspect {path}",
        ) from exc


def _check_version(path: Path, info: EngineInfo, running: str) -> None:
    built = info.versions.get("onnxruntime", "0")
    if version_tuple(running) < version_tuple(built):
        raise stale(path, info, field="onnxruntime", built_for=f"{built} or later", running_on=running)


def _check_tensors(path: Path, side: str, nodes: list[Any], promised: tuple[TensorSpec, ...]) -> None:
    found = {
        node.name: (tuple(d if isinstance(d, int) else -1 for d in node.shape), node.type) for node in nodes
    }
    expected = {tensor.name: (tensor.shape, _DTYPES.get(tensor.dtype, tensor.dtype)) for tensor in promised}
    if found != expected:
        raise TensorMismatchError(
            f"{path}: {side} tensors {expected} expected by the sidecar, {found} found in the file",
            hint=f"build it again: edgeyolo build MODEL.onnx -o {path}",
        )
