"""Which of a USB camera's modes is taken.

Owns the choice: what was asked for or a refusal that lists what there is; else a size near 1280x720, fast,
and MJPG before raw pixels, of which USB 2 carries ten a second at that size.
"""

from __future__ import annotations

import math

from edgeyolo.camera.address import Options
from edgeyolo.camera.v4l2 import Mode, VideoDevice
from edgeyolo.errors import SourceRefusedError

__all__ = ["MEDIA", "choose_mode"]

MEDIA = {
    "MJPG": "image/jpeg",
    "JPEG": "image/jpeg",
    "YUYV": "video/x-raw,format=YUY2",
    "UYVY": "video/x-raw,format=UYVY",
    "NV12": "video/x-raw,format=NV12",
    "YU12": "video/x-raw,format=I420",
    "BGR3": "video/x-raw,format=BGR",
    "RGB3": "video/x-raw,format=RGB",
    "GREY": "video/x-raw,format=GRAY8",
}
"""Pixel formats that are read, the best first, and their caps. A sensor's raw mosaic is not among them."""

_ENOUGH_FPS = 24
_AREA = 1280 * 720
_SAME_RATE = 0.01  # 30000/1001 is what cameras mean by 30


def choose_mode(device: VideoDevice, options: Options, *, name: str) -> Mode:
    """Choose.

    Args:
        device: The camera.
        options: Of the address.
        name: The source's printable name.

    Raises:
        SourceRefusedError: The camera has nothing of the kind.
    """
    readable = [mode for mode in device.modes if mode.fourcc in MEDIA]
    fitting = [mode for mode in readable if _fits(mode, options)]
    if not fitting:
        asked = [
            f"{key}={getattr(options, key):g}" for key in ("width", "height", "fps") if getattr(options, key)
        ]
        raise SourceRefusedError(
            f"{name}: {' '.join(asked) or 'a picture that is no raw mosaic'} expected, "
            f"the camera ({device.card}) has {'; '.join(device.formats()) or 'no formats'}",
            hint="one of these as ?width=..&height=..&fps=.." if readable else "a CSI camera is csi://0",
        )
    return min(fitting, key=lambda mode: _worth(mode, options))


def _fits(mode: Mode, options: Options) -> bool:
    width, height = mode.size_wh
    return (
        options.width in (None, width)
        and options.height in (None, height)
        and (options.fps is None or abs(float(mode.fps) / options.fps - 1) <= _SAME_RATE)
    )


def _worth(mode: Mode, options: Options) -> tuple[object, ...]:
    slow = options.fps is None and mode.fps < _ENOUGH_FPS
    distance = abs(math.log(mode.size_wh[0] * mode.size_wh[1] / _AREA))
    return slow, distance, [*MEDIA].index(mode.fourcc), abs(float(mode.fps) - (options.fps or 30))
