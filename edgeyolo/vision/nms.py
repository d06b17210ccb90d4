"""Greedy non-maximum suppression, a class at a time, exact and in bounded time.

Owns the order of boxes (best score first, ties by their place in the input) and which of them stay. Refuses
to know thresholds on scores and letterboxes (`edgeyolo.vision.postprocess`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.vision.boxes import overlaps

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["best_first", "nms"]

# Boxes compared with each other at once: the matrices of a block stay in the L2 cache, and a frame's usual
# candidates are one block.
_BLOCK = 128


def nms(
    xyxy: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    class_ids: npt.NDArray[np.integer],
    *,
    iou: float,
    max_kept: int | None = None,
) -> npt.NDArray[np.intp]:
    """Keep the best box of each heap: a box goes if a better one of its class overlaps it by more than `iou`.

    Boxes of one score keep the order of the input. Boxes are compared where they are, in float64; nothing is
    added to them to keep classes apart, so that large coordinates lose nothing.

    Args:
        xyxy: Shape ``(N, 4)``, finite, any unit.
        scores: Shape ``(N,)``.
        class_ids: Shape ``(N,)``.
        iou: Overlap above which the weaker box goes, 0..1.
        max_kept: Stop after so many.

    Returns:
        Shape ``(K,)``: indexes of the boxes that stay, best first.

    Source:
        Darknet ``do_nms_sort`` (src/box.c): a class at a time, strictly greater.

    Examples:
        >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
        >>> nms(boxes, np.array([0.8, 0.9, 0.7]), np.array([0, 0, 0]), iou=0.45).tolist()
        [1, 2]
        >>> nms(boxes, np.array([0.8, 0.9, 0.7]), np.array([0, 1, 0]), iou=0.45).tolist()
        [1, 0, 2]
    """
    order = best_first(scores)
    limit = len(order) if max_kept is None else max_kept
    kept = np.empty(0, np.intp)
    for start in range(0, len(order), _BLOCK):
        if len(kept) >= limit:
            break
        block = order[start : start + _BLOCK]
        if len(kept):
            beaten = overlaps(xyxy[kept], xyxy[block], iou)
            beaten &= class_ids[kept][:, None] == class_ids[block]
            block = block[~beaten.any(axis=0)]
        kept = np.concatenate([kept, block[_survivors(xyxy[block], class_ids[block], iou)]])
    return kept[:limit]


def best_first(scores: npt.NDArray[np.floating], count: int | None = None) -> npt.NDArray[np.intp]:
    """Give the indexes of the `count` best scores, best first, ties by index, without sorting all.

    Args:
        scores: Shape ``(N,)``, no NaN.
        count: How many; all where None.

    Examples:
        >>> best_first(np.array([0.1, 0.9, 0.5, 0.9, 0.5]), 3).tolist()
        [1, 3, 2]
    """
    if count is None or count >= len(scores):
        return np.argsort(-scores, kind="stable")
    if count <= 0:
        return np.empty(0, np.intp)
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > last)
    ties = np.flatnonzero(scores == last)[: count - len(above)]
    return np.concatenate([above[np.argsort(-scores[above], kind="stable")], ties])


def _survivors(xyxy: npt.NDArray[np.floating], class_ids: npt.NDArray[np.integer], iou: float) -> list[int]:
    """Give the places of those of a few boxes, best first, that no better one suppresses."""
    beats = overlaps(xyxy, xyxy, iou)
    beats &= class_ids[:, None] == class_ids
    beaten = np.zeros(len(xyxy), np.bool_)
    survivors = []
    for index in range(len(xyxy)):
        if not beaten[index]:
            survivors.append(index)
            beaten |= beats[index]
    return survivors
