"""A folder with all that NVIDIA's ``trtexec`` needs, for a board that EdgeYOLO does not run on.

JetPack 4 and 5 have Python 3.6 and 3.8. Owns the folder: the graph in the form that version takes, the
calibration cache, the description of the model, the exact command. Refuses to run trtexec.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.boards import BOARDS, JETPACKS, jetpacks_of
from edgeyolo.build.trt_options import cache_number
from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.files import whole_folder, write_text
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.graph.slices import slices_from_splits
from edgeyolo.machine import version_tuple, versions_here
from edgeyolo.pipeline.build import BuildConfig, in_contract_form
from edgeyolo.pipeline.graph_for import Wanted, cache_bytes, checked_scales, graph_for, scales_path
from edgeyolo.pipeline.trtexec_command import CACHE, ENGINE, MODEL, TrtexecBuild, Version
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["TrtexecFolder", "folder_files", "write_trtexec_folder"]

_FIRST: Version = (8, 0, 0)  # the first with Q/DQ nodes
_SCRIPT = """#!/bin/sh
# Builds {engine} on the board, with its own TensorRT {version}.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/src/tensorrt/bin"
exec {command}
"""


@dataclass(frozen=True)
class TrtexecFolder:
    """What was written.

    Args:
        files: Names in the folder.
        command: What builds the engine there.
    """

    files: tuple[str, ...]
    command: str


def folder_files(config: BuildConfig) -> tuple[str, ...]:
    """Give the names of the files that `write_trtexec_folder` writes."""
    cache = [CACHE] if config.implicit else []
    return tuple(sorted((MODEL, "build.sh", f"{ENGINE}.json", *cache)))


def write_trtexec_folder(
    config: BuildConfig, version: str, *, report: Callable[[str], None] | None = None
) -> TrtexecFolder:
    """Write the folder.

    Args:
        config: What to build; `BuildConfig.output` is the folder.
        version: TensorRT's on the board: ``8.2``, or with the patch ``10.3.0``.
        report: Is told what was done to the graph, and what the board will not do.

    Raises:
        ConfigError: No such version, or an option that it does not have.
        PrecisionError: The precision cannot be had in the way that was asked for.
        EdgeYoloError: As `graph_for`.
    """
    say = report or (lambda _: None)
    _check(config)
    build = TrtexecBuild(
        version=_version(version),
        precision=config.precision,
        implicit=config.implicit,
        in_graph_nms=config.nms is not None,
        options=config.tensorrt,
    )
    with in_contract_form(config, say) as ready:
        return _write_folder(ready, version, build, say)


def _write_folder(
    config: BuildConfig, version: str, build: TrtexecBuild, say: Callable[[str], None]
) -> TrtexecFolder:
    scales = None if config.calibration is None else scales_path(config.calibration)
    wanted = Wanted(
        backend="tensorrt",
        precision=config.precision,
        typed=build.typed,
        implicit=config.implicit,
        nms=config.nms,
    )
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as scratch, whole_folder(config.output) as folder:
        graph = graph_for(config.model, wanted, scales, Path(scratch))
        model = read_onnx(graph.path)
        decode = _held(model, build, graph.decode) if build.lowered else frozenset[str]()
        info = _info(config, build, model, decode, graph.made_from)
        for note in (*graph.notes, *_notes(build, decode)):
            say(note)
        write_onnx(model, folder / MODEL)
        if config.implicit and scales is not None:
            found = checked_scales(config.model, read_onnx(config.model), scales)
            (folder / CACHE).write_bytes(cache_bytes(found, cache_number(build.version)))
        script = _SCRIPT.format(engine=ENGINE, version=version, command=info.command)
        write_text(folder / "build.sh", script)
        (folder / "build.sh").chmod(0o755)
        info.write(folder / ENGINE)
    return TrtexecFolder(files=folder_files(config), command=info.command)


def _held(model: onnx.ModelProto, build: TrtexecBuild, decode: frozenset[str]) -> frozenset[str]:
    """Give the names of what shall stay in FP32, each the name of one layer."""
    if not build.holds_layers:
        return decode
    slices = slices_from_splits(model, decode)
    return (decode - slices.keys()) | {name for names in slices.values() for name in names}


def _notes(build: TrtexecBuild, decode: frozenset[str]) -> Iterable[str]:
    words = ".".join(map(str, build.version))
    if decode and not build.holds_layers:
        yield (
            f"trtexec {words} cannot hold single layers in FP32: the decode may run in FP16, whose steps are "
            "0.25 px at 400 px; --outputs raw leaves the decode to the processor"
        )
    if build.precision == "int8":
        lines = [line for line in JETPACKS if line.tensorrt[:2] == build.version[:2]]
        slow = [
            board.title
            for board in BOARDS
            if not board.capability.fast_int8 and any(line in lines for line in jetpacks_of(board))
        ]
        if slow:
            yield f"no fast INT8 on {', '.join(slow)}, which have TensorRT {words}: --precision fp16 there"


def _version(text: str) -> Version:
    """Read a version; the patch, where it is not given, is JetPack's."""
    if not re.fullmatch(r"\d+\.\d+(\.\d+)*", text):
        raise ConfigError(
            f"--trtexec: a TensorRT version expected, {text!r} found", hint="such as 8.2 or 8.5"
        )
    major, minor, patch = version_tuple(text, 3)
    if (major, minor, patch) < _FIRST:
        raise ConfigError(f"--trtexec: 8.0 or newer expected, {text} found: Q/DQ nodes came with 8.0")
    if text.count(".") == 1:
        known = (line.tensorrt for line in JETPACKS if line.tensorrt[:2] == (major, minor))
        patch = next(known, (major, minor, patch))[2]
    return major, minor, patch


def _check(config: BuildConfig) -> None:
    if config.backend == "onnxruntime":
        raise ConfigError("--trtexec is for TensorRT, --backend onnxruntime found")
    if config.calibrate_on_device is not None:
        raise ConfigError(
            "--calibrate-on-device needs EdgeYOLO on the board; --trtexec is for boards without"
        )


def _info(
    config: BuildConfig,
    build: TrtexecBuild,
    model: onnx.ModelProto,
    decode: frozenset[str],
    made_from: dict[str, str],
) -> EngineInfo:
    """Describe the engine that is to come; its hash is not known yet."""
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if spec is None:
        raise GraphError(f"{config.model}: edgeyolo.* metadata expected, none found", hint="edgeyolo convert")
    inputs, outputs = _tensors(model.graph.input), _tensors(model.graph.output)
    return EngineInfo(
        backend="tensorrt",
        precision=config.precision,
        spec=spec,
        inputs=inputs,
        outputs=outputs,
        engine_sha256="",
        made_from={**made_from, **config.made_from()},
        versions={**versions_here(), "tensorrt": ".".join(map(str, build.version))},
        machine={},
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=build.command(inputs[0], decode),
        extra={**config.tensorrt.json(), **({} if config.nms is None else {"nms": asdict(config.nms)})},
    )


def _tensors(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    found = []
    for value in values:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        found.append(TensorSpec(name=value.name, shape=shape, dtype="float32"))
    return tuple(found)
