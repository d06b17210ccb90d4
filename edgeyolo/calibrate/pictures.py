"""A manifest's pictures as pixels, one after another.

Owns the difference between a picture file and a frame of a video. Refuses to prefetch (`feed`) and to judge
(`check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeyolo.calibrate.manifest import Item, Manifest
from edgeyolo.errors import SourceError
from edgeyolo.optional import require
from edgeyolo.vision.images import read_image

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PictureReader", "iter_pictures"]


class PictureReader:
    """Reads items; keeps one video open, so items of a video are cheap in the order of a manifest.

    Frames are counted by decoding every one up to the wanted: a jump by time lands on another frame with
    some containers, and two passes over a manifest must see the same pixels.

    Args:
        manifest: Where the items lie.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._path: Path | None = None
        self._capture: Any = None
        self._next_frame = 0

    def read(self, item: Item) -> npt.NDArray[np.uint8]:
        """Give one item's pixels.

        Returns:
            Shape ``(H, W, 3)``, uint8, BGR.

        Raises:
            SourceError: The file or the frame cannot be read.
        """
        path = self._manifest.file_of(item)
        return read_image(path) if item.frame < 0 else self._frame(path, item.frame)

    def close(self) -> None:
        """Close the video; twice is harmless."""
        if self._capture is not None:
            self._capture.release()
        self._capture, self._path = None, None

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frame(self, path: Path, frame: int) -> npt.NDArray[np.uint8]:
        if self._path != path or frame < self._next_frame:
            self._open(path)
        while self._next_frame < frame and self._capture.grab():
            self._next_frame += 1
        image: npt.NDArray[np.uint8] | None = None
        if self._next_frame == frame:
            _, image = self._capture.read()
        if image is None:
            raise SourceError(f"{path}#{frame}: the video ends after {self._next_frame} frames")
        self._next_frame += 1
        return image

    def _open(self, path: Path) -> None:
        self.close()
        cv2 = require("cv2", why="to read videos")
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceError(f"{path}: OpenCV {cv2.__version__} cannot open it as a video")
        self._path, self._next_frame = path, 0


def iter_pictures(
    manifest: Manifest, items: Sequence[Item] | None = None
) -> Iterator[tuple[Item, npt.NDArray[np.uint8]]]:
    """Give every item with its pixels, in order.

    Args:
        manifest: Where the items lie.
        items: Which of them; all by default.

    Raises:
        SourceError: One cannot be read.
    """
    with PictureReader(manifest) as reader:
        for item in manifest.items if items is None else items:
            yield item, reader.read(item)
