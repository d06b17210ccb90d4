"""From an ONNX file to an engine and its sidecar: both appear, or neither.

Owns the choice of a backend, the protocol that each fulfils, and the sidecar's content. Refuses to fall
back: a backend or a precision that was asked for is built, or the build fails and says why.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from edgeyolo.build.trt_options import TensorRTOptions
from edgeyolo.errors import ConfigError, MissingDependencyError, ModelError, OutputError
from edgeyolo.files import sha256_of, whole_file
from edgeyolo.machine import machine_here, versions_here
from edgeyolo.sidecar import Backend, EngineInfo, sidecar_path
from edgeyolo.spec import ModelSpec, Precision, TensorSpec

__all__ = ["BackendChoice", "Builder", "Built", "build", "choose_backend"]

BackendChoice = Literal["auto", "tensorrt", "onnxruntime"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a backend knows after it has written an engine file.

    Args:
        spec: The model, from the graph's metadata.
        inputs: I/O tensors that go in.
        outputs: I/O tensors that come out.
        versions: The backend's own packages to version.
        machine: What the engine depends on beside processor and system, such as the GPU.
        extra: Anything else worth keeping in the sidecar.
    """

    spec: ModelSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Builder(Protocol):
    """Makes engine files for one backend."""

    @property
    def backend(self) -> Backend:
        """Whose engines it makes."""

    def build(self, onnx_path: Path, engine: Path, precision: Precision) -> Built:
        """Write `engine` and prove that it loads here.

        Raises:
            GraphError: The model cannot be taken.
            BuildError: The builder failed; `PrecisionError` where the precision cannot be delivered.
        """


def build(  # noqa: PLR0913 - options, keyword-only, each with a meaning of its own
    onnx_path: Path | str,
    output: Path | str,
    *,
    backend: BackendChoice = "auto",
    precision: Precision = "fp32",
    made_from: Mapping[str, str] | None = None,
    command: str | None = None,
    tensorrt: TensorRTOptions | None = None,
    report: Callable[[str], None] | None = None,
) -> EngineInfo:
    """Build an engine and write it and its sidecar.

    Args:
        onnx_path: A model that keeps the graph contract. For int8 it has Q/DQ nodes.
        output: The engine file; its sidecar gets the same name and ``.json``.
        backend: ``auto`` is TensorRT where a device answers, else ONNX Runtime.
        precision: What the engine shall compute in.
        made_from: Role to sha256 of further inputs, such as the scales that a Q/DQ graph was made with.
        command: What builds the engine again, where it is more than this function.
        tensorrt: Options that only TensorRT has.
        report: Is told which backend was taken, and why, and how far a long build is.

    Returns:
        What the sidecar says.

    Raises:
        ConfigError: An argument has no meaning, or `output` is `onnx_path`.
        ModelError: There is no such ONNX file, or it is empty.
        MissingDependencyError: The backend that was asked for is not here.
        GraphError: The graph breaks the contract.
        BuildError: The builder failed; `PrecisionError` where the precision cannot be delivered.
        OutputError: The files cannot be written.
    """
    source, output = Path(onnx_path), Path(output)
    _check_paths(source, output)
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: {' or '.join(get_args(Precision))} expected, {precision!r} found")
    taken, reason = choose_backend(backend)
    if report is not None:
        report(f"backend {taken}: {reason}")
    builder = _builder_for(taken, tensorrt, report)
    with _engine_and_sidecar(output) as temporary:
        built = builder.build(source, temporary, precision)
        info = EngineInfo(
            backend=taken,
            precision=precision,
            spec=built.spec,
            inputs=built.inputs,
            outputs=built.outputs,
            engine_sha256=sha256_of(temporary),
            made_from={"onnx": sha256_of(source), **(made_from or {})},
            versions={**versions_here(), **built.versions},
            machine={**machine_here(), **built.machine},
            built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=command or _command(source, output, taken, precision),
            extra=built.extra,
        )
        # The sidecar goes first: until the engine follows, an older engine fails its hash and is refused.
        info.write(output)
    return info


def choose_backend(asked: BackendChoice) -> tuple[Backend, str]:
    """Decide who builds, and say why in words for the user.

    Raises:
        ConfigError: No such backend.
        MissingDependencyError: The one asked for cannot be had here.
    """
    if asked not in get_args(BackendChoice):
        raise ConfigError(f"backend: {' or '.join(get_args(BackendChoice))} expected, {asked!r} found")
    if asked == "onnxruntime":
        return "onnxruntime", "asked for"
    # Imported here: ONNX Runtime's users need none of it.
    from edgeyolo.build.tensorrt_builder import gpu_here, tensorrt_version

    try:
        version, gpu = tensorrt_version(), gpu_here()
    except (ConfigError, MissingDependencyError) as exc:
        if asked == "tensorrt":
            raise
        return "onnxruntime", f"TensorRT is not to be had here ({exc.message})"
    found = f"TensorRT {'.'.join(map(str, version))} on {gpu.name}"
    return "tensorrt", f"asked for, {found}" if asked == "tensorrt" else f"{found} answers"


def _builder_for(
    backend: Backend, options: TensorRTOptions | None, report: Callable[[str], None] | None
) -> Builder:
    if backend == "onnxruntime":
        from edgeyolo.build.onnxruntime_builder import OnnxRuntimeBuilder

        if options is not None and options != TensorRTOptions():
            raise ConfigError(
                "options of TensorRT were given, and ONNX Runtime is the backend", hint="--backend tensorrt"
            )
        return OnnxRuntimeBuilder()
    from edgeyolo.build.tensorrt_builder import TensorRTBuilder

    return TensorRTBuilder(options or TensorRTOptions(), say=report or (lambda _: None))


def _check_paths(source: Path, output: Path) -> None:
    if not source.is_file():
        raise ModelError(
            f"{source}: no such ONNX file", hint="edgeyolo convert MODEL.cfg MODEL.weights -o " + str(source)
        )
    if source.stat().st_size == 0:
        raise ModelError(f"{source}: an ONNX file expected, an empty file found")
    if source.resolve() == output.resolve():
        raise ConfigError(f"{output}: the engine would overwrite the model it is built from")
    for path in (output, sidecar_path(output)):
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder", hint="choose another -o")


@contextmanager
def _engine_and_sidecar(output: Path) -> Iterator[Path]:
    """Give a temporary engine path; on any error the sidecar beside `output` is as it was before."""
    sidecar = sidecar_path(output)
    before = sidecar.read_bytes() if sidecar.is_file() else None
    try:
        with whole_file(output) as temporary:
            yield temporary
    except BaseException:
        if before is None:
            sidecar.unlink(missing_ok=True)
        elif sidecar.read_bytes() != before:
            sidecar.write_bytes(before)
        raise


def _command(source: Path, output: Path, backend: Backend, precision: Precision) -> str:
    words = ["edgeyolo", "build", str(source), "-o", str(output), "--backend", backend]
    return shlex.join([*words, "--precision", precision])
