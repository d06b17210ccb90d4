"""A camera for tests that does what a script says: frames, faults, silence, hanging."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgeyolo.errors import SourceError
from edgeyolo.frames import Frame

__all__ = ["Hang", "ScriptedCamera"]


class Hang:
    """Block, and do not care for `close`: a driver that is gone, until the test lets it go."""


class ScriptedCamera:
    """A live source; each connection plays the next part of the script, and the last part again and again.

    Args:
        script: A part a connection: a number of frames, errors to be raised, `Hang`.
        pause_s: Seconds between frames.
        on_frame: Called before each frame, by the thread that reads.
    """

    live = True
    fps = 30.0
    frame_count = None
    notes: tuple[str, ...] = ("decoder: none",)

    def __init__(
        self,
        *script: Sequence[int | SourceError | type[Hang]],
        name: str = "camera://test",
        pause_s: float = 0.001,
        on_frame: Callable[[int], None] = lambda index: None,
    ) -> None:
        self.name = name
        self.connections = 0
        self.closed = 0
        self.release = threading.Event()
        self._script, self._pause_s, self._on_frame = script, pause_s, on_frame
        self._given = 0
        self._closes = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        part = self._script[min(self.connections, len(self._script) - 1)]
        self.connections += 1
        self._closes.clear()
        index = 0
        for step in part:
            if step is Hang:
                self.release.wait()
                return
            if isinstance(step, SourceError):
                raise step
            assert isinstance(step, int)
            for _ in range(step):
                if self._closes.wait(self._pause_s):
                    return
                self._on_frame(self._given)
                yield Frame(
                    image_bgr=np.full((32, 32, 3), self._given % 256, np.uint8),
                    source=self.name,
                    index=index,
                    time_s=index / 30,
                    captured_at_s=time.monotonic(),
                )
                index += 1
                self._given += 1

    def close(self) -> None:
        self.closed += 1
        self._closes.set()
