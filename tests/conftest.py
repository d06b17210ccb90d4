"""Fixtures that every test may use; what a machine may lack is in `tests.parts`."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.parts import SHARED_DATA, require_part, required_parts
from tests.sim.cuda.fixtures import cuda

__all__ = ["cuda"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*parts): skip, with the reason, where a part is missing")
    required_parts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests, or one worker is left with them when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Spare the collector the thousands of tests: a test that asks for a collection waited 0.15 s for it."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            require_part(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data: COCO pictures, Darknet pairs, cfgs, videos."""
    require_part("shared-data")
    return SHARED_DATA
