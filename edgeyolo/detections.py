"""What a model says of a picture: boxes of a detector, ranked classes of a classifier.

Owns the two result types. Refuses to filter, draw or print them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Classification", "Detections"]


@dataclass(frozen=True)
class Detections:
    """Boxes found in one picture, best score first.

    Args:
        xyxy: Shape ``(N, 4)``, float32, pixels of the picture, ``x0 y0 x1 y1``, clipped to it.
        scores: Shape ``(N,)``, float32, 0..1 (objectness times class).
        class_ids: Shape ``(N,)``, int64.
        track_ids: Shape ``(N,)``, int64: the number of each object, from 1, the same from frame to frame; 0
            for a box that is not sure to be an object yet; None where objects are not followed.

    Examples:
        >>> len(Detections.empty())
        0
    """

    xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    track_ids: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Detections:
        """Give the result of a picture with nothing in it."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


@dataclass(frozen=True)
class Classification:
    """The likeliest classes of one picture, best first.

    Args:
        scores: Shape ``(K,)``, float32, 0..1.
        class_ids: Shape ``(K,)``, int64.
    """

    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)
