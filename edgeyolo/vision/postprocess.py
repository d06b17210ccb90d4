"""Network outputs to detections: threshold, best candidates, suppression, back to the picture.

Owns the order of these steps and their defaults. Refuses to decode heads: the graph does that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.vision.nms import Suppression, best_first, suppress

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["detections_from_outputs"]

# Scores looked at in one go, 16 KiB: the neighbours of a detection are in its block, most blocks have none.
_BLOCK = 4096


def detections_from_outputs(  # noqa: PLR0913 - options, keyword-only, each with a meaning of its own
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    letterbox: Letterbox,
    *,
    conf: float,
    iou: float,
    nms: Suppression = "class",
    class_ids: Collection[int] | None = None,
    max_detections: int = 300,
    multi_label: bool = False,
    max_candidates: int = 4096,
) -> Detections:
    """Turn the outputs for one picture into detections.

    A box that is not finite or lies wholly outside the picture is dropped.

    Args:
        boxes: Shape ``(N, 4)``, ``xyxy_net``.
        scores: Shape ``(N, C)``, 0..1, objectness times class.
        letterbox: Where the picture lies in the network input.
        conf: A score must be greater than this.
        iou: Overlap above which the weaker box of one class goes.
        nms: In which way boxes are suppressed; ``soft`` and ``none`` have no use for `iou`.
        class_ids: The wanted classes; None is all. A box of another class suppresses none of these.
        max_detections: At most so many, the best ones.
        multi_label: Every class of a box above `conf` counts, as in Darknet: what mean average precision is
            computed with. Otherwise a box has one class, its best: what a picture should show.
        max_candidates: At most so many (box, class) pairs, the best ones, enter the suppression: a flood of
            boxes costs bounded time.

    Raises:
        ValueError: The shapes do not belong together.

    Examples:
        >>> from edgeyolo.vision.letterbox import Letterbox
        >>> boxes = np.array([[0, 91, 208, 208], [2, 91, 208, 208]], np.float32)
        >>> scores = np.array([[0.1, 0.9], [0.0, 0.8]], np.float32)
        >>> found = detections_from_outputs(boxes, scores, Letterbox.fit((1280, 720), (416, 416)),
        ...                                 conf=0.25, iou=0.45)
        >>> found.xyxy.tolist(), found.class_ids.tolist()
        ([[0.0, 0.0, 640.0, 360.0]], [1])
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
        raise ValueError(f"boxes (N, 4) and scores (N, C) expected, {boxes.shape} and {scores.shape} found")
    rows, classes, values = _candidates(scores, conf, multi_label)
    if class_ids is not None:
        wanted = np.isin(classes, np.fromiter(class_ids, np.int64))
        rows, classes, values = rows[wanted], classes[wanted], values[wanted]
    best = best_first(values, max_candidates)
    rows, classes, values = rows[best], classes[best], values[best]
    xyxy_net = boxes[rows]
    xyxy = letterbox.to_image(xyxy_net)
    inside = np.isfinite(xyxy_net).all(axis=1) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    xyxy_net, xyxy, classes, values = xyxy_net[inside], xyxy[inside], classes[inside], values[inside]
    kept, left = suppress(nms, xyxy_net, values, classes, iou=iou, least=conf, max_kept=max_detections)
    return Detections(
        xyxy[kept], left.astype(np.float32, copy=False), classes[kept].astype(np.int64, copy=False)
    )


def _candidates(
    scores: npt.NDArray[np.float32], conf: float, multi_label: bool
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Give box, class and value of every score above `conf`, or of the best one of each such box."""
    flat = _above(scores.reshape(-1), conf)
    rows = flat // max(1, scores.shape[1])
    if multi_label:
        return rows, flat - rows * scores.shape[1], scores.reshape(-1)[flat]
    first = np.ones(len(rows), np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    rows = rows[first]
    found = scores[rows]
    # A comparison with NaN is false, and argmax takes NaN for the best.
    classes = np.argmax(np.where(found > conf, found, -np.inf), axis=1) if len(rows) else rows
    return rows, classes, found[np.arange(len(rows)), classes]


def _above(values: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.intp]:
    """Give the indexes of values above a limit, rising; made for millions of values of which a few are.

    The largest value of each block is found first: one pass over memory that writes nothing, where
    ``np.flatnonzero(values > limit)`` takes twice as long and a maximum for each box twelve times.
    """
    whole = len(values) // _BLOCK * _BLOCK
    blocks = values[:whole].reshape(-1, _BLOCK)
    # "Not at most", because a NaN is the largest of its block and must not hide the others.
    busy = np.flatnonzero(~(blocks.max(axis=1) <= limit))
    found = np.flatnonzero(blocks[busy] > limit)
    which = found // _BLOCK
    rest = np.flatnonzero(values[whole:] > limit) + whole
    return np.concatenate([found + (busy[which] - which) * _BLOCK, rest])
