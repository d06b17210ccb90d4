"""The embedded default: an engine file for ONNX Runtime.

The engine file is the ONNX file itself, byte for byte. A graph that ONNX Runtime optimised and saved ahead
of time was measured and turned down: it opens sooner (YOLOv3, 248 MB: 0.06 s against 0.22 s; a 4 MB model:
9 ms against 16 ms), but holds kernels chosen for one processor and one version, so that an engine built on
a laptop would not be right for, or even load on, the board.

Owns proving that the file loads and runs on this machine before it becomes an engine.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edgeyolo.build.builder import Built
from edgeyolo.build.graph_contract import spec_from_graph
from edgeyolo.errors import GraphError, PrecisionError
from edgeyolo.files import mapped
from edgeyolo.optional import require
from edgeyolo.sidecar import Backend
from edgeyolo.spec import ModelSpec, Precision, TensorSpec

__all__ = ["OnnxRuntimeBuilder"]

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
_ERRORS_ONLY = 3
# NodeProto.op_type is field 4, length-delimited (tag 0x22); StringStringEntryProto.key is field 1 (tag 0x0a).
# Source: onnx.proto. Searching the encoded field needs neither the onnx package nor the weights in memory.
_QUANTIZE_NODE = b"\x22\x0eQuantizeLinear"
_EXTERNAL_DATA = b"\x0a\x08location\x12"


class OnnxRuntimeBuilder:
    """A `edgeyolo.build.builder.Builder` for ONNX Runtime's CPU provider."""

    backend: Backend = "onnxruntime"

    def build(self, onnx_path: Path, engine: Path, precision: Precision) -> Built:
        """Copy the model to `engine` and prove there that it loads, keeps the contract and runs.

        Raises:
            PrecisionError: The processor cannot deliver `precision` from this graph.
            GraphError: ONNX Runtime refuses the file, or the graph breaks the contract.
        """
        ort = require("onnxruntime", why="to build an ONNX Runtime engine")
        _check_content(onnx_path, precision)
        shutil.copyfile(onnx_path, engine)
        session = _open_session(ort, onnx_path, engine)
        inputs = tuple(_tensor(node) for node in session.get_inputs())
        outputs = tuple(_tensor(node) for node in session.get_outputs())
        metadata = session.get_modelmeta().custom_metadata_map
        spec = spec_from_graph(onnx_path, inputs, outputs, metadata)
        _prove(onnx_path, session, spec, outputs)
        return Built(spec=spec, inputs=inputs, outputs=outputs, versions={"onnxruntime": ort.__version__})


def _check_content(path: Path, precision: Precision) -> None:
    """Check what the file must and must not hold for a precision, before anything is written."""
    if precision == "fp16":
        raise PrecisionError(
            f"{path}: fp16 was asked for; on a processor ONNX Runtime computes in fp32, and an fp16 graph is "
            "only slower there",
            hint="--precision fp32, or int8 with --calibration",
        )
    with mapped(path) as data:
        quantized = data.find(_QUANTIZE_NODE) >= 0
        external = data.find(_EXTERNAL_DATA) >= 0
    if external:
        raise GraphError(
            f"{path}: weights inside the file expected, weights in a second file found (ONNX external data); "
            "an engine is one file",
            hint="save it as one file: onnx.save(onnx.load(path), path)",
        )
    if precision == "int8" and not quantized:
        raise PrecisionError(
            f"{path}: int8 was asked for, and no tensor of the graph is quantised: no QuantizeLinear node",
            hint=f"edgeyolo calibrate {path} IMAGES -o DIR, then add --calibration DIR",
        )
    if precision == "fp32" and quantized:
        raise PrecisionError(
            f"{path}: fp32 was asked for, and the graph is quantized (it has QuantizeLinear nodes)",
            hint="--precision int8, or build the model it was made from",
        )


def _open_session(ort: Any, onnx_path: Path, engine: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    try:
        return ort.InferenceSession(str(engine), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        said = str(exc).replace(str(engine), str(onnx_path))
        raise GraphError(
            f"{onnx_path}: ONNX Runtime {ort.__version__} does not load it: {said}",
            hint=f"edgeyolo inspect {onnx_path}",
        ) from exc


def _prove(path: Path, session: Any, spec: ModelSpec, outputs: tuple[TensorSpec, ...]) -> None:
    """Run the model once on a grey picture: a graph can load and still fail at its first inference."""
    width, height = spec.input_wh
    batch = spec.batch or 2  # a dynamic batch is only proved by a batch that is not 1
    channels = 1 if spec.preprocess.channels == "gray" else 3
    grey = np.full((batch, channels, height, width), 0.5, np.float32)
    try:
        arrays = session.run([tensor.name for tensor in outputs], {spec.input_name: grey})
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise GraphError(f"{path}: it loads and fails at its first inference: {exc}") from exc
    for tensor, array in zip(outputs, arrays, strict=True):
        expected = (batch, *tensor.shape[1:])
        if array.shape != expected:
            raise GraphError(f"{path}: output {tensor.name!r} {expected} expected, {array.shape} computed")


def _tensor(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorSpec(name=node.name, shape=shape, dtype=_DTYPES.get(node.type, node.type))
