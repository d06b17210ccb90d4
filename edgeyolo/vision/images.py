"""Picture files to pixels: the one reader that calibration, evaluation, comparison and `run` share.

Owns what a picture means whatever its format: uint8, BGR, upright, opaque. Refuses to resize or to
normalise (`edgeyolo.vision.preprocess`) and to read videos (`edgeyolo.camera`).

What a file may be, and what becomes of it:

* JPEG, PNG, BMP, WebP, TIFF, told by content; the name is only used to find files in folders.
* EXIF orientation is applied, in every format that has it.
* Grey, palette and one-bit pictures become BGR; CMYK JPEG is converted.
* Transparent pixels are laid on **white**, as a viewer or a web page shows them. Dropping alpha instead
  would show whatever colour a program happened to leave under them.
* 16-bit values are scaled as ``round(v * 255 / 65535)``. Float and 32-bit TIFFs are refused: nobody but
  their writer knows their range.
* Of several pages or frames the first counts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import SourceError
from edgeyolo.optional import require
from edgeyolo.vision.picture_header import PictureHeader, picture_header

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image", "is_image_path", "read_image", "read_image_bytes"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

# 0.4 GB as BGR: the largest camera sensor on sale in phones (108 Mpx) fits, a decompression bomb does not.
MAX_PIXELS = 1 << 27
_MAX_BYTES = 1 << 30

# How a file that is no picture is told by its first bytes: what it is, and what to do.
_STRANGERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself", "git lfs pull"),
    (b"<", "a text page (HTML or SVG)", "download the picture itself"),
    (b"GIF8", "a GIF", "convert it to PNG: ffmpeg -i IN.gif -frames:v 1 OUT.png"),
    (b"\0\0\0\x0cjP", "a JPEG 2000", "convert it to PNG first"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000", "convert it to PNG first"),
    (b"8BPS", "a Photoshop file", "export it as PNG first"),
    (b"%PDF", "a PDF", "export its pages as PNG first"),
)
_ISO_MEDIA = {b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIF", b"avif": "an AVIF"}


def is_image_path(path: Path | str) -> bool:
    """Tell by its name whether a folder's file is meant: any case of `IMAGE_SUFFIXES`.

    Hidden files are not meant: macOS leaves ``._photo.jpg`` beside ``photo.jpg``, and it is no picture.

    Examples:
        >>> [is_image_path(name) for name in ("a/B.JPG", "a/b.txt", "a/._b.jpg")]
        [True, False, False]
    """
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def read_image(path: Path | str, *, as_stored: bool = False) -> npt.NDArray[np.uint8]:
    """Read one picture file.

    Args:
        path: JPEG, PNG, BMP, WebP or TIFF; any characters in its name.
        as_stored: Do not turn it as its EXIF tag says: labels may have been drawn on the stored pixels.

    Returns:
        Shape ``(H, W, 3)``, uint8, BGR, C-contiguous, upright unless `as_stored`.

    Raises:
        SourceError: The file is absent, empty, cut, damaged, too large or no picture; the text says which.
    """
    return decode_image(read_image_bytes(path), name=str(path), as_stored=as_stored)


def read_image_bytes(path: Path | str) -> bytes:
    """Read a picture file undecoded, such as for a hash and the pixels in one go.

    Raises:
        SourceError: It cannot be read, is no regular file, or is larger than any picture.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise SourceError(f"{path}: a picture file expected, a folder found")
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{path}: a picture file expected, a device or a pipe found")
        if status.st_size > _MAX_BYTES:
            raise SourceError(f"{path}: {status.st_size} bytes found, at most {_MAX_BYTES} read as a picture")
        return Path(path).read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: a NUL character in the name
        if isinstance(exc, SourceError):
            raise
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise SourceError(f"{path}: cannot be read: {reason}") from exc


