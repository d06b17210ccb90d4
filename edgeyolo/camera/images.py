"""Pictures that are files of their own: one, or a list of them in a natural order.

Owns their order and what becomes of an unreadable one. Decoding is ``edgeyolo.vision.images``; finding the
files is ``edgeyolo.camera.uri``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeyolo.errors import SourceError
from edgeyolo.frames import Frame
from edgeyolo.vision.images import read_image

__all__ = ["ImageSource", "natural_key"]

_log = logging.getLogger(__name__)


class ImageSource:
    """A `edgeyolo.frames.Source` of image files; several iterations read them again.

    A single unreadable image is an error. Among several, each unreadable one is reported and skipped, and
    the end says how many were; none readable at all is an error.

    Args:
        paths: The files, in order.
        name: What the user calls them.
    """

    live = False
    notes: tuple[str, ...] = ()
    fps = None  # a folder has no time line

    def __init__(self, paths: Sequence[Path], *, name: str) -> None:
        self._paths = tuple(paths)
        self._name = name
        self.skipped = 0

    @property
    def name(self) -> str:
        """What the user called it."""
        return self._name

    @property
    def frame_count(self) -> int:
        """Number of files, the unreadable ones among them."""
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Read the images in order; `Frame.index` counts the readable ones, `Frame.time_s` is 0."""
        self.skipped = 0
        index = 0
        for path in self._paths:
            try:
                image = read_image(path)
            except SourceError as exc:
                if len(self._paths) == 1:
                    raise
                self.skipped += 1
                _log.warning("skipped: %s", exc)
                continue
            yield Frame(
                image_bgr=image,
                source=self._name,
                index=index,
                time_s=0.0,
                captured_at_s=time.monotonic(),
                path=str(path),
            )
            index += 1
        if index == 0:
            raise SourceError(f"{self._name}: none of its {len(self._paths)} images can be read")
        if self.skipped:
            _log.warning("%s: %d of %d images were skipped", self._name, self.skipped, len(self._paths))

    def close(self) -> None:
        """Nothing is held open between two images."""


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Give a sort key in which numbers count as numbers and letter case does not.

    Examples:
        >>> [p.name for p in sorted(map(Path, ["b10.png", "B9.png", "a1.png"]), key=natural_key)]
        ['a1.png', 'B9.png', 'b10.png']
    """
    pieces = re.split(r"(\d+)", str(path).casefold())
    key = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p)
    return (*key, (1, 0, str(path)))  # equal but for case or leading zeros: still one order
