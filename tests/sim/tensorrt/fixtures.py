"""The fixture `tensorrt`: the module of every generation in turn, where ``import tensorrt`` finds it.

Import it where it is used (``from tests.sim.tensorrt.fixtures import tensorrt``), and choose generations with
``@pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)``. A test ends without misuse: what the real
library leaves undefined. Where the test uses the fixture ``cuda`` too, memory and streams are the driver's.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.sim.tensorrt import GENERATIONS, DriverDevice, HostDevice, simulated_tensorrt

__all__ = ["tensorrt"]


@pytest.fixture(params=GENERATIONS)
def tensorrt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give the module; ``tensorrt.__simulation__`` is the handle on it."""
    device = DriverDevice(request.getfixturevalue("cuda")) if "cuda" in request.fixturenames else HostDevice()
    module = simulated_tensorrt(request.param, device=device)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    yield module
    gc.collect()
    assert module.__simulation__.misuse == []
