"""Picture files to pixels.

Owns which suffixes are pictures and how a file becomes 8-bit BGR as a viewer would show it. Refuses to list
folders and to decode video.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.errors import SourceOpenError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["IMAGE_SUFFIXES", "is_image_path", "read_image"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def is_image_path(path: Path | str) -> bool:
    """Tell by its suffix, in any case, whether a path names a picture.

    Examples:
        >>> is_image_path("a/IMG_1.JPG"), is_image_path("a/IMG_1.txt")
        (True, False)
    """
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path | str) -> npt.NDArray[np.uint8]:
    """Read a picture file.

    The EXIF rotation is applied, grey and CMYK become BGR, alpha is dropped, 16 bits a channel become the
    upper 8.

    Args:
        path: A file of a format that OpenCV reads; the content decides, not the suffix.

    Returns:
        Shape ``(H, W, 3)``, uint8, BGR, C-contiguous.

    Raises:
        SourceOpenError: The file is absent, unreadable, cut short or no picture.
        MissingDependencyError: OpenCV is absent.
    """
    cv2 = require("cv2", why="to read pictures")
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as exc:
        raise SourceOpenError(f"{path}: a picture expected, {exc.strerror or exc}") from exc
    if not data.size:
        raise SourceOpenError(f"{path}: a picture expected, an empty file found", hint="copy it again")
    if _is_cut_jpeg(data):
        raise SourceOpenError(
            f"{path}: a whole JPEG expected, a file without its end found ({data.size} bytes)",
            hint="copy it again",
        )
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as exc:  # OpenCV 5, and more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        raise SourceOpenError(f"{path}: a picture expected, OpenCV says: {exc.err or exc}") from exc
    if image is None:
        raise SourceOpenError(
            f"{path}: a picture expected, OpenCV cannot decode it (it begins with {bytes(data[:8])!r})",
            hint=f"file {path}",
        )
    pixels: npt.NDArray[np.uint8] = image
    return pixels


def _is_cut_jpeg(data: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a JPEG has no end marker: its decoder fills the rest with grey and says nothing.

    Source:
        ITU-T T.81, B.1.1.3: SOI is FF D8, EOI is FF D9. Cameras append bytes after it, so it is sought.
    """
    return data[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in data.tobytes()
