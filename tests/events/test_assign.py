"""The assignment against every possible one."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgeyolo.events.assign import best_pairs

_LEAST = 0.2
_shapes = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)
_tables = _shapes.flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0, 0.1, 0.3, 0.5, 0.95, 1]))
)


def _best_sum(profit: npt.NDArray[np.float64]) -> float:
    if profit.shape[0] > profit.shape[1]:
        profit = profit.T
    count, width = profit.shape
    return max(
        sum(profit[i, column] for i, column in enumerate(columns))
        for columns in itertools.permutations(range(width), count)
    )


@given(_tables)
def test_no_other_pairing_is_worth_more(likeness: npt.NDArray[np.float64]) -> None:
    pairs = best_pairs(likeness, _LEAST)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(likeness[pair] >= _LEAST for pair in pairs)
    reached = sum(likeness[pair] for pair in pairs)
    assert abs(reached - _best_sum(np.where(likeness >= _LEAST, likeness, 0))) < 1e-9


def test_a_crowd_in_which_a_greedy_choice_loses() -> None:
    """Everyone is most like his neighbour's box; whoever takes it leaves another one with nothing."""
    count = 60
    likeness = 0.9 * np.eye(count) + 0.91 * (np.eye(count, k=1) + np.eye(count, k=1 - count))
    assert best_pairs(likeness, _LEAST) == [(i, (i + 1) % count) for i in range(count)]
    likeness[-1, 0] = 0
    assert best_pairs(likeness, _LEAST) == [(i, i) for i in range(count)]  # 60 * 0.9 > 59 * 0.91
