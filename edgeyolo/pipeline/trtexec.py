"""A folder with all that NVIDIA's ``trtexec`` needs, for a board that EdgeYOLO does not run on.

JetPack 4 and 5 have Python 3.6 and 3.8. Owns the folder: the graph in the form that version takes, the
calibration cache, the description of the model, the exact command. Refuses to run trtexec.

Source: TensorRT's release notes as far as known; no trtexec was run. ``--memPoolSize`` took
the place of ``--workspace`` in 8.4, ``--skipInference`` that of ``--buildOnly`` in 8.6; ``--stronglyTyped``
came with 10.0, ``--int8`` and ``--fp16`` went with 11.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.boards import JETPACKS
from edgeyolo.build import Batches
from edgeyolo.build.trt_options import cache_number, strongly_typed
from edgeyolo.errors import ConfigError, GraphError, PrecisionError
from edgeyolo.files import whole_folder, write_text
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.machine import version_tuple, versions_here
from edgeyolo.pipeline.build import BuildConfig, in_contract_form
from edgeyolo.pipeline.graph_for import GraphFor, Wanted, cache_bytes, checked_scales, graph_for, scales_path
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["TrtexecFolder", "trtexec_command", "write_trtexec_folder"]

Version = tuple[int, int, int]

_FIRST: Version = (8, 0, 0)  # the first with Q/DQ nodes
_FIRST_POOLS, _FIRST_SKIP, _FIRST_LAYERS = (8, 4), (8, 6), (8, 5)
_PLAIN_NAME = re.compile(r"[\w./-]+")
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


def write_trtexec_folder(
    config: BuildConfig, version: str, *, report: Callable[[str], None] | None = None
) -> TrtexecFolder:
    """Write the folder.

    Args:
        config: What to build; `BuildConfig.output` is the folder.
        version: TensorRT's on the board: ``8.2``, or with the patch ``10.3.0``.
        report: Is told what was done to the graph.

    Raises:
        ConfigError: No such version, or an option that it does not have.
        PrecisionError: The precision cannot be had in the way that was asked for.
        EdgeYoloError: As `graph_for`.
    """
    there = _version(version)
    _check(config, there)
    say = report or (lambda _: None)
    with in_contract_form(config, say) as ready:
        return _write_folder(ready, version, there, say)


def _write_folder(
    config: BuildConfig, version: str, there: Version, say: Callable[[str], None]
) -> TrtexecFolder:
    scales = None if config.calibration is None else scales_path(config.calibration)
    typed = strongly_typed(there, implicit=config.implicit)
    wanted = Wanted(backend="tensorrt", precision=config.precision, typed=typed, implicit=config.implicit)
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as scratch, whole_folder(config.output) as folder:
        graph = graph_for(config.model, wanted, scales, Path(scratch))
        for note in graph.notes:
            say(note)
        info = _info(config, there, graph)
        write_onnx(read_onnx(graph.path), folder / "model.onnx")
        if config.implicit and scales is not None:
            found = checked_scales(config.model, read_onnx(config.model), scales)
            (folder / "calibration.cache").write_bytes(cache_bytes(found, cache_number(there)))
        script = _SCRIPT.format(engine="model.engine", version=version, command=info.command)
        write_text(folder / "build.sh", script)
        (folder / "build.sh").chmod(0o755)
        info.write(folder / "model.engine")
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return TrtexecFolder(files=files, command=info.command)


def trtexec_command(
    config: BuildConfig, version: Version, tensor: TensorSpec, decode: frozenset[str] = frozenset()
) -> str:
    """Give the command line for a version.

    Args:
        config: What to build.
        version: TensorRT's on the board.
        tensor: The model's input.
        decode: Nodes that stay in FP32 where precision is a flag.
    """
    options, typed = config.tensorrt, strongly_typed(version, implicit=config.implicit)
    words = ["trtexec", "--onnx=model.onnx", "--saveEngine=model.engine"]
    if config.precision == "fp32":
        words.append("--noTF32")  # TF32 has the mantissa of FP16
    elif not typed:
        words.append("--fp16")
        words += ["--int8"] if config.precision == "int8" else []
        words += ["--calib=calibration.cache"] if config.implicit else []
        words += _decode_words(decode) if version >= _FIRST_LAYERS else []
    if typed and version < (11,):
        words.append("--stronglyTyped")
    if tensor.shape[0] == -1:
        batches = options.batches or Batches(1, 1, 1)
        for name, size in (("min", batches.least), ("opt", batches.best), ("max", batches.most)):
            words.append(f"--{name}Shapes={tensor.name}:{'x'.join(map(str, (size, *tensor.shape[1:])))}")
    if options.workspace_mib is not None:
        pool = "--memPoolSize=workspace:" if version >= _FIRST_POOLS else "--workspace="
        words.append(f"{pool}{options.workspace_mib}")
    if options.dla_core is not None:
        words.append(f"--useDLACore={options.dla_core}")
        words += ["--allowGPUFallback"] if options.gpu_fallback else []
    words += ["--sparsity=enable"] if options.sparse else []
    words += ["--versionCompatible"] if options.version_compatible else []
    if options.optimization_level is not None:
        words.append(f"--builderOptimizationLevel={options.optimization_level}")
    words += ["--timingCacheFile=timing.cache"] if options.timing_cache else []
    words.append("--skipInference" if version >= _FIRST_SKIP else "--buildOnly")
    return shlex.join(words)


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


def _check(config: BuildConfig, version: Version) -> None:
    words, options = ".".join(map(str, version)), config.tensorrt
    if config.backend == "onnxruntime":
        raise ConfigError("--trtexec is for TensorRT, --backend onnxruntime found")
    if config.calibrate_on_device is not None:
        raise ConfigError(
            "--calibrate-on-device needs EdgeYOLO on the board; --trtexec is for boards without"
        )
    if config.implicit and version >= (11,):
        raise PrecisionError(f"TensorRT {words} has no implicit INT8", hint="leave --implicit out")
    for name, value in (
        ("--optimization-level", options.optimization_level),
        ("--version-compatible", options.version_compatible or None),
    ):
        if value is not None and version < _FIRST_SKIP:
            raise ConfigError(
                f"{name} came with TensorRT 8.6, --trtexec {words} found", hint=f"leave {name} out"
            )


def _decode_words(decode: frozenset[str]) -> list[str]:
    """Hold the decode in FP32; a name that the option's own syntax cannot hold is refused."""
    odd = sorted(name for name in decode if not _PLAIN_NAME.fullmatch(name))
    if odd:
        raise GraphError(
            f"node {odd[0]!r}: trtexec cannot be told to keep it in FP32",
            hint="edgeyolo simplify, or convert again: names of letters, digits, _ . / and - are needed",
        )
    if not decode:
        return []
    layers = ",".join(f"{name}:fp32" for name in sorted(decode))
    return ["--precisionConstraints=obey", f"--layerPrecisions={layers}"]


def _info(config: BuildConfig, version: Version, graph: GraphFor) -> EngineInfo:
    """Describe the engine that is to come; its hash is not known yet."""
    model = read_onnx(graph.path)
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
        made_from={**graph.made_from, **config.made_from()},
        versions={**versions_here(), "tensorrt": ".".join(map(str, version))},
        machine={},
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=trtexec_command(config, version, inputs[0], graph.decode),
        extra=config.tensorrt.json(),
    )


def _tensors(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    found = []
    for value in values:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        found.append(TensorSpec(name=value.name, shape=shape, dtype="float32"))
    return tuple(found)
