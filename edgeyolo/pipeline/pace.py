"""When a live frame is taken: as late as possible, so that its result is as young as possible.

Owns the guess of when the model will be free. A frame that is prepared while the model is still busy waits,
and ages; one that is prepared when the model has become free makes it wait. So it is taken just early enough
to be ready in time. Refuses to know frames.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic

from edgeyolo.pipeline.channel import Halted

__all__ = ["Pace"]

_REMEMBERED = 15


class Pace:
    """The rhythm of one model; one thread prepares, one infers, one delivers.

    Args:
        under_way: Batches that may be between being taken and being delivered. A second one keeps the model
            busy while the first is drawn and written; a third would only wait and age.
    """

    def __init__(self, under_way: int = 2) -> None:
        self._changed = threading.Condition()
        self._free = under_way
        self._prepare_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._infer_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._busy_since: float | None = None
        self._queued = 0
        self._halted = False

    def wait(self) -> None:
        """Wait until a frame taken now would be ready just when the model is.

        Raises:
            Halted: The pace was halted.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._halted or (self._free > 0 and self._queued == 0))
                if self._halted:
                    raise Halted
                left_s = self._left_s()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            self._free -= 1
            self._queued += 1

    def prepared(self, seconds: float) -> None:
        """The batch is ready for the model, and took so long."""
        with self._changed:
            self._prepare_s.append(seconds)

    def begin(self) -> None:
        """The model begins with a batch."""
        with self._changed:
            self._busy_since = monotonic()
            self._queued -= 1
            self._changed.notify_all()

    def end(self, *, inferred: bool) -> None:
        """The model is free; `inferred` says whether the batch had anything for it."""
        with self._changed:
            if inferred and self._busy_since is not None:
                self._infer_s.append(monotonic() - self._busy_since)
            self._busy_since = None
            self._changed.notify_all()

    def delivered(self) -> None:
        """A batch has left through the sinks."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def halt(self) -> None:
        """Wake who waits, with `Halted`."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()

    def _left_s(self) -> float:
        """Seconds until preparing should begin: the shortest recent inference less the longest preparation.

        A guess that is too early costs a little age; one that is too late, a little of the model's time.
        """
        if self._busy_since is None or not self._infer_s or not self._prepare_s:
            return 0.0
        return self._busy_since + min(self._infer_s) - max(self._prepare_s) - monotonic()
