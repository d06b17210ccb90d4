"""Asking the driver: the same answer as PyCUDA's, and a clause for each way in which there is none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from edgeyolo.gpu import find_gpu
from tests.sim.cuda.fixtures import cuda
from tests.sim.cuda.simulator import Simulator

__all__ = ["cuda"]

lazily = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)


@lazily
def test_it_says_what_pycuda_says(cuda: Simulator) -> None:
    gpu, found = find_gpu()
    import pycuda.driver as drv

    drv.init()
    device = drv.Device(0)
    assert gpu is not None
    assert (gpu.name, gpu.sm) == (device.name(), device.compute_capability())
    assert gpu.memory_mib == device.total_memory() >> 20
    assert gpu.integrated == bool(device.get_attribute(drv.device_attribute.INTEGRATED))
    assert gpu.cuda == (drv.get_driver_version() // 1000, drv.get_driver_version() % 1000 // 10)
    assert found.startswith(f"{gpu.name} (SM ")


DRIVER = """
int cuInit(unsigned flags) { return %(init)s; }
int cuDeviceGetCount(int *count) { *count = %(count)s; return 0; }
int cuGetErrorName(int code, const char **name) {
  *name = "CUDA_ERROR_NO_DEVICE";
  return code == 100 ? 0 : 1;
}
"""


@pytest.mark.parametrize(
    ("init", "count", "words"),
    [
        ("100", "0", "does not answer: cuInit gives CUDA_ERROR_NO_DEVICE"),
        ("999", "0", "does not answer: cuInit gives error 999"),
        ("0", "0", "finds no device"),
        ("0", "1", "lacks a function: .*cuDeviceGet"),
    ],
)
def test_drivers_that_give_none(init: str, count: str, words: str, tmp_path: Path) -> None:
    source, library = tmp_path / "d.c", tmp_path / f"lib{init}{count}.so"
    source.write_text(DRIVER % {"init": init, "count": count})
    try:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except OSError as exc:
        pytest.skip(f"gcc is not here: {exc}")
    gpu, found = find_gpu(str(library))
    assert gpu is None
    assert re.search(words, found)
