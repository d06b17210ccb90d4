"""Polygons and segments against shapely (GEOS), and properties that hold for any of them."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeyolo.vision.polygons import (
    border_distance,
    contains,
    crossings,
    self_touching,
    share_inside,
    side_of_line,
)
from tests.parts import require_part

require_part("shapely")
geometry = importlib.import_module("shapely.geometry")

# A grid makes touching, level and repeated things as likely as they are in files drawn by hand.
_grid = st.integers(0, 12).map(float)
_point = st.tuples(_grid, _grid)
_corners = st.lists(_point, min_size=3, max_size=8, unique=True)
_fine = st.floats(-3, 15).filter(lambda value: abs(value) > 1e-6 or value == 0)


@given(_corners)
def test_self_touching_is_what_geos_calls_invalid(corners: list[tuple[float, float]]) -> None:
    polygon = geometry.Polygon(corners)
    assert (self_touching(corners) is None) == (polygon.is_valid and polygon.area > 0)


@given(_corners, st.integers(0, 6))
def test_a_corner_that_comes_twice_is_found(corners: list[tuple[float, float]], place: int) -> None:
    place %= len(corners)
    assert self_touching([*corners[:place], corners[place], *corners[place:]]) is not None


@given(_corners, st.lists(st.tuples(_fine, _fine), min_size=1, max_size=5))
def test_inside_and_distance(corners: list[tuple[float, float]], points: list[tuple[float, float]]) -> None:
    assume(self_touching(corners) is None)
    polygon, real = np.array(corners), geometry.Polygon(corners)
    inside, distance = contains(polygon, np.array(points)), border_distance(polygon, np.array(points))
    for place, point in enumerate(map(geometry.Point, points)):
        assert distance[place] == pytest.approx(real.exterior.distance(point), abs=1e-9)
        if distance[place] > 1e-9:
            assert inside[place] == real.contains(point)


@given(_corners, st.tuples(_fine, _fine, st.floats(0.1, 9), st.floats(0.1, 9)))
def test_share_of_a_box(corners: list[tuple[float, float]], box: tuple[float, float, float, float]) -> None:
    assume(self_touching(corners) is None)
    x, y, w, h = box
    real = geometry.Polygon(corners).intersection(geometry.box(x, y, x + w, y + h)).area / (w * h)
    assert share_inside(np.array(corners), (x, y, x + w, y + h)) == pytest.approx(real, abs=1e-9)


def test_a_box_without_area_is_nowhere() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float64)
    assert share_inside(square, (1, 1, 1, 2)) == 0
    assert share_inside(square, (float("nan"), 1, 2, 2)) == 0


@given(st.lists(st.tuples(_grid, _grid), min_size=1, max_size=6, unique=True), _point)
def test_two_zones_that_share_an_edge_share_nobody(
    points: list[tuple[float, float]], middle: tuple[float, float]
) -> None:
    x = middle[0]
    left = np.array([[-1, -1], [x, -1], [x, 13], [-1, 13]], np.float64)
    right = np.array([[x, -1], [13, -1], [13, 13], [x, 13]], np.float64)
    both = contains(left, np.array(points)).astype(int) + contains(right, np.array(points))
    assert (both == 1).all()


@given(_point, _point, st.lists(st.tuples(_fine, _fine), min_size=2, max_size=8))
def test_a_path_crosses_as_often_as_geos_says(
    a: tuple[float, float], b: tuple[float, float], path: list[tuple[float, float]]
) -> None:
    assume(a != b)
    points = np.array(path)
    line = geometry.LineString([a, b])
    clear = all(line.distance(geometry.Point(p)) > 1e-6 for p in path)
    steps = [geometry.LineString([p, q]) for p, q in itertools.pairwise(path) if p != q]
    clear = clear and all(step.distance(geometry.Point(end)) > 1e-6 for step in steps for end in (a, b))
    assume(clear and len(steps) == len(path) - 1)
    # Nothing of the path lies on the endless line's part that the segment is not.
    assume((np.abs(side_of_line(a, b, points)) > 1e-6).all())
    found = crossings(a, b, points[:-1], points[1:])
    assert [abs(k) for k in found.tolist()] == [int(step.crosses(line)) for step in steps]
    for k, p, q in zip(found.tolist(), path[:-1], path[1:], strict=True):
        if k:
            turn = (b[0] - a[0]) * (q[1] - p[1]) - (b[1] - a[1]) * (q[0] - p[0])
            assert k == (1 if turn > 0 else -1)


@given(st.lists(st.tuples(_grid, st.just(5.0)), min_size=2, max_size=12))
def test_steps_that_end_on_the_line_lose_and_double_nothing(path: list[tuple[float, float]]) -> None:
    """The sum of crossings is the change of side, also where sights are exactly on the line."""
    points = np.array(path)
    total = int(crossings((6, 12), (6, 0), points[:-1], points[1:]).sum())  # looking up: right is x >= 6
    assert total == int(points[-1, 0] >= 6) - int(points[0, 0] >= 6)


def test_left_and_right_are_those_of_one_who_looks_from_a_to_b() -> None:
    for a, b, left in (((0, 9), (0, 0), (-3, 4)), ((0, 0), (9, 0), (4, -3)), ((9, 0), (0, 0), (4, 3))):
        assert side_of_line(a, b, np.array([left], np.float64))[0] == -3
