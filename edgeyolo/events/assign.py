"""Which of these belongs to which of those: the pairs whose likeness adds up to the most.

Owns the exact solution, without SciPy: a Jetson's Python has none, and most pairs of a frame are no question.
Refuses to know what likeness is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["best_pairs"]


def best_pairs(likeness: npt.NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pair rows with columns, each at most once, so that the sum of likeness is the greatest.

    Args:
        likeness: Shape ``(N, M)``, 0 or more.
        least: A pair below this is none; above 0.

    Returns:
        Pairs of row and column, in the order of rows.

    Examples:
        >>> best_pairs(np.array([[0.9, 0.8], [0.8, 0.1]]), 0.2)
        [(0, 1), (1, 0)]
    """
    profit = np.where(likeness >= least, likeness, 0.0)
    rows, columns = np.nonzero(profit)
    in_row = np.bincount(rows, minlength=profit.shape[0])
    in_column = np.bincount(columns, minlength=profit.shape[1])
    alone = (in_row[rows] == 1) & (in_column[columns] == 1)
    pairs = list(zip(rows[alone].tolist(), columns[alone].tolist(), strict=True))
    if not alone.all():
        open_rows, open_columns = np.unique(rows[~alone]), np.unique(columns[~alone])
        block = profit[np.ix_(open_rows, open_columns)]
        for i, j in _solve(-block) if block.shape[0] <= block.shape[1] else _swapped(_solve(-block.T)):
            if block[i, j] > 0:
                pairs.append((int(open_rows[i]), int(open_columns[j])))
    return sorted(pairs)


def _swapped(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(i, j) for j, i in pairs]


def _solve(cost: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Give every row a column of its own at the least sum of costs; not more rows than columns.

    A row after the other finds the cheapest way to a free column, on which those before it may have to move.

    Source:
        Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
        problems", 1987, the augmentation alone.
    """
    count, width = cost.shape
    row_price, column_price = np.zeros(count), np.zeros(width)
    owner = np.full(width, -1)
    for start in range(count):
        shortest = np.full(width, np.inf)
        reached_from = np.full(width, -1)
        done = np.zeros(width, np.bool_)
        row, last, length = start, -1, 0.0
        while row >= 0:
            through = length + cost[row] - row_price[row] - column_price
            nearer = ~done & (through < shortest)
            shortest[nearer] = through[nearer]
            reached_from[nearer] = last
            last = int(np.where(done, np.inf, shortest).argmin())
            length = float(shortest[last])
            done[last] = True
            row = int(owner[last])
        row_price[start] += length
        passed = done.copy()
        passed[last] = False
        slack = length - shortest[passed]
        column_price[passed] -= slack
        row_price[owner[passed]] += slack
        while last >= 0:  # everyone on the way moves on by one
            previous = int(reached_from[last])
            owner[last] = owner[previous] if previous >= 0 else start
            last = previous
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)
