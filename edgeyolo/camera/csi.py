"""A camera at a Jetson's CSI connector: ``csi://0``.

Source: NVIDIA, "Accelerated GStreamer", sections on nvarguscamerasrc and nvvidconv.
"""

from __future__ import annotations

from fractions import Fraction

from edgeyolo.camera.address import STALL_TIMEOUT_S, Address
from edgeyolo.camera.live_source import LiveSource
from edgeyolo.camera.pipelines import Recipe, csi_text
from edgeyolo.errors import SourceOpenError

__all__ = ["CsiSource"]

# A mode that NVIDIA's own sensors have, and as many pixels as detectors want.
_SIZE_WH, _FPS = (1280, 720), 30.0


class CsiSource(LiveSource):
    """A `edgeyolo.frames.Source` of a sensor that NVIDIA's Argus drives; GStreamer alone can read it."""

    elements = ("nvarguscamerasrc", "nvvidconv", "appsink", "videoconvert")

    def __init__(self, address: Address, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        super().__init__(address, stall_timeout_s=stall_timeout_s)
        if not address.location.isdecimal():
            raise SourceOpenError(f"{address.name}: csi://N expected, N the number of the sensor from 0")
        if address.options.backend == "opencv":
            raise SourceOpenError(f"{address.name}: backend=opencv cannot read a CSI camera")

    def recipe(self) -> Recipe:
        """Give the size and rate that were asked for; Argus chooses the sensor's mode that holds them."""
        options = self.address.options
        size = options.width or _SIZE_WH[0], options.height or _SIZE_WH[1]
        fps = Fraction(options.fps or _FPS).limit_denominator(1001)
        return Recipe(
            text=csi_text(size, f"{fps.numerator}/{fps.denominator}", options.flip),
            source={"sensor-id": int(self.address.location)},
            notes=(f"{size[0]}x{size[1]} at {float(fps):g} FPS by NVIDIA's image processor",),
        )
