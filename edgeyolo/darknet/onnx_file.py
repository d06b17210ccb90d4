"""Writing a large ONNX model without holding it twice.

Owns the bytes of the file. ``SerializeToString`` makes one more copy of all weights, and on a small board
that copy is what does not fit: here the initializers go to the file one by one. Refuses to know what a graph
means.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgeyolo.files import whole_file
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["write_onnx"]

# Field numbers of onnx.proto; wire type 2 is length-delimited (protobuf.dev/programming-guides/encoding).
_GRAPH_OF_MODEL = 7
_INITIALIZER_OF_GRAPH = 5
_LENGTH_DELIMITED = 2


def write_onnx(model: onnx.ModelProto, path: Path | str) -> int:
    """Write a model whole or not at all, one tensor at a time.

    Args:
        model: Complete; it is left as it is.
        path: The file.

    Returns:
        Size of the file in bytes.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        _write_model(model, file)
        return file.tell()


def _write_model(model: onnx.ModelProto, file: BinaryIO) -> None:
    """Write all but the graph, then the graph as one field whose length is known before its parts."""
    onnx = require("onnx", why="to write an ONNX model")
    head, body = onnx.ModelProto(), onnx.GraphProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _copy(head, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _copy(body, field.name, value)
    rest = body.SerializeToString()
    # A length is written before what it measures, so sizes come first and bytes after, one tensor at a time.
    sizes = [tensor.ByteSize() for tensor in model.graph.initializer]
    prefixes = [_prefix(_INITIALIZER_OF_GRAPH, size) for size in sizes]
    total = len(rest) + sum(sizes) + sum(map(len, prefixes))
    file.write(head.SerializeToString())
    file.write(_prefix(_GRAPH_OF_MODEL, total))
    file.write(rest)
    for prefix, tensor in zip(prefixes, model.graph.initializer, strict=True):
        file.write(prefix)
        file.write(tensor.SerializeToString())


def _copy(target: onnx.ModelProto | onnx.GraphProto, name: str, value: object) -> None:
    if isinstance(value, (str, int, bytes)):
        setattr(target, name, value)
    else:
        getattr(target, name).MergeFrom(value)


def _prefix(field: int, size: int) -> bytes:
    r"""Give tag and length of a length-delimited field.

    Examples:
        >>> _prefix(5, 300)
        b'*\xac\x02'
    """
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
