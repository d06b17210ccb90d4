"""Implicit INT8: the order of callbacks, what is swallowed, which cache is taken."""

from __future__ import annotations

import struct
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.sim.tensorrt import graphs

pytestmark = pytest.mark.parametrize("tensorrt", ["8.6", "10.3", "10.16"], indirect=True)
_NUMBERS = {"8.6": 8601, "10.3": 100300, "10.16": 101601}


@pytest.fixture
def calibrator(tensorrt: ModuleType) -> Any:
    """Give a calibrator class: batches in, what TensorRT wrote out."""
    device = tensorrt.__simulation__.device

    class Calibrator(tensorrt.IInt8EntropyCalibrator2):
        def __init__(self, batches: Any = (), cache: Any = None, fails_at: int = -1) -> None:
            tensorrt.IInt8EntropyCalibrator2.__init__(self)
            self.batches, self.cache, self.fails_at = list(batches), cache, fails_at
            self.asked, self.written = 0, None
            self.address = device.allocate(4 * 3 * 8 * 8)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            assert names == ["x"]
            self.asked += 1
            if self.asked - 1 == self.fails_at:
                raise OSError("the picture is gone")
            if not self.batches:
                return None
            device.view(1, self.address, 4 * 192).view(np.float32)[:] = self.batches.pop(0)
            return [self.address]

        def read_calibration_cache(self) -> Any:
            return self.cache

        def write_calibration_cache(self, cache: Any) -> None:
            self.written = bytes(cache)

    return Calibrator


def _int8(tensorrt: ModuleType, calibrator: Any) -> Any:
    def change(builder: Any, config: Any) -> None:
        config.set_flag(tensorrt.BuilderFlag.INT8)
        config.int8_calibrator = calibrator

    return change


def _cache(
    tensorrt: ModuleType, *, number: int | None = None, algorithm: str = "EntropyCalibration2"
) -> bytes:
    number = number or _NUMBERS[tensorrt.__simulation__.generation]
    lines = [f"TRT-{number}-{algorithm}", *(f"{name}: 3c010a14" for name in "xcy")]
    return "\n".join(lines).encode()


def test_batches_become_scales_and_a_cache(tensorrt: ModuleType, built: Any, calibrator: Any) -> None:
    mine = calibrator([0.5, -2.54, 1.0])
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert mine.asked == 4
    head, first, *_ = mine.written.decode().splitlines()
    assert head == f"TRT-{_NUMBERS[tensorrt.__simulation__.generation]}-EntropyCalibration2"
    assert first == f"x: {struct.pack('>f', 2.54 / 127).hex()}"
    assert tensorrt.__simulation__.builds[-1]["layers"][0]["precision"] == "INT8"


def test_an_exception_ends_the_calibration_quietly(
    tensorrt: ModuleType, built: Any, calibrator: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = calibrator([0.5, 4.0], fails_at=1)
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert f"x: {struct.pack('>f', 0.5 / 127).hex()}" in mine.written.decode()
    assert "Exception caught in get_batch(): OSError: the picture is gone" in capsys.readouterr().err
    assert [type(exc) for exc in tensorrt.__simulation__.swallowed] == [OSError]


def test_no_batch_at_all_is_no_plan(tensorrt: ModuleType, built: Any, calibrator: Any, errors: Any) -> None:
    assert built(graphs.conv(), _int8(tensorrt, calibrator())) is None
    assert "no scaling factors detected" in errors()


def test_a_cache_that_fits_is_taken_instead(tensorrt: ModuleType, built: Any, calibrator: Any) -> None:
    mine = calibrator([1.0], cache=_cache(tensorrt))
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert mine.asked == 0
    assert mine.written is None
    assert tensorrt.__simulation__.builds[-1]["scales"]["c"] == pytest.approx(0.007875938)


@pytest.mark.parametrize("changes", [{"number": 7103}, {"algorithm": "MinMaxCalibration"}])
def test_a_foreign_cache_is_refused(
    tensorrt: ModuleType, built: Any, calibrator: Any, errors: Any, changes: dict[str, Any]
) -> None:
    mine = calibrator([1.0], cache=_cache(tensorrt, **changes))
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert mine.asked == 2
    assert "Calibration table does not match" in errors()


def test_within_eight_a_header_passes_from_eight_to_ten_not(
    tensorrt: ModuleType, built: Any, calibrator: Any
) -> None:
    mine = calibrator([1.0], cache=_cache(tensorrt, number=8502))
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert (mine.asked == 0) == tensorrt.__version__.startswith("8")


def test_a_text_is_no_cache(tensorrt: ModuleType, built: Any, calibrator: Any) -> None:
    mine = calibrator([1.0], cache=_cache(tensorrt).decode())
    assert built(graphs.conv(), _int8(tensorrt, mine)) is not None
    assert mine.asked == 2
    assert [type(exc) for exc in tensorrt.__simulation__.swallowed] == [TypeError]


def test_a_tensor_the_cache_does_not_have_is_warned_of(
    tensorrt: ModuleType, built: Any, calibrator: Any
) -> None:
    cache = _cache(tensorrt).replace(b"\nc: 3c010a14", b"")
    assert built(graphs.conv(), _int8(tensorrt, calibrator(cache=cache))) is not None
    warned = [text for severity, text in tensorrt.__simulation__.messages if severity == "WARNING"]
    assert any("Missing scale and zero-point for tensor c" in text for text in warned)


def test_a_calibrator_beside_qdq_is_not_used(tensorrt: ModuleType, built: Any, calibrator: Any) -> None:
    mine = calibrator([1.0])
    assert built(graphs.quantized(), _int8(tensorrt, mine)) is not None
    assert mine.asked == 0


def test_freed_memory_in_a_batch(tensorrt: ModuleType, built: Any, calibrator: Any, errors: Any) -> None:
    class Freed(calibrator):
        def get_batch(self, names: list[str]) -> list[int]:
            return [self.address + 4]

    assert built(graphs.conv(), _int8(tensorrt, Freed())) is None
    assert "illegal memory access" in errors()


def test_nothing_to_calibrate_with(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    assert built(graphs.conv(), lambda _, c: c.set_flag(tensorrt.BuilderFlag.INT8)) is None
    assert "no scaling factors" in errors()
