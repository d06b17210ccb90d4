"""What the bytes of a picture file promise before any pixel is decoded: format, size, orientation, wholeness.

Owns the few header fields that OpenCV does not report, reads alike in no two of its versions (EXIF
orientation), or checks too late (a size that needs gigabytes, a file that ends early: OpenCV 4 gives a half
grey picture for a cut JPEG, and only its library's stderr says so). Refuses to decode pixels
(`edgeyolo.vision.images`).

Source: ITU-T T.81 annex B (JPEG markers); PNG third edition, section 5; RFC 9649 (WebP container);
TIFF 6.0, section 2, and BigTIFF; BITMAPFILEHEADER and BITMAPINFOHEADER; EXIF 2.32, tag 0x0112.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal, NoReturn

__all__ = ["PictureHeader", "picture_header"]

Kind = Literal["jpeg", "png", "webp", "bmp", "tiff"]

_ORIENTATION = 0x0112
_WIDTH, _HEIGHT, _BITS, _EXTRA_SAMPLES = 0x0100, 0x0101, 0x0102, 0x0152
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 0x0111, 0x0117, 0x0144, 0x0145
_FIELD_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF field type -> struct code of one value
_MAX_FIELD_VALUES = 1 << 20  # strips or tiles of one picture
# A marker that ends entropy-coded data: not a stuffed zero, a restart marker or a fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15


@dataclass(frozen=True)
class PictureHeader:
    """What a picture file says of itself.

    Args:
        kind: Its format, by content; the name of a file proves nothing.
        size_wh: Stored width and height, pixels, before any rotation.
        orientation: EXIF orientation 1..8 that a reader still has to apply.
        premultiplied: Whether OpenCV will give colours that are multiplied by alpha already.
    """

    kind: Kind
    size_wh: tuple[int, int]
    orientation: int = 1
    premultiplied: bool = False


def picture_header(data: bytes) -> PictureHeader | None:
    """Read the header of a whole file.

    Args:
        data: The file.

    Returns:
        The header, or None where the format is none of JPEG, PNG, WebP, BMP and TIFF.

    Raises:
        ValueError: The format is known, and the file is cut or contradicts itself; the text says how.

    Examples:
        >>> picture_header(b"<html>") is None
        True
        >>> picture_header(b"BM" + bytes(8))
        Traceback (most recent call last):
        ...
        ValueError: the file ends inside its header
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:2] == b"BM":
            return _bmp(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
        return None
    except (struct.error, IndexError) as exc:
        raise ValueError("the file ends inside its header") from exc


def _cut(found: int, expected: int) -> NoReturn:
    raise ValueError(f"the file is cut: at least {expected} bytes expected, {found} found")


def _jpeg(data: bytes) -> PictureHeader:
    """Walk the marker segments up to the end-of-image marker."""
    size: tuple[int, int] | None = None
    orientation = 1
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError(f"JPEG: a marker expected at byte {at}, 0x{data[at]:02x} found")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            raise ValueError("JPEG: it ends before any picture data")
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_SIZES and size is None:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            break
    if size is None:
        raise ValueError("JPEG: no frame header before the picture data")
    _require_jpeg_end(data, at)
    return PictureHeader("jpeg", size, orientation)


def _require_jpeg_end(data: bytes, at: int) -> None:
    """Find the end-of-image marker behind the (perhaps many) scans that begin at `at`."""
    while found := _JPEG_MARKER.search(data, at):
        marker = data[found.start() + 1]
        if marker == 0xD9:
            return
        at = found.start() + 2
        if marker != 0x01:  # TEM stands alone, all others have a length
            at += struct.unpack_from(">H", data, at)[0]
    raise ValueError(f"the file is cut: no end-of-image marker in its {len(data)} bytes")


def _png(data: bytes) -> PictureHeader:
    """Walk the chunks up to IEND, with the checksum of each that matters."""
    size: tuple[int, int] | None = None
    orientation = 1
    at = 8
    while True:
        if at + 12 > len(data):
            _cut(len(data), at + 12)
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            _cut(len(data), end)
        if kind[0] & 0x20 == 0:  # a critical chunk
            (expected,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != expected:
                raise ValueError(f"PNG: the checksum of chunk {kind.decode('latin-1')} is wrong")
        if kind == b"IHDR":
            size = struct.unpack_from(">II", data, at + 8)
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : end - 4])
        elif kind == b"IEND":
            break
        at = end
    if size is None:
        raise ValueError("PNG: no IHDR chunk")
    return PictureHeader("png", size, orientation)


def _webp(data: bytes) -> PictureHeader:
    """Walk the RIFF chunks; the canvas of an extended file counts, else the one frame."""
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    if riff_bytes + 8 > len(data):
        _cut(len(data), riff_bytes + 8)
    size: tuple[int, int] | None = None
    orientation = 1
    at = 12
    while at + 8 <= riff_bytes + 8:
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = data[at + 8 : at + 8 + length]
        if size is None and kind in (b"VP8X", b"VP8 ", b"VP8L"):
            size = _webp_size(kind, body)
        elif kind == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
        at += 8 + length + (length & 1)
    if size is None:
        raise ValueError("WebP: no picture chunk")
    return PictureHeader("webp", size, orientation)


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _bmp(data: bytes) -> PictureHeader:
    offset, header_bytes = struct.unpack_from("<I4x", data, 10)[0], struct.unpack_from("<I", data, 14)[0]
    if header_bytes == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression in (0, 3):  # not run-length coded: the bytes can be counted
        expected = offset + (width * bits + 31) // 32 * 4 * abs(height)
        if len(data) < expected:
            _cut(len(data), expected)
    return PictureHeader("bmp", (width, abs(height)))


def _tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """Read the whole-number fields of the first directory (the first page)."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + offset_code, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + count_code, data, at)
    at += struct.calcsize(order + count_code)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at, at + min(count, 4096) * entry_bytes, entry_bytes):
        tag, kind, number = struct.unpack_from(order + "HH" + offset_code, data, entry)
        code = _FIELD_TYPES.get(kind)
        if code is None or not 0 < number <= _MAX_FIELD_VALUES:
            continue
        value = entry + (12 if big else 8)
        if struct.calcsize(code) * number > (8 if big else 4):
            (value,) = struct.unpack_from(order + offset_code, data, value)
        tags[tag] = struct.unpack_from(f"{order}{number}{code}", data, value)
    return tags


def _tiff(data: bytes) -> PictureHeader:
    """Read the first page's directory; its orientation is left at 1 because OpenCV applies a TIFF's own."""
    tags = _tiff_tags(data)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError("TIFF: its first directory has no width or height")
    for offsets, counts in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        ends = [a + b for a, b in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
        if max(ends, default=0) > len(data):
            _cut(len(data), max(ends))
    # libtiff's RGBA interface, through which OpenCV reads all 8-bit TIFFs, gives associated alpha.
    premultiplied = tags.get(_BITS, (8,))[0] <= 8 or tags.get(_EXTRA_SAMPLES) == (1,)
    return PictureHeader("tiff", (tags[_WIDTH][0], tags[_HEIGHT][0]), premultiplied=premultiplied)


def _exif_orientation(exif: bytes) -> int:
    """Give the orientation of an EXIF block; 1 (upright) where it has none or makes no sense."""
    try:
        value = _tiff_tags(exif).get(_ORIENTATION, (1,))[0] if exif[:2] in (b"II", b"MM") else 1
    except struct.error:
        return 1  # a broken EXIF block does not spoil the picture
    return value if 1 <= value <= 8 else 1
