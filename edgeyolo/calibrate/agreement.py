"""How far the outputs of an INT8 model are from the float ones, as one number, without labels.

Owns the two measures that calibration steers by, on any mixture of scores and coordinates. Refuses to match
detections (`edgeyolo.evaluate` does, for reports).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["OutputDeviation"]

Array = npt.NDArray[np.float32]
_CONFIDENT = 0.05  # rows below it say nothing of boxes, scores below it nothing of the agreement
_LEAST_SCORE = 1e-9  # where a score is 0 its logit is far from being of use
_BOX_WEIGHT = 5.0  # what boxes cost of the average precision, beside what scores cost


class OutputDeviation:
    """Compare outputs with the float model's.

    Columns of an output that stay within 0..1 are scores; others are coordinates. Logits of raw heads are
    put through a sigmoid first. The error adds up

    * the squared differences of the square roots of the scores (Hellinger's distance: small scores count, as
      they do in average precision, yet less than large ones), and
    * for every confident row five times ``score * (1 - IoU)^2`` where the coordinates are boxes, and the mean
      difference, in standard deviations of the column, in the place of ``1 - IoU`` where they are not,

    both over the sum of all scores. The square and the five are measured: with the steps of
    yolo-fastest-1.1 and its xl made 1.5, 2 and 3 times as coarse, what boxes alone lose of the average
    precision of 430 pictures is 2.7 to 3.7 times the mean of the squares (and 0.2 to 0.6 times that of
    ``1 - IoU``, the more the worse), what scores alone lose is 0.7 to 1.0 times Hellinger's distance.

    Args:
        reference: Outputs of the float model, one list an image.

    Examples:
        >>> scores = np.array([[[0.9, 0.0], [0.1, 0.4]]], np.float32)
        >>> error = OutputDeviation([[scores]])
        >>> error.of(0, [scores]), error.agreement([[scores * 0.5]])
        (0.0, 0.5)
    """

    def __init__(self, reference: Sequence[Sequence[Array]]) -> None:
        first = reference[0]
        tables = [[_table(array) for array in outputs] for outputs in reference]
        self._logits = [_is_logits(array, [t[i] for t in tables]) for i, array in enumerate(first)]
        tables = [self._squash(outputs) for outputs in tables]
        self._scores = [_score_columns([t[i] for t in tables]) for i in range(len(first))]
        self._spread = [_spread([t[i] for t in tables]) for i in range(len(first))]
        self._boxes = [_is_boxes([t[i] for t in tables]) for i in range(len(first))]
        self._reference = tables
        self._norm = max(sum(_score_sum(outputs, self._scores) for outputs in tables), 1e-12)

    def of(self, image: int, outputs: Sequence[Array]) -> float:
        """Give one image's share of the error; the shares of all images add up to the whole."""
        found = self._squash([_table(array) for array in outputs])
        known = self._reference[image]
        weights = self._row_weights(known)
        error = 0.0
        for index, (one, other) in enumerate(zip(known, found, strict=True)):
            scores = self._scores[index]
            a, b = one[:, scores], np.clip(other[:, scores], 0, 1)
            error += float(np.square(np.sqrt(a) - np.sqrt(b)).sum())
            weight = weights.get(len(one))
            if not scores.all() and weight is not None:
                rows = weight > _CONFIDENT
                off = self._coordinates_off(index, one[rows], other[rows])
                error += _BOX_WEIGHT * float((off**2 * weight[rows]).sum())
        return error / self._norm

    def gradient(self, reference: Sequence[Array], outputs: Sequence[Array]) -> list[Array]:
        """Differentiate an image's error by its outputs.

        Args:
            reference: What the float model gives for the image, which may be any.
            outputs: What is compared with it.

        Returns:
            One array an output, of its shape. The error is that of `of`, were the image one of those that
            were given, times their number.
        """
        known = self._squash([_table(array) for array in reference])
        found = self._squash([_table(array) for array in outputs])
        weights = self._row_weights(known)
        gradients = []
        for index, (one, other) in enumerate(zip(known, found, strict=True)):
            scores = self._scores[index]
            gradient = np.zeros_like(other)
            low = np.maximum(other[:, scores], _LEAST_SCORE)
            gradient[:, scores] = 1 - np.sqrt(one[:, scores] / low)
            weight = weights.get(len(one))
            if not scores.all() and weight is not None:
                rows = weight > _CONFIDENT
                off = self._coordinates_off(index, one[rows], other[rows])
                slope = self._coordinates_slope(index, one[rows], other[rows])
                gradient[rows] += 2 * _BOX_WEIGHT * (off * weight[rows])[:, None] * slope
            if self._logits[index]:
                gradient *= other * (1 - other)
            gradients.append(_untable(gradient * (len(self._reference) / self._norm), outputs[index]))
        return gradients

    def agreement(self, found: Sequence[Sequence[Array]]) -> float:
        """Give the share of all confident scores that both models agree on, 0..1.

        It is the sum of the smaller over the sum of the larger of each pair of scores, over all cells and
        classes where either is above 0.05: intersection over union, for scores.
        """
        both = either = 0.0
        for known, outputs in zip(self._reference, found, strict=True):
            tables = self._squash([_table(array) for array in outputs])
            for index, (one, other) in enumerate(zip(known, tables, strict=True)):
                scores = self._scores[index]
                a, b = one[:, scores], np.clip(other[:, scores], 0, 1)
                low, high = np.minimum(a, b), np.maximum(a, b)
                confident = high > _CONFIDENT
                both += float(low[confident].sum())
                either += float(high[confident].sum())
        return both / either if either else 1.0

    def _coordinates_off(self, index: int, one: Array, other: Array) -> npt.NDArray[np.float64]:
        """Give how far each row's coordinates are off, 0..1."""
        columns = ~self._scores[index]
        if self._boxes[index]:
            return 1 - _iou(one, other)
        off = np.abs(one - other)[:, columns] / self._spread[index][columns]
        return np.asarray(np.minimum(off.mean(axis=1), 1.0))

    def _coordinates_slope(self, index: int, one: Array, other: Array) -> Array:
        """Differentiate `_coordinates_off` by the columns of `other`; 0 for those that are scores."""
        if self._boxes[index]:
            return -_iou_slope(one, other)
        columns = ~self._scores[index]
        spread = self._spread[index]
        off = (np.abs(one - other) / spread)[:, columns].mean(axis=1)
        slope = np.sign(other - one) / spread / columns.sum() * columns
        return np.asarray(np.where(off[:, None] < 1, slope, 0), np.float32)

    def _row_weights(self, known: list[Array]) -> dict[int, Array]:
        """Give the best score of every row, by the number of rows: boxes and scores are often two outputs."""
        found: dict[int, Array] = {}
        for index, table in enumerate(known):
            scores = self._scores[index]
            if scores.any():
                found[len(table)] = table[:, scores].max(axis=1)
        return found

    def _squash(self, tables: list[Array]) -> list[Array]:
        return [
            _sigmoid(table) if logits else table for table, logits in zip(tables, self._logits, strict=True)
        ]


