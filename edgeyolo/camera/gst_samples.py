"""A picture out of GStreamer: an array, and the moment when it was taken.

Owns the one copy from GStreamer's memory and the arithmetic between its clock and ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeyolo.errors import SourceError
from edgeyolo.gstreamer import load_gst

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["captured_at_s", "image_from_sample", "size_of"]

_NS = 1e-9


def size_of(caps: Any) -> tuple[int, int] | None:
    """Give width and height of caps that have them."""
    structure = caps.get_structure(0)
    (has_width, width), (has_height, height) = structure.get_int("width"), structure.get_int("height")
    return (width, height) if has_width and has_height else None


def image_from_sample(sample: Any) -> npt.NDArray[np.uint8]:
    """Give the picture of a sample whose caps are ``video/x-raw,format=BGR``.

    Returns:
        Shape ``(H, W, 3)``, uint8, read-only: it is the copy that PyGObject makes, and a second one, to have
        an array that may be written, would cost five times as much as the first.

    Raises:
        SourceError: The buffer is not of the size that its caps promise.
    """
    import numpy as np

    width, height = size_of(sample.get_caps()) or (0, 0)
    stride = (
        (3 * width + 3) // 4 * 4
    )  # GStreamer, "Raw Video Media Types": rows begin at multiples of 4 bytes
    buffer = sample.get_buffer()
    mapped = buffer.map(load_gst().MapFlags.READ)
    # Where Debian's python3-gst-1.0 is installed `map` gives the memory alone, as a view that dies with it.
    memory = mapped[1] if isinstance(mapped, tuple) else mapped
    try:
        data = bytes(memory.data)
    finally:
        buffer.unmap(memory)
    if not height or len(data) < stride * height:
        raise SourceError(f"a picture of {width}x{height} has {stride * height} bytes, {len(data)} found")
    rows = np.frombuffer(data, np.uint8, stride * height).reshape(height, stride)
    return rows[:, : 3 * width].reshape(height, width, 3)


def captured_at_s(sample: Any, pipeline: Any) -> float:
    """Give the moment of a sample as ``time.monotonic()``.

    A live source stamps a picture when the driver or the network gives it; the stamp plus the pipeline's base
    time is a time of the pipeline's clock. What has no stamp, or one in the future as a pipeline that is not
    live has, counts as taken now.
    """
    gst = load_gst()
    now_s = time.monotonic()
    clock, segment, pts = pipeline.get_clock(), sample.get_segment(), sample.get_buffer().pts
    if clock is None or segment is None or pts == gst.CLOCK_TIME_NONE:
        return now_s
    running = segment.to_running_time(gst.Format.TIME, pts)
    if running == gst.CLOCK_TIME_NONE:
        return now_s
    age_s = (clock.get_time() - pipeline.get_base_time() - running) * _NS
    return now_s - max(float(age_s), 0.0)
