"""A plan file becomes TensorRT's engine: checked against the machine first, and against the sidecar after.

Owns the rules of which plan may be loaded where. A plan is executable code, so its hash has been compared
with the sidecar's before this module sees it (`edgeyolo.sidecar.read_sidecar`). Refuses to run anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeyolo.errors import EngineError, TensorMismatchError
from edgeyolo.files import mapped
from edgeyolo.machine import version_tuple
from edgeyolo.runtime.engine import stale
from edgeyolo.runtime.tensorrt_log import RuntimeLog
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import TensorSpec
from edgeyolo.tensorrt_api import layers_json

if TYPE_CHECKING:
    import tensorrt

__all__ = ["Plan", "check_gpu", "check_version"]

# A version-compatible plan runs on later versions, up to and including the next major one (TensorRT has had
# no 9 for embedded boards). Source: TensorRT documentation, "Version Compatibility" and support matrix.
_NEXT_MAJOR = {8: 10, 10: 11}
_FLOAT = "FLOAT"


class Plan:
    """A loaded plan, and what must live as long as it does.

    TensorRT's objects are in attributes only, here and where a plan is used: a local variable would keep one
    alive in the traceback of an error, beyond `close`.

    Args:
        trt: The module ``tensorrt``.
        path: The plan.
        info: Its sidecar, already proved to belong to it.

    Raises:
        EngineError: TensorRT does not load it; the message has its last word.
        TensorMismatchError: Its tensors are not what the sidecar promises.
    """

    def __init__(self, trt: Any, path: Path, info: EngineInfo) -> None:
        self._trt = trt
        self.log = RuntimeLog()
        self._runtime: tensorrt.Runtime | None = None
        self._engine: tensorrt.ICudaEngine | None = None
        try:
            self._load(trt, path, info)
            _check_tensors(trt, path, self, info)
        except BaseException:
            self.close()
            raise

    @property
    def engine(self) -> tensorrt.ICudaEngine:
        """TensorRT's engine."""
        if self._engine is None:
            raise EngineError("the plan is closed")
        return self._engine

    @property
    def runtime(self) -> tensorrt.Runtime:
        """TensorRT's runtime, which made the engine."""
        if self._runtime is None:
            raise EngineError("the plan is closed")
        return self._runtime

    def batch_range(self, info: EngineInfo) -> tuple[int, int]:
        """Give the least and the largest batch that it computes."""
        if info.spec.batch is not None:
            return info.spec.batch, info.spec.batch
        least, _, most = self.engine.get_tensor_profile_shape(info.inputs[0].name, 0)
        return int(least[0]), int(most[0])

    def inspect(self) -> str | None:
        """Give what TensorRT's inspector says of the layers, JSON, or None where it does not work."""
        return layers_json(self._trt, self.engine)

    def profiler(self) -> Any:
        """Make a profiler for a context; its ``ms`` is layer to milliseconds so far."""

        class Profiler(self._trt.IProfiler):  # type: ignore[misc, name-defined]  # there once tensorrt is
            def __init__(self) -> None:
                super().__init__()
                self.ms: dict[str, float] = {}

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                self.ms[layer_name] = self.ms.get(layer_name, 0.0) + ms

        return Profiler()

    def close(self) -> None:
        """Let TensorRT's objects go, in the order it wants; with the GPU's context current."""
        self._engine = None
        self._runtime = None

    def _load(self, trt: Any, path: Path, info: EngineInfo) -> None:
        try:
            self._runtime = trt.Runtime(self.log.logger(trt))
        except (
            TypeError
        ) as exc:  # "factory function returned nullptr": how the bindings say that it could not
            raise EngineError(
                f"{path}: TensorRT {trt.__version__} does not start: {self.log.reason()}",
                hint="edgeyolo doctor",
            ) from exc
        if _version_compatible(info):
            self.runtime.engine_host_code_allowed = True  # such a plan brings its own runtime along
        if (core := info.extra.get("dla_core")) is not None:
            self.runtime.DLA_core = int(core)
        try:
            with mapped(path) as data:
                self._engine = self.runtime.deserialize_cuda_engine(data)
        except OSError as exc:
            raise EngineError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
        if self._engine is None:
            raise EngineError(
                f"{path}: TensorRT {trt.__version__} does not load it: {self.log.reason()}",
                hint=f"build it again here: {info.command}",
            )


def check_version(path: Path, info: EngineInfo, running: str) -> None:
    """Refuse a plan of another TensorRT, unless it was built to be version compatible.

    Raises:
        StaleEngineError: TensorRT would not load it, or is not promised to.
    """
    built = info.versions.get("tensorrt")
    if built is None:
        return  # an older sidecar: TensorRT's own check has the word
    here, there = version_tuple(running, 3), version_tuple(built, 3)
    if here == there:
        return
    if _version_compatible(info) and here > there and here[0] in (there[0], _NEXT_MAJOR.get(there[0])):
        return
    raise stale(path, info, field="TensorRT", built_for=built, running_on=running)


class _Gpu(Protocol):
    """What is compared of a GPU."""

    name: str
    sm: tuple[int, int]
    multiprocessors: int


def check_gpu(path: Path, info: EngineInfo, gpu: _Gpu) -> None:
    """Refuse a plan of another GPU: its kernels were chosen, and compiled, for that one.

    All Orin modules have the same name and SM; how many multiprocessors they have tells them apart.

    Args:
        path: For the message.
        info: The sidecar.
        gpu: The GPU here.

    Raises:
        StaleEngineError: It was built on another model.
    """
    here = {"gpu": gpu.name, "sm": f"{gpu.sm[0]}.{gpu.sm[1]}", "multiprocessors": str(gpu.multiprocessors)}
    there = {key: info.machine.get(key, value) for key, value in here.items()}
    if there != here:
        words = ["{gpu} (SM {sm}, {multiprocessors} multiprocessors)".format(**one) for one in (there, here)]
        raise stale(path, info, field="GPU", built_for=words[0], running_on=words[1])


def _version_compatible(info: EngineInfo) -> bool:
    return bool(info.extra.get("version_compatible", False))


def _check_tensors(trt: Any, path: Path, plan: Plan, info: EngineInfo) -> None:
    found: dict[str, list[TensorSpec]] = {"input": [], "output": []}
    for index in range(plan.engine.num_io_tensors):
        name = plan.engine.get_tensor_name(index)
        side = "input" if plan.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
        found[side].append(_tensor(plan, name))
    for side, promised in (("input", info.inputs), ("output", info.outputs)):
        if set(found[side]) != set(promised):
            raise TensorMismatchError(
                f"{path}: {side} tensors {_words(promised)} expected by the sidecar, "
                f"{_words(found[side])} found in the plan",
                hint=f"build it again: {info.command}",
            )
    wrong = [t for t in (*info.inputs, *info.outputs) if t.dtype != "float32" or -1 in t.shape[1:]]
    if wrong or len(info.inputs) != 1:
        raise TensorMismatchError(
            f"{path}: one input, and float32 tensors of which only the batch is dynamic expected, "
            f"{_words(wrong or info.inputs)} found",
            hint="edgeyolo convert, then build again",
        )


def _tensor(plan: Plan, name: str) -> TensorSpec:
    kind = plan.engine.get_tensor_dtype(name).name
    shape = tuple(int(size) for size in plan.engine.get_tensor_shape(name))
    return TensorSpec(name=name, shape=shape, dtype="float32" if kind == _FLOAT else kind.lower())


def _words(tensors: list[TensorSpec] | tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in tensors) or "none"
