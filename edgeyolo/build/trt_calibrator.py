"""Implicit INT8, up to TensorRT 10: our scales as a calibration cache, or TensorRT's own calibrator.

Owns the two calibrator classes, which exist only inside a function because their base exists only where
TensorRT does. TensorRT swallows what a callback raises and goes on with what it has, so errors are kept and
raised after the build, and batches are counted.
"""

from __future__ import annotations

from typing import Any

from edgeyolo.build.trt_options import DeviceFeed
from edgeyolo.errors import BuildError

__all__ = ["Calibration", "calibration_from_cache", "calibration_on_device"]


class Calibration:
    """What a calibrator was asked and what went wrong in it.

    Args:
        expected: Batches that TensorRT shall ask for; 0 where a cache answers.
    """

    def __init__(self, expected: int) -> None:
        self.calibrator: Any = None
        self.expected = expected
        self.seen = 0
        self.asked = False
        self.error: BaseException | None = None

    def check(self, version: str) -> None:
        """Raise what happened during the build; call it whether the build gave a plan or not.

        Raises:
            BuildError: The cache was not taken, or fewer batches were asked for than there are.
            BaseException: What a callback raised.
        """
        if self.error is not None:
            raise self.error
        if self.expected == 0 and self.asked:
            raise BuildError(
                f"TensorRT {version} did not take the calibration cache and asked for pictures instead",
                hint="build with Q/DQ nodes: leave --implicit out",
            )
        if self.seen < self.expected:
            raise BuildError(
                f"calibration on the device: {self.expected} batches expected, "
                f"TensorRT {version} took {self.seen}",
                hint="calibrate with edgeyolo calibrate, then --calibration DIR",
            )


def calibration_from_cache(trt: Any, cache: bytes) -> Calibration:
    """Make a calibrator that answers with a cache and has no pictures.

    Args:
        trt: The module ``tensorrt``.
        cache: Its content; the first line names the running version.
    """
    state = Calibration(expected=0)

    class CacheCalibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # up to TensorRT 10
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            state.asked = True
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:
            """Keep nothing: TensorRT wants the method, and nobody reads what it found."""

    state.calibrator = CacheCalibrator()
    return state


def calibration_on_device(trt: Any, feed: DeviceFeed) -> Calibration:
    """Make a calibrator that runs the user's pictures through the network on the board.

    Args:
        trt: The module ``tensorrt``.
        feed: Gives the batches.
    """
    state = Calibration(expected=feed.batches)

    class PictureCalibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # up to TensorRT 10
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1  # with an explicit batch the size is the profile's (NVIDIA/TensorRT issue 289)

        def get_batch(self, names: list[str]) -> list[int] | None:
            state.asked = True
            try:
                address = feed.next()
            except BaseException as exc:  # noqa: BLE001 - TensorRT would swallow it; `check` raises it
                state.error = exc
                return None
            if address is None:
                return None
            state.seen += 1
            return [address]

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: Any) -> None:
            """Keep nothing: TensorRT wants the method, and nobody reads what it found."""

    state.calibrator = PictureCalibrator()
    return state
