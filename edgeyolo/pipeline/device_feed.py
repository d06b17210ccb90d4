"""Pictures for TensorRT's own calibrator: through our preprocess into device memory, counted.

Owns the join of calibration pictures and the GPU for ``build --calibrate-on-device``. Refuses to calibrate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.calibrate.check import check
from edgeyolo.calibrate.feed import Feed
from edgeyolo.calibrate.gather import gather
from edgeyolo.errors import CalibrationError, GraphError
from edgeyolo.graph.onnx_file import read_onnx
from edgeyolo.runtime.cuda import Device
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PictureFeed", "device_feed"]

_DEFAULT_BATCH = 8  # where the model leaves it open


class PictureFeed:
    """A `edgeyolo.build.DeviceFeed` of pictures.

    Args:
        device: The GPU.
        feed: The pictures; a last batch that is not full is left out.
        shape: Channels, height and width.
    """

    def __init__(self, device: Device, feed: Feed, shape: tuple[int, int, int]) -> None:
        self.batch = feed.batch
        self.batches = len(feed.manifest) // feed.batch
        self._device = device
        self._tensors: Iterator[npt.NDArray[np.float32]] = iter(feed)
        with device:
            self._buffer = device.buffer((feed.batch, *shape))
            self._queue = device.queue()

    def next(self) -> int | None:
        """Upload the next batch and give its address; None after the last."""
        tensor = next(self._tensors, None)
        if tensor is None or len(tensor) < self.batch:
            return None
        self._buffer.array[...] = tensor
        with self._device:
            self._buffer.upload(self._queue, self.batch)
            self._queue.mark()
            self._queue.wait()
        return self._buffer.address


@contextlib.contextmanager
def device_feed(model: Path, images: str, limit: int | None) -> Iterator[PictureFeed]:
    """Open the GPU and the pictures of a model.

    Args:
        model: Its metadata say preprocess, input size and batch.
        images: What ``edgeyolo calibrate`` takes.
        limit: Most pictures.

    Raises:
        GraphError: The model has no ``edgeyolo.*`` metadata.
        CalibrationError: No picture can be used, or fewer than one batch.
        MissingDependencyError: PyCUDA or a GPU is absent.
    """
    metadata = {entry.key: entry.value for entry in read_onnx(model).metadata_props}
    spec = ModelSpec.from_metadata(metadata)
    if spec is None:
        raise GraphError(f"{model}: edgeyolo.* metadata expected, none found", hint="edgeyolo convert")
    manifest = check(gather(images), limit=limit).manifest
    batch = spec.batch or min(_DEFAULT_BATCH, len(manifest))
    if len(manifest) < batch:
        raise CalibrationError(f"{images}: {batch} pictures for one batch expected, {len(manifest)} found")
    width, height = spec.input_wh
    channels = 1 if spec.preprocess.channels == "gray" else 3
    device = Device(str(model))
    try:
        feed = Feed(manifest, spec.preprocess, spec.input_wh, batch=batch)
        with device:  # the builder shall work in the context that the pictures lie in
            yield PictureFeed(device, feed, (channels, height, width))
    finally:
        device.close()
