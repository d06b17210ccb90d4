"""The file beside an engine, ``x.engine.json``: what it is, what it was made from, how to make it again.

Owns the format, its reading, its writing and the test that engine and sidecar belong together. Refuses to
load an engine.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgeyolo.errors import EngineError, ModelError, StaleEngineError
from edgeyolo.files import sha256_of, write_text
from edgeyolo.spec import ModelSpec, Precision, TensorSpec

__all__ = ["Backend", "EngineInfo", "read_sidecar", "sidecar_path"]

Backend = Literal["onnxruntime", "tensorrt"]
FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What is known of an engine file.

    Args:
        backend: Which runtime loads it.
        precision: What was asked for and delivered.
        spec: The model.
        inputs: I/O tensors that go in.
        outputs: I/O tensors that come out.
        engine_sha256: Hash of the engine file.
        made_from: Role (``onnx``, ``scales``, ``recipe``) to sha256.
        versions: Package or system component to version, at build time.
        machine: What it was built on: ``arch``, ``cpu``, ``gpu``, ``sm``, ``jetpack`` where known.
        built_at: ISO 8601 time, UTC.
        command: The command that builds it again.
        format: Version of this format.
    """

    backend: Backend
    precision: Precision
    spec: ModelSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine_sha256: str
    made_from: Mapping[str, str]
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    built_at: str
    command: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, engine: Path | str) -> None:
        """Write the sidecar of `engine`, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        write_text(sidecar_path(engine), text + "\n")


def sidecar_path(engine: Path | str) -> Path:
    """Give the sidecar's path.

    Examples:
        >>> sidecar_path("out/m.engine").name
        'm.engine.json'
    """
    path = Path(engine)
    return path.with_name(path.name + ".json")


def read_sidecar(engine: Path | str, *, trust: bool = False) -> EngineInfo:
    """Read the sidecar of an engine and prove that the two belong together.

    Args:
        engine: The engine file.
        trust: Take the engine although its hash is not the sidecar's; a warning is logged.

    Raises:
        EngineError: The engine or its sidecar is absent or unreadable.
        StaleEngineError: The engine file is not the one that the sidecar describes.
    """
    engine = Path(engine)
    path = sidecar_path(engine)
    if not engine.is_file():
        raise EngineError(
            f"{engine}: no such engine file", hint="edgeyolo build MODEL.onnx -o " + str(engine)
        )
    if not path.is_file():
        built = f"edgeyolo build {engine} -o {engine.with_suffix('.engine')}"
        again = f"copy both files together, or build again: edgeyolo build MODEL.onnx -o {engine}"
        raise EngineError(
            f"{engine}: an engine expected, with its sidecar {path.name} beside it; none is there",
            hint=built if engine.suffix == ".onnx" else again,
        )
    info = _parse(path)
    found = sha256_of(engine)
    if found != info.engine_sha256:
        expected = f"sha256 {info.engine_sha256[:12]}… expected by {path.name}"
        if not info.engine_sha256:  # of trtexec's folder, written before there was an engine
            expected = f"{path.name} was written before the engine was built and has no sha256 of it"
        message = f"{engine}: {expected}, {found[:12]}… found"
        if not trust:
            raise StaleEngineError(
                message,
                hint=f"build it again: {info.command}   (or run --trust: an engine is executable code)",
            )
        _log.warning("%s; loaded all the same, as it is said to be trusted", message)
    return info


def _parse(path: Path) -> EngineInfo:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise EngineError(
                f"{path}: format {FORMAT} expected, {data['format']} found",
                hint=data.get("command"),
            )
        for key, known in (("backend", get_args(Backend)), ("precision", get_args(Precision))):
            if data[key] not in known:
                raise EngineError(f"{path}: {key} {' or '.join(known)} expected, {data[key]!r} found")
        data["spec"] = ModelSpec.from_json(data["spec"])
        for side in ("inputs", "outputs"):
            data[side] = tuple(
                TensorSpec(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"]) for t in data[side]
            )
        return EngineInfo(**data)
    except EngineError:
        raise
    except ModelError as exc:
        raise EngineError(f"{path}: {exc.message}", hint=exc.hint) from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EngineError(
            f"{path}: an engine sidecar expected, {type(exc).__name__}: {exc}",
            hint="build the engine again: edgeyolo build MODEL.onnx -o ENGINE",
        ) from exc
