"""How sure a detector is of what it also sees in the mirror: a measure that needs no labels.

Owns the measure of one picture. A detector that is fed pixels in a wrong order or range is less sure, and
finds other things in the mirrored picture. Refuses to run a detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.vision.boxes import iou_matrix

if TYPE_CHECKING:
    from edgeyolo.detections import Detections

__all__ = ["confirmed_confidence"]

_SAME = 0.5  # the least overlap at which COCO and Pascal VOC take two boxes for one object


def confirmed_confidence(found: Detections, mirrored: Detections, width: int) -> float:
    """Sum the scores of what both found.

    Args:
        found: In the picture.
        mirrored: In the picture mirrored left to right.
        width: Of the picture, pixels.

    Returns:
        Over the boxes of `found`: overlap with the best box of its class in the mirror, where that is at
        least a half, times the geometric mean of both scores. 0 where nothing is confirmed.

    Examples:
        >>> from edgeyolo.detections import Detections
        >>> def one(x0, x1, score):
        ...     return Detections(np.array([[x0, 0, x1, 9]], np.float32), np.array([score], np.float32),
        ...                       np.array([3]))
        >>> round(confirmed_confidence(one(0, 10, 0.9), one(90, 100, 0.4), 100), 3)
        0.6
        >>> confirmed_confidence(one(0, 10, 0.9), one(0, 10, 0.4), 100)
        0.0
    """
    if not len(found) or not len(mirrored):
        return 0.0
    back = mirrored.xyxy.copy()
    back[:, [0, 2]] = width - mirrored.xyxy[:, [2, 0]]
    overlap = iou_matrix(found.xyxy, back)
    overlap *= found.class_ids[:, None] == mirrored.class_ids
    best = overlap.argmax(axis=1)
    share = overlap[np.arange(len(best)), best]
    scores = np.sqrt(found.scores * mirrored.scores[best])
    return float((share * scores)[share >= _SAME].sum())
