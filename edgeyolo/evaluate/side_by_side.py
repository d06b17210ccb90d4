"""Two opinions on one picture, drawn beside each other.

Owns the layout: the picture twice, a caption over each half. Boxes are `edgeyolo.vision.draw`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.optional import require
from edgeyolo.vision.draw import Painter

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.detections import Detections

__all__ = ["side_by_side"]

_GAP = 4
_CAPTION_BGR = (40, 40, 40)
_MAX_SIDE = 1280


def side_by_side(
    image_bgr: npt.NDArray[np.uint8],
    halves: tuple[tuple[str, Detections], tuple[str, Detections]],
    painter: Painter,
    *,
    max_side: int = _MAX_SIDE,
) -> npt.NDArray[np.uint8]:
    """Draw two results on two copies of a picture.

    Args:
        image_bgr: Shape ``(H, W, 3)``, uint8; not changed.
        halves: Caption and boxes of the left and of the right copy.
        painter: Draws the boxes.
        max_side: A larger picture is scaled down to this before it is drawn on, pixels.

    Returns:
        Shape ``(h + caption, 2 w + gap, 3)``, uint8.
    """
    cv2 = require("cv2", why="to draw pictures")
    height, width = image_bgr.shape[:2]
    shrink = min(1.0, max_side / max(height, width))
    wh = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(image_bgr, wh, interpolation=cv2.INTER_AREA) if shrink < 1 else image_bgr
    line = max(20, wh[1] // 22)
    canvas = np.full((wh[1] + line, 2 * wh[0] + _GAP, 3), _CAPTION_BGR, np.uint8)
    for (caption, found), left in zip(halves, (0, wh[0] + _GAP), strict=True):
        copy = small.copy()
        painter.draw(copy, _scaled(found, shrink))
        canvas[line:, left : left + wh[0]] = copy
        _write(cv2, canvas[:line, left : left + wh[0]], caption)
    return canvas


def _scaled(found: Detections, factor: float) -> Detections:
    return type(found)((found.xyxy * factor).astype(np.float32), found.scores, found.class_ids)


def _write(cv2: Any, strip: npt.NDArray[np.uint8], text: str) -> None:
    """Write a caption as large as the strip allows; OpenCV's Hershey letters are 21 units high at scale 1."""
    scale = strip.shape[0] / 40
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, (strip.shape[1] - 12) / max(1, width))
    at = (6, int(strip.shape[0] * 0.7))
    white = (255, 255, 255)
    cv2.putText(strip, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, white, 1, cv2.LINE_AA)
