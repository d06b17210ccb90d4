"""Looks at pictures: which they are, that they are the same each time, and what a part is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeyolo.calibrate.looks import EachLook, Looks, endless_looks

PICTURES = [
    np.arange(3 * 20 * 30, dtype=np.float32).reshape(1, 3, 20, 30) + 10_000 * place for place in range(3)
]


def test_first_the_pictures_then_these_mirrored_then_parts() -> None:
    looks = Looks(PICTURES, 8)
    assert len(looks) == len(list(looks)) == 8
    for place, picture in enumerate(PICTURES):
        assert np.array_equal(looks[place], picture)
        assert np.array_equal(looks[3 + place], picture[..., ::-1])
    assert all(look.shape == (1, 3, 20, 30) and look.flags.c_contiguous for look in looks)


def test_a_part_is_made_of_the_pixels_of_a_smaller_window_in_their_order() -> None:
    part = Looks(PICTURES, 8)[6]
    assert np.isin(part, PICTURES[0]).all()
    row, column = part[0, 0, :, 0], part[0, 0, 0]
    assert (np.diff(row) >= 0).all()
    assert (np.diff(column) >= 0).all()
    assert 20 / 1.6 - 1 <= len(np.unique(row)) < 20
    assert 30 / 1.6 - 1 <= len(np.unique(column)) < 30


def test_every_picture_at_least_once_and_nothing_beyond() -> None:
    looks = Looks(PICTURES, 0)
    assert len(looks) == 3
    assert np.array_equal(looks[-1], PICTURES[-1])
    assert [look.shape for look in looks[1:]] == [(1, 3, 20, 30)] * 2
    with pytest.raises(IndexError):
        looks[3]


def test_each_picture_in_several_ways_in_turn() -> None:
    looks = EachLook(iter(PICTURES), 3)
    assert [int(look.min() // 10_000) for look in looks] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    first, mirrored, part = list(EachLook(PICTURES, 3))[3:6]
    assert np.array_equal(first, PICTURES[1])
    assert np.array_equal(mirrored, PICTURES[1][..., ::-1])
    assert np.isin(part, PICTURES[1]).all()
    assert not np.array_equal(part, PICTURES[1])


def test_the_same_pictures_are_looked_at_in_the_same_ways() -> None:
    for one, other in zip(Looks(PICTURES, 12), Looks(PICTURES, 12), strict=True):
        assert np.array_equal(one, other)
    first, second = (list(itertools.islice(endless_looks(PICTURES), 24)) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    as_they_are = sum(any(np.array_equal(look, picture) for picture in PICTURES) for look in first)
    assert as_they_are == 6  # a quarter; the others are mirrored, parts, or both