def decode_image(data: bytes, *, name: str, as_stored: bool = False) -> npt.NDArray[np.uint8]:
    """Decode a picture that is in memory.

    Args:
        data: The whole file.
        name: How errors call it.
        as_stored: As for `read_image`.

    Returns:
        As `read_image`.

    Raises:
        SourceError: As `read_image`.
    """
    header = _header(data, name)
    cv2 = require("cv2", why="to read pictures")
    try:
        # IMREAD_UNCHANGED: no alpha, depth or rotation is taken away before we have seen it.
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as exc:
        raise SourceError(f"{name}: the {header.kind} decoder failed: {exc}") from exc
    if decoded is None:
        raise SourceError(
            f"{name}: {header.size_wh[0]}x{header.size_wh[1]} {header.kind} that OpenCV {cv2.__version__} "
            "cannot decode: damaged, or of a kind that this OpenCV does not know",
            hint="look at it with another program and save it again",
        )
    pixels = _bgr_from(decoded, name, premultiplied=header.premultiplied)
    return np.ascontiguousarray(pixels if as_stored else _upright(pixels, header.orientation))


def _header(data: bytes, name: str) -> PictureHeader:
    if not data:
        raise SourceError(f"{name}: the file is empty (0 bytes)")
    try:
        header = picture_header(data)
    except ValueError as exc:
        raise SourceError(f"{name}: {exc}", hint="copy or download the file again") from exc
    if header is None:
        raise _stranger(data, name)
    width, height = header.size_wh
    if width <= 0 or height <= 0:
        raise SourceError(f"{name}: {header.kind} of {width}x{height} pixels: nothing to see in it")
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{name}: {header.kind} of {width}x{height} pixels; at most {MAX_PIXELS} pixels are decoded",
            hint="scale it down first",
        )
    return header


def _stranger(data: bytes, name: str) -> SourceError:
    expected = "a JPEG, PNG, BMP, WebP or TIFF expected"
    for start, what, hint in _STRANGERS:
        if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(start):
            return SourceError(f"{name}: {expected}, {what} found", hint=hint)
    if data[4:8] == b"ftyp":
        what = _ISO_MEDIA.get(data[8:12], "a video or another ISO media file")
        return SourceError(f"{name}: {expected}, {what} found", hint="convert it to JPEG or PNG first")
    return SourceError(f"{name}: {expected}, a file that begins with {data[:8]!r} found")


def _bgr_from(decoded: npt.NDArray[Any], name: str, *, premultiplied: bool) -> npt.NDArray[np.uint8]:
    """Give BGR uint8 of what OpenCV decoded: 1 to 4 channels of 8 or 16 bits."""
    channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    if decoded.dtype not in (np.uint8, np.uint16) or channels > 4:
        raise SourceError(
            f"{name}: 1 to 4 channels of 8 or 16 bits expected, {channels} of {decoded.dtype} found",
            hint="save it with 8 bits a channel, with the contrast that a camera would give",
        )
    if decoded.dtype == np.uint16:
        decoded = (decoded.astype(np.uint32) * 255 + 32767) // 65535
    planes: npt.NDArray[np.uint8] = decoded.astype(np.uint8, copy=False).reshape(*decoded.shape[:2], channels)
    colour = _on_white(planes, premultiplied) if channels in (2, 4) else planes
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def _on_white(planes: npt.NDArray[np.uint8], premultiplied: bool) -> npt.NDArray[np.uint8]:
    colour, alpha = planes[:, :, :-1], planes[:, :, -1:]
    if (alpha == 255).all():
        return colour
    white = 255 - alpha.astype(np.uint16)  # the share of the background, 0..255
    mixed: npt.NDArray[np.uint16]
    if premultiplied:
        mixed = np.minimum(colour + white, np.uint16(255))
    else:  # 255 * 255 + 127 fits in uint16
        mixed = (colour * alpha.astype(np.uint16) + white * np.uint16(255) + np.uint16(127)) // np.uint16(255)
    return mixed.astype(np.uint8)


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Apply an EXIF orientation; a view where it can be.

    Source: EXIF 2.32, section 4.6.4, tag Orientation: where row 0 and column 0 of the stored picture lie.
    """
    if orientation >= 5:  # rows and columns are exchanged
        pixels = pixels.transpose(1, 0, 2)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
