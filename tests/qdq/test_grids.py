"""The grid of a uint8 tensor: 0 is exact, both ends are held, no step is finer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.qdq.grids import Grid

magnitudes = st.floats(1e-6, 1e6)


@given(low=st.one_of(st.just(0.0), magnitudes.map(lambda x: -x)), high=magnitudes)
def test_a_grid_holds_its_range_and_is_about_as_fine_as_256_codes_allow(low: float, high: float) -> None:
    grid = Grid.uint8(low, high)
    assert grid.unsigned
    assert 0 <= grid.zero <= 255
    step = grid.step
    assert -grid.zero * step <= low * (1 - 1e-9) or (grid.zero == 0 and -low <= step / 2 * (1 + 1e-6))
    assert (255 - grid.zero) * step >= high * (1 - 1e-9)
    assert 0.99 < 255 * step / (high - low) < 1.01
