"""Reading the ONNX file that a builder is given: one file with all its constants, or refused.

Owns that reading for the build stage. Refuses to change a graph (`edgeyolo.graph`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["metadata_of", "read_model", "refuse_external_data"]


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model whose tensors are all inside.

    Raises:
        GraphError: It is no ONNX model, or its weights lie in other files.
    """
    proto = require("onnx", why="to read an ONNX file").ModelProto
    if not path.is_file():
        raise GraphError(f"{path}: no such ONNX file", hint="edgeyolo convert CFG WEIGHTS -o " + str(path))
    try:
        model: onnx.ModelProto = proto.FromString(path.read_bytes())
    except Exception as exc:  # protobuf's DecodeError moved between its releases
        raise GraphError(
            f"{path}: an ONNX model expected; its {path.stat().st_size} bytes end or break in the middle"
        ) from exc
    if not model.graph.node:
        raise GraphError(f"{path}: an ONNX model expected, no node found")
    refuse_external_data(model, path)
    return model


def refuse_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a model whose weights lie in other files.

    Raises:
        GraphError: They do; the message names the files.
    """
    files = sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    if files:
        raise GraphError(
            f"{path}: its weights lie in other files ({', '.join(files[:3])})",
            hint="edgeyolo simplify IN.onnx -o OUT.onnx writes one file",
        )


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Give a model's metadata properties."""
    return {entry.key: entry.value for entry in model.metadata_props}
