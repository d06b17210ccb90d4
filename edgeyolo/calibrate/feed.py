"""Calibration tensors: a manifest's pictures through the preprocess that `run` uses, ready when wanted.

Owns batching and prefetch. Refuses to know a second way from pixels to tensor: it calls
`edgeyolo.vision.preprocess.Preprocessor`, which `edgeyolo.runtime` calls too.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.calibrate.pictures import iter_pictures
from edgeyolo.vision.preprocess import Preprocessor

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.calibrate.manifest import Manifest
    from edgeyolo.spec import Preprocess

__all__ = ["Feed", "Spread"]

_POLL_S = 0.1


class Feed:
    """Gives the tensors of a manifest in its order, as often as it is iterated.

    One thread reads ahead by `ahead` batches, so reading costs no time beside the forward passes, and memory
    is ``ahead + 2`` batches whatever the number of pictures. Each batch is memory of its own: a consumer may
    keep it.

    Args:
        manifest: Which pictures.
        preprocess: What the model wants.
        input_wh: Width and height of the network input, pixels.
        batch: Pictures a batch; the last one may be smaller.
        ahead: Batches that wait.
    """

    def __init__(
        self,
        manifest: Manifest,
        preprocess: Preprocess,
        input_wh: tuple[int, int],
        *,
        batch: int = 1,
        ahead: int = 2,
    ) -> None:
        if batch < 1 or ahead < 1:
            raise ValueError(f"batch and ahead: 1 or more expected, {batch} and {ahead} found")
        self.manifest = manifest
        self.batch = batch
        self._preprocess = preprocess
        self._input_wh = input_wh
        self._ahead = ahead

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.manifest) // self.batch)

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        """Give batches, shape ``(B, C, H, W)``, float32, C-contiguous.

        Raises:
            SourceError: A picture can no longer be read.
        """
        ready: queue.Queue[npt.NDArray[np.float32] | BaseException | None] = queue.Queue(self._ahead)
        stop = threading.Event()
        thread = threading.Thread(target=self._fill, args=(ready, stop), name="feed", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _fill(
        self, ready: queue.Queue[npt.NDArray[np.float32] | BaseException | None], stop: threading.Event
    ) -> None:
        last: BaseException | None = None
        try:
            for tensor in self._tensors():
                if not _put(ready, tensor, stop):
                    return
        except BaseException as exc:  # noqa: BLE001 - handed to the consumer, which raises it
            last = exc
        _put(ready, last, stop)

    def _tensors(self) -> Iterator[npt.NDArray[np.float32]]:
        prepare = Preprocessor(self._preprocess, self._input_wh)
        left = len(self.manifest)
        tensor = np.empty((0, *prepare.shape), np.float32)
        filled = 0
        for _, image in iter_pictures(self.manifest):
            if filled == 0:
                tensor = np.empty((min(self.batch, left), *prepare.shape), np.float32)
            prepare(image, tensor[filled])
            filled += 1
            left -= 1
            if filled == len(tensor):
                yield tensor
                filled = 0


class Spread:
    """Every n-th of some batches, as often as it is iterated."""

    def __init__(self, batches: Iterable[npt.NDArray[np.float32]], every: int) -> None:
        self._batches, self._every = batches, every

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return itertools.islice(iter(self._batches), 0, None, self._every)


def _put(
    ready: queue.Queue[npt.NDArray[np.float32] | BaseException | None],
    item: npt.NDArray[np.float32] | BaseException | None,
    stop: threading.Event,
) -> bool:
    """Wait for a place in the queue, or give up when nobody reads any more."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
