"""PNG files of at most 256 colours: a third of the size of OpenCV's, which have 16 million.

Owns the choice of the colours and the file format. For pictures that people look at, not for measurements.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.files import write_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["write_palette_png"]

_BITS = 5  # a channel, while colours are counted and looked up
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_palette_png(path: Path | str, image_bgr: npt.NDArray[np.uint8], *, colours: int = 192) -> None:
    """Write a picture with its best few colours, whole or not at all.

    Args:
        path: The file.
        image_bgr: Shape ``(H, W, 3)``, uint8.
        colours: At most so many, 2 to 256.

    Raises:
        OutputError: The file cannot be written.

    Source:
        Heckbert 1982, "Color image quantization for frame buffer display" (median cut). W3C PNG
        specification, sections 5 (chunks), 9 (filters), 11 (IHDR, PLTE).
    """
    height, width = image_bgr.shape[:2]
    levels = (image_bgr >> (8 - _BITS)).astype(np.int64)
    cells = (levels[..., 2] << 2 * _BITS) | (levels[..., 1] << _BITS) | levels[..., 0]
    used, counts = np.unique(cells, return_counts=True)
    mask = (1 << _BITS) - 1
    rgb = np.stack([used >> 2 * _BITS, used >> _BITS & mask, used & mask], axis=1)
    palette = _median_cut(rgb.astype(np.float64), counts, colours)
    distances = np.stack([((rgb - colour) ** 2).sum(axis=1) for colour in palette])
    index_of = np.zeros(1 << 3 * _BITS, np.uint8)
    index_of[used] = distances.argmin(axis=0)
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter; 0 is none
    rows[:, 1:] = index_of[cells]
    # The middle of a cell: 5 bits back to 8.
    plte = ((palette + 0.5) * (1 << 8 - _BITS)).clip(0, 255).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", plte), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    write_bytes(path, _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks))


def _median_cut(
    rgb: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], colours: int
) -> npt.NDArray[np.float64]:
    """Cut the box of colours with the greatest spread in two until there are enough; give the means."""
    boxes = [np.arange(len(rgb))]
    while len(boxes) < colours:
        spreads = [_spread(rgb[box], counts[box]) for box in boxes]
        widest = int(np.argmax([spread.max() for spread in spreads]))
        if spreads[widest].max() <= 0:
            break
        box = boxes.pop(widest)
        axis = int(spreads[widest].argmax())
        box = box[np.argsort(rgb[box, axis], kind="stable")]
        half = np.searchsorted(np.cumsum(counts[box]), counts[box].sum() / 2) + 1
        half = min(max(int(half), 1), len(box) - 1)
        boxes += [box[:half], box[half:]]
    return np.array([np.average(rgb[box], axis=0, weights=counts[box]) for box in boxes])


def _spread(rgb: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Give the squared error a channel that one colour for all of a box makes."""
    mean = np.average(rgb, axis=0, weights=counts)
    spread: npt.NDArray[np.float64] = ((rgb - mean) ** 2 * np.sqrt(counts)[:, None]).sum(axis=0)
    return spread


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
