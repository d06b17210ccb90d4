"""Frames that wait for the model: the newest of every camera, every one of a file.

Owns who waits for whom. A live source never waits: a newer frame takes the place of one that nobody has taken
yet, which counts as dropped. A file waits, and loses nothing. The model is offered the sources in turn, so
that none starves. Refuses to know threads, models and clocks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeyolo.frames import Frame
from edgeyolo.pipeline.channel import Ended, Halted

__all__ = ["Intake"]

# Decoders give frames in bursts; four waiting ones smooth that and are 25 MB at 1080p.
_WAITING_FRAMES = 4


@dataclass
class _Inbox:
    """What one source has given and the model has not taken."""

    live: bool
    waiting: deque[Frame] = field(default_factory=deque)
    counted: int = 0  # towards the limit: a file's frames when they come, a live source's when they are taken
    ended: bool = False


class Intake:
    """Several sources in front of one model.

    Args:
        live: Camera to whether its frames may be dropped.
        limit: Frames of each camera to be taken; all by default.
        on_drop: Called with the camera of each frame that was dropped, by the thread that gave the newer one.

    Examples:
        >>> import numpy as np
        >>> def frame(camera: str, index: int) -> Frame:
        ...     return Frame(image_bgr=np.zeros((1, 1, 3), np.uint8), source=camera, index=index, time_s=0.0,
        ...                  captured_at_s=0.0, camera=camera)
        >>> intake = Intake({"door": True, "yard": True})
        >>> for index in range(3):
        ...     intake.put(frame("door", index))
        >>> intake.put(frame("yard", 0))
        >>> [(f.camera, f.index) for f in intake.take(4)]
        [('door', 2), ('yard', 0)]
    """

    def __init__(
        self,
        live: Mapping[str, bool],
        *,
        limit: int | None = None,
        on_drop: Callable[[str], None] = lambda camera: None,
    ) -> None:
        self._inboxes = {camera: _Inbox(is_live) for camera, is_live in live.items()}
        self._order = list(self._inboxes)
        self._any_live = any(live.values())
        self._limit = limit
        self._on_drop = on_drop
        self._changed = threading.Condition()
        self._halted = False

    def wants(self, camera: str) -> bool:
        """Whether another frame of this camera can still be taken."""
        inbox = self._inboxes[camera]
        with self._changed:
            below = self._limit is None or inbox.counted < self._limit
            return below and not inbox.ended and not self._halted

    def put(self, frame: Frame) -> None:
        """Offer a frame: a live source's at once, a file's when there is room.

        Raises:
            Halted: The intake was halted.
        """
        inbox = self._inboxes[frame.camera]
        dropped = 0
        with self._changed:
            if inbox.live:
                dropped = len(inbox.waiting)
                inbox.waiting.clear()
            else:
                self._changed.wait_for(lambda: self._halted or len(inbox.waiting) < _WAITING_FRAMES)
                inbox.counted += 1
            if self._halted:
                raise Halted
            if not inbox.ended:  # a live source may bring one more when its limit is reached
                inbox.waiting.append(frame)
            self._changed.notify_all()
        for _ in range(dropped):
            self._on_drop(frame.camera)

    def take(self, most: int) -> list[Frame]:
        """Take frames from the sources in turn, waiting for the first.

        Where any source is live the others that are there come along and nothing more is waited for; files
        fill the batch as long as they last.

        Args:
            most: Frames at most.

        Returns:
            One frame or more; those of one camera in their order.

        Raises:
            Ended: All sources have ended, and all frames have been taken.
            Halted: The intake was halted.
        """
        taken: list[Frame] = []
        with self._changed:
            while len(taken) < most:
                if not (taken and self._any_live):
                    self._changed.wait_for(self._can_go_on)
                if self._halted:
                    raise Halted
                frame = self._next()
                if frame is None:
                    break
                taken.append(frame)
            if not taken:
                raise Ended
            self._changed.notify_all()
        return taken

    def requeue(self, frames: Sequence[Frame]) -> None:
        """Put taken frames back in front, in their order: a file's; a live source has newer ones by now."""
        with self._changed:
            for frame in reversed(frames):
                inbox = self._inboxes[frame.camera]
                if not inbox.live:
                    inbox.waiting.appendleft(frame)
            self._changed.notify_all()
        for frame in frames:
            if self._inboxes[frame.camera].live:
                self._on_drop(frame.camera)

    def end(self, camera: str) -> None:
        """Say that nothing more comes from this camera; what waits can still be taken."""
        with self._changed:
            self._inboxes[camera].ended = True
            self._changed.notify_all()

    def halt(self) -> None:
        """Wake everybody who waits, and make every later call raise `Halted`."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()

    def _can_go_on(self) -> bool:
        inboxes = self._inboxes.values()
        return self._halted or any(i.waiting for i in inboxes) or all(i.ended for i in inboxes)

    def _next(self) -> Frame | None:
        """Take the next frame in turn; whoever was served goes to the end of the row."""
        for place, camera in enumerate(self._order):
            inbox = self._inboxes[camera]
            if inbox.waiting:
                self._order.append(self._order.pop(place))
                if inbox.live:
                    inbox.counted += 1
                    inbox.ended = inbox.ended or inbox.counted == self._limit
                return inbox.waiting.popleft()
        return None