def _score_sum(tables: list[Array], scores: list[npt.NDArray[np.bool_]]) -> float:
    return sum(float(table[:, own].sum()) for table, own in zip(tables, scores, strict=True))


def _table(array: Array) -> Array:
    """Bring an output to rows (cells) and columns (what is said of a cell)."""
    if array.ndim == 4:  # a raw head, [B, A * (5 + C), h, w]
        return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def _untable(table: Array, like: Array) -> Array:
    """Undo `_table`."""
    if like.ndim == 4:
        batch, channels, height, width = like.shape
        table = np.moveaxis(table.reshape(batch, height, width, channels), -1, 1)
    return np.ascontiguousarray(table.reshape(like.shape), np.float32)


def _is_logits(array: Array, tables: list[Array]) -> bool:
    return array.ndim == 4 and any(table.min() < 0 or table.max() > 1 for table in tables)


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)


def _score_columns(tables: list[Array]) -> npt.NDArray[np.bool_]:
    low = np.min([table.min(axis=0) for table in tables], axis=0)
    high = np.max([table.max(axis=0) for table in tables], axis=0)
    return np.asarray((low >= 0) & (high <= 1))


def _is_boxes(tables: list[Array]) -> bool:
    """Tell whether every row is ``x0 y0 x1 y1``."""
    return all(
        table.shape[1] == 4 and bool((table[:, 2:] >= table[:, :2]).all()) and table.max() > 1
        for table in tables
    )


def _iou(one: Array, other: Array) -> npt.NDArray[np.float64]:
    """Give the IoU of each row of one with the same row of the other."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1, dtype=np.float64)
    areas = [np.clip(t[:, 2:] - t[:, :2], 0, None).prod(axis=1, dtype=np.float64) for t in (one, other)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-12))


def _iou_slope(one: Array, other: Array) -> Array:
    """Differentiate the IoU of each row by the four sides of `other`."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    sides = np.clip(high - low, 0, None).astype(np.float64)
    both = sides.prod(axis=1)
    own_sides = np.clip(other[:, 2:] - other[:, :2], 0, None).astype(np.float64)
    areas = np.clip(one[:, 2:] - one[:, :2], 0, None).prod(axis=1, dtype=np.float64) + own_sides.prod(axis=1)
    union = np.maximum(areas - both, 1e-12)[:, None]
    # A side that lies inside the other box bounds the intersection; every side bounds its own box.
    bounds = np.concatenate([other[:, :2] > one[:, :2], other[:, 2:] < one[:, 2:]], axis=1)
    sign = np.array([-1.0, -1.0, 1.0, 1.0])
    by_both = sign * bounds * np.tile(sides[:, ::-1], 2) * (both > 0)[:, None]
    by_own = sign * np.tile(own_sides[:, ::-1], 2)
    return np.asarray((by_both * (union + both[:, None]) - both[:, None] * by_own) / union**2, np.float32)


def _spread(tables: list[Array]) -> npt.NDArray[np.float64]:
    """Give each column's standard deviation, the unit of its error."""
    every = np.concatenate(tables)
    return np.asarray(np.maximum(every.std(axis=0, dtype=np.float64), 1e-6))
