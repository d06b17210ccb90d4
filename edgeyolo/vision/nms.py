"""Non-maximum suppression: greedy, exact and in bounded time, a class at a time or across classes; and soft.

Owns the order of boxes (best score first, ties by their place in the input), which of them stay, and what
soft suppression leaves of their scores. Refuses to know letterboxes (`edgeyolo.vision.postprocess`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from edgeyolo.vision.boxes import iou_matrix, overlaps

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Suppression", "best_first", "nms", "soft_nms", "suppress"]

Suppression = Literal["class", "agnostic", "none", "soft"]
"""``class``: a box goes if a better one of its class covers it. ``agnostic``: one of any class.
``none``: none goes. ``soft``: its score sinks instead."""

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


def soft_nms(
    xyxy: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    class_ids: npt.NDArray[np.integer],
    *,
    least: float,
    sigma: float = 0.5,
    max_kept: int | None = None,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Let the score of a box sink by ``exp(-iou^2 / sigma)`` for every better box of its class that is taken.

    Args:
        xyxy: Shape ``(N, 4)``, finite, any unit.
        scores: Shape ``(N,)``.
        class_ids: Shape ``(N,)``.
        least: A box whose score is not greater than this is not taken.
        sigma: How fast scores sink.
        max_kept: Stop after so many: the cost is at most this times N.

    Returns:
        Indexes of the boxes that are taken, best first, shape ``(K,)``, and their scores then.

    Source:
        Bodla et al., Soft-NMS, arXiv 1704.04503, section 3, equation 4; sigma 0.5 as in its experiments.

    Examples:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
        >>> kept, left = soft_nms(boxes, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 0]), least=0.05)
        >>> kept.tolist(), left.round(3).tolist()
        ([0, 2, 1], [0.9, 0.7, 0.108])
    """
    left = scores.astype(np.float64)
    limit = len(left) if max_kept is None else max_kept
    kept: list[int] = []
    values: list[float] = []
    while len(kept) < min(limit, len(left)):
        best = int(np.argmax(left))
        if not left[best] > least:
            break
        kept.append(best)
        values.append(float(left[best]))
        left[best] = -np.inf
        rivals = np.flatnonzero((class_ids == class_ids[best]) & (left > least))
        left[rivals] *= np.exp(-(iou_matrix(xyxy[[best]], xyxy[rivals])[0] ** 2) / sigma)
    return np.array(kept, np.intp), np.array(values, np.float64)


def suppress(  # noqa: PLR0913 - options, keyword-only, each with a meaning of its own
    kind: Suppression,
    xyxy: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    class_ids: npt.NDArray[np.integer],
    *,
    iou: float,
    least: float,
    max_kept: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.floating]]:
    """Suppress in one of the four ways.

    Args:
        kind: Which.
        xyxy: Shape ``(N, 4)``, finite, any unit.
        scores: Shape ``(N,)``.
        class_ids: Shape ``(N,)``.
        iou: Overlap above which the weaker box goes, for ``class`` and ``agnostic``.
        least: As for `soft_nms`.
        max_kept: Stop after so many.

    Returns:
        Indexes of the boxes that stay, best first, and their scores.
    """
    if kind == "soft":
        return soft_nms(xyxy, scores, class_ids, least=least, max_kept=max_kept)
    if kind == "none":
        kept = best_first(scores, max_kept)
    else:
        groups = class_ids if kind == "class" else np.zeros_like(class_ids)
        kept = nms(xyxy, scores, groups, iou=iou, max_kept=max_kept)
    return kept, scores[kept]


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
