"""The simulated GPU as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts import require_part
from tests.sim.cuda.simulator import SCHEDULES, Simulator, simulated_cuda

__all__ = ["cuda"]


@pytest.fixture(params=SCHEDULES)
def cuda(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Give a simulated GPU with the real pycuda on it, under each schedule in turn.

    The test fails when it ends with anything alive, any work queued, or any mistake noted that it did not
    `Simulator.expect`: leaks, abandoned work, another context's objects, overruns, pageable async copies.
    ``@pytest.mark.parametrize("cuda", ["lazy"], indirect=True)`` chooses other schedules.
    """
    require_part("cudasim")
    with simulated_cuda().running(request.param) as simulator:
        yield simulator
