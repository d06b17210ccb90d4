"""Which H.264 encoder a video gets, and why.

Owns the order: the hardware of a Jetson, then processor cores. Hardware is taken after it has encoded
pictures here: a Jetson Orin Nano has GStreamer's element for an encoder that it does not have.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeyolo.errors import MissingDependencyError
from edgeyolo.jetson import l4t_here
from edgeyolo.show.mp4 import Mp4Writer, SoftwareMp4, count_frames, pyav
from edgeyolo.show.mp4_gst import JETSON, GstEncoder, GstMp4

__all__ = ["VideoEncoder", "best_encoder"]

_PROBE_WH = (320, 240)  # hardware encoders have a least size
_PROBES = 5


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
        MissingDependencyError: PyAV is not here, which writes every mp4.
    """
    pyav()
    cores = "H.264, encoded on processor cores"
    if l4t_here() is None:
        return VideoEncoder(SoftwareMp4, cores)
    why_not = _why_not(JETSON)
    if why_not is None:
        return VideoEncoder(
            functools.partial(GstMp4, JETSON), f"H.264, encoded by {JETSON.element} in hardware"
        )
    return VideoEncoder(SoftwareMp4, f"{cores} ({why_not})")


def _why_not(encoder: GstEncoder) -> str | None:
    """Encode some pictures; give None where that worked, else what was said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.mp4")
        try:
            file = GstMp4(encoder, path, _PROBE_WH, fps=30, recording=True)
            try:
                for index in range(_PROBES):
                    file.write(np.zeros((*_PROBE_WH[::-1], 3), np.uint8), index / 30)
            finally:
                file.close()
        except (OSError, MissingDependencyError) as exc:
            return getattr(exc, "strerror", None) or str(exc)
        found = count_frames(path)
    return None if found == _PROBES else f"{found} of {_PROBES} pictures came back"
