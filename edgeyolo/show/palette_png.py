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

    _Floats = npt.NDArray[np.float64]

__all__ = ["write_palette_png"]

_BITS = 5  # a channel, while colours are counted and looked up
_STEP = 1 << 8 - _BITS
_ROUNDS = 4
# Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures": the 4x4 matrix.
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_palette_png(path: Path | str, image_bgr: npt.NDArray[np.uint8], *, colours: int = 256) -> None:
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
    cells = _cells(image_bgr)
    used, counts = np.unique(cells, return_counts=True)
    # The middle of a cell. The root keeps small bright things from drowning in a large background.
    rgb = (np.stack([used >> 2 * _BITS, used >> _BITS, used], axis=1) % (1 << _BITS) + 0.5) * _STEP
    palette, nearest = _refined(rgb, np.sqrt(counts), _median_cut(rgb, np.sqrt(counts), colours))
    index_of = np.zeros(1 << 3 * _BITS, np.uint8)
    index_of[used] = nearest
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter; 0 is none
    rows[:, 1:] = index_of[cells]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    plte = palette.round().clip(0, 255).astype(np.uint8).tobytes()
    chunks = [(b"IHDR", header), (b"PLTE", plte), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    write_bytes(path, _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks))


def _cells(image_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Give each pixel's cell in a coarse grid of colours, dithered so that slopes show no steps."""
    height, width = image_bgr.shape[:2]
    tile = (_BAYER + 0.5) / _BAYER.size * _STEP
    dither = np.tile(tile, (height // len(tile) + 1, width // len(tile) + 1))[:height, :width, None]
    levels = np.minimum((image_bgr + dither - _STEP / 2).clip(0) // _STEP, (1 << _BITS) - 1).astype(np.int64)
    cells: npt.NDArray[np.int64] = (levels[..., 2] << 2 * _BITS) | (levels[..., 1] << _BITS) | levels[..., 0]
    return cells


def _median_cut(rgb: _Floats, weights: _Floats, colours: int) -> _Floats:
    """Cut the box of colours with the greatest spread in two until there are enough; give the means."""
    boxes = [np.arange(len(rgb))]
    spreads = [_spread(rgb, weights)]
    while len(boxes) < colours:
        widest = int(np.argmax([spread.max() for spread in spreads]))
        axis = int(spreads[widest].argmax())
        if spreads[widest][axis] < 1e-6:  # all boxes hold one colour; a mean may differ from it by rounding
            break
        box = boxes.pop(widest)
        spreads.pop(widest)
        box = box[np.argsort(rgb[box, axis], kind="stable")]
        half = int(np.searchsorted(np.cumsum(weights[box]), weights[box].sum() / 2)) + 1
        half = min(half, len(box) - 1)
        boxes += [box[:half], box[half:]]
        spreads += [_spread(rgb[part], weights[part]) for part in boxes[-2:]]
    return np.array([np.average(rgb[box], axis=0, weights=weights[box]) for box in boxes])


def _spread(rgb: _Floats, weights: _Floats) -> _Floats:
    """Give the squared error a channel that one colour for all of a box makes."""
    mean = np.average(rgb, axis=0, weights=weights)
    spread: _Floats = ((rgb - mean) ** 2 * weights[:, None]).sum(axis=0)
    return spread


def _refined(rgb: _Floats, weights: _Floats, palette: _Floats) -> tuple[_Floats, npt.NDArray[np.int64]]:
    """Move each colour to the mean of those that are nearest to it, a few times; give the nearest too."""
    for _ in range(_ROUNDS):
        nearest = _nearest(rgb, palette)
        total = np.bincount(nearest, weights, len(palette))
        sums = [np.bincount(nearest, weights * channel, len(palette)) for channel in rgb.T]
        moved = np.stack(sums, axis=1) / np.maximum(total, 1e-9)[:, None]
        palette = np.where(total[:, None] > 0, moved, palette)
    return palette, _nearest(rgb, palette)


def _nearest(rgb: _Floats, palette: _Floats) -> npt.NDArray[np.int64]:
    # |a - b|^2 without its |a|^2, which is the same for every colour of the palette.
    nearest: npt.NDArray[np.int64] = ((palette**2).sum(axis=1) - 2 * rgb @ palette.T).argmin(axis=1)
    return nearest


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
