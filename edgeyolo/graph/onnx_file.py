"""ONNX files in, ONNX files out, each with an error that says what the file really is.

Owns reading with external data, the 2 GB limit, and writing whole. Refuses to look into a graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.files import whole_file
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["read_onnx", "refuse_too_large", "write_onnx"]

_LIMIT_BYTES = 2**31 - 1
_START_OF = {
    b"<": "an HTML or XML page, most likely a download that ended at a login or an error page",
    b"version https://git-lfs": "a Git LFS pointer; the file itself is not here yet (git lfs pull)",
    b"PK\x03\x04": "a zip archive, perhaps a PyTorch checkpoint",
    b"[net]": "a Darknet cfg",
}


def read_onnx(path: Path | str) -> onnx.ModelProto:
    """Read a model with its external data.

    Args:
        path: An ``.onnx`` file.

    Returns:
        The model, all tensors inside.

    Raises:
        GraphError: No ONNX file, a truncated one, or one whose external data is missing.
        OSError: The file cannot be opened.
    """
    proto = require("onnx", why="to read an ONNX file").ModelProto
    path = Path(path)
    if path.is_dir():
        raise GraphError(f"{path}: an .onnx file expected, a folder found")
    if not path.exists():
        raise GraphError(f"{path}: no such file", hint="edgeyolo convert CFG WEIGHTS -o OUT.onnx makes one")
    data = path.read_bytes()
    _refuse_known_formats(path, data)
    try:
        model: onnx.ModelProto = proto.FromString(data)
    except Exception as exc:
        raise GraphError(
            f"{path}: an ONNX model expected; its {len(data)} bytes end or break in the middle ({exc})",
            hint="download or convert it again",
        ) from exc
    if not model.opset_import or not model.graph.node:
        raise GraphError(
            f"{path}: an ONNX model expected, {len(data)} bytes without a single node found",
            hint="download or convert it again",
        )
    _load_external_data(model, path)
    return model


def write_onnx(model: onnx.ModelProto, path: Path | str) -> None:
    """Write a model whole or not at all, all tensors inside.

    Raises:
        GraphError: It is larger than the 2 GB that one file can hold.
        OutputError: It cannot be written.
    """
    refuse_too_large(model, path)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(model.SerializeToString())


def refuse_too_large(model: onnx.ModelProto, path: Path | str) -> None:
    """Refuse a model that one file cannot hold; what works on models in memory has the same limit.

    Raises:
        GraphError: It is larger than 2 GB.
    """
    size = model.ByteSize()
    if size > _LIMIT_BYTES:
        raise GraphError(
            f"{path}: {size / 1e9:.1f} GB, and an ONNX file without external data holds 2 GB",
            hint="export a smaller variant of the model, or the same one in float16",
        )


def _refuse_known_formats(path: Path, data: bytes) -> None:
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not data:
        raise GraphError(f"{path}: an ONNX model expected, an empty file found")
    for magic, what in _START_OF.items():
        if start.startswith(magic):
            raise GraphError(f"{path}: an ONNX model expected; this is {what}", hint="download it again")


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    helper = require("onnx.external_data_helper", why="to read external data")
    if not any(helper.uses_external_data(tensor) for tensor in model.graph.initializer):
        return
    try:
        helper.load_external_data_for_model(model, str(path.parent))
    except Exception as exc:
        names = sorted(
            {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}
        )
        raise GraphError(
            f"{path}: its tensors lie in {', '.join(names)}, and that cannot be read: {exc}",
            hint=f"put the file into {path.parent}",
        ) from exc
