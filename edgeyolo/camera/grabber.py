"""What reads a live camera, whichever library does it: the protocol between a source and its backend.

Owns the types. GStreamer's is ``gst_grabber``, OpenCV's ``opencv_grabber``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Grabber", "Shot"]


@dataclass(frozen=True)
class Shot:
    """One picture of a camera.

    Args:
        image_bgr: Shape ``(H, W, 3)``, uint8; may be read-only.
        number: Counts from 0, those that nobody took too.
        captured_at_s: ``time.monotonic()`` when the picture was there.
    """

    image_bgr: npt.NDArray[np.uint8]
    number: int
    captured_at_s: float


class Grabber(Protocol):
    """An open camera. It keeps the newest picture only."""

    @property
    def notes(self) -> tuple[str, ...]:
        """How it is read; whole after a picture."""

    @property
    def fps(self) -> float | None:
        """Frames a second that the camera says it gives."""

    def read(self) -> Shot | None:
        """Wait for a picture newer than the last; None when there are no more, or after `close`.

        Raises:
            FrameTimeoutError: None came in time.
            SourceError: The camera failed.
        """

    def close(self) -> None:
        """Free it, from any thread; a `read` under way ends soon. Twice is harmless."""
