"""The simulator's own promises: what a test leaves behind is told, and nothing of it outlives the test."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts import require_part
from tests.sim.cuda.simulator import SCHEDULES, DeviceMemory, Report, Simulator, simulated_cuda

lazy = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


@pytest.fixture
def simulator() -> Simulator:
    require_part("cudasim")
    return simulated_cuda()


@pytest.mark.parametrize("current", [True, False])
def test_what_is_left_behind_fails_the_test(simulator: Simulator, current: bool) -> None:
    kept = []

    def forgetful() -> None:
        import pycuda.driver as drv

        drv.init()
        context = drv.Device(0).make_context()
        kept.extend([drv.Stream(), drv.mem_alloc(4), context])
        if not current:
            context.pop()

    with pytest.raises(AssertionError, match="1 contexts still alive\n  1 device still alive\n  1 streams"):
        _run(simulator, forgetful)

    def next_test() -> None:
        assert not any(simulator.live().values())
        kept.clear()  # pycuda frees in a context that is no more

    _run(simulator, next_test)


def test_a_mistake_fails_the_test_unless_it_was_expected(simulator: Simulator) -> None:
    with pytest.raises(AssertionError, match="made_up: a mistake"):
        _run(simulator, lambda: simulator.note("made_up", "a mistake"))

    def expected() -> None:
        simulator.expect("made_up")
        simulator.note("made_up", "a mistake")

    _run(simulator, expected)


def test_an_exception_in_device_work_fails_the_test(simulator: Simulator) -> None:
    def wrong(memory: DeviceMemory) -> None:
        raise ZeroDivisionError("from the work")

    def test() -> None:
        import pycuda.driver as drv

        drv.init()
        context = drv.Device(0).make_context()
        simulator.enqueue(0, "wrong", wrong)
        with pytest.raises(drv.LaunchError, match="unspecified launch failure"):
            context.synchronize()
        context.pop()
        context.detach()

    with pytest.raises(AssertionError, match="ZeroDivisionError: from the work"):
        _run(simulator, test)


def test_outside_a_test_there_is_no_pycuda_and_no_gpu(simulator: Simulator) -> None:
    before = importlib.util.find_spec("pycuda")
    with simulator.running():
        import pycuda.driver

        assert Path(pycuda.driver.__file__).is_relative_to(simulator.site)
    assert importlib.util.find_spec("pycuda") == before
    assert not [name for name in sys.modules if name.startswith("pycuda")]
    assert simulator.library.cuInit(0) == 100  # CUDA_ERROR_NO_DEVICE


def _run(simulator: Simulator, test: Callable[[], None]) -> None:
    with simulator.running():
        test()


def test_a_schedule_must_be_known(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="'soon': lazy, eager or random:SEED expected"):
        simulator.set_schedule("soon")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_process_of_its_own_leaves_a_report(simulator: Simulator, tmp_path: Path, schedule: str) -> None:
    code = (
        "import pycuda.driver as drv; drv.init(); context = drv.Device(0).make_context();"
        "buffer = drv.mem_alloc(16); drv.memset_d32(int(buffer), 1, 4); context.synchronize();"
        "context.pop(); context.detach()"
    )
    environment = simulator.environment(schedule, report=tmp_path / "report")
    environment["CUSIM_TRACE"] = str(tmp_path / "trace")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    report = Report.parse((tmp_path / "report").read_text())
    assert report.calls["cuMemAlloc"] == 1
    assert report.noted("leaked") == ["device allocation 2 of 16 bytes"]
    assert not report.noted("abandoned")
    trace = (tmp_path / "trace").read_text().splitlines()
    assert trace.index("cuMemAlloc") < trace.index("cuMemsetD32") < trace.index("    ran Memset -> 0")
