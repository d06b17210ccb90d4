"""pycuda with a current context on the simulated driver, each way in which a program can come by one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts import require_part
from tests.sim.cuda.simulator import Simulator, simulated_cuda


@pytest.fixture
def drv(cuda: Simulator) -> Any:
    """Give ``pycuda.driver``, initialised, no context."""
    import pycuda.driver

    pycuda.driver.init()
    return pycuda.driver


@pytest.fixture
def gpu(drv: Any) -> Iterator[Any]:
    """Give ``pycuda.driver`` with the primary context current in this thread."""
    context = drv.Device(0).retain_primary_context()
    context.push()
    yield drv
    gc.collect()
    context.pop()
    context.detach()


@pytest.fixture
def simulated_process() -> dict[str, str]:
    """Give the environment of a process of its own that finds the simulated driver and pycuda."""
    require_part("cudasim")
    return simulated_cuda().environment()
