"""Where pictures come from and where results go: the types that cameras, runtime and sinks share.

Owns `Frame`, `Result` and the two protocols. A source is in ``edgeyolo.camera``, a sink in
``edgeyolo.show``, the loop between them in ``edgeyolo.pipeline``; none of them imports another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.detections import Classification, Detections

__all__ = ["Frame", "Result", "Sink", "Source"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a source.

    Args:
        image_bgr: Shape ``(H, W, 3)``, uint8, BGR.
        source: The source's printable name; never with credentials.
        index: Counts the source's frames from 0.
        time_s: Seconds: place on a file's time line, seconds since the start of a live source.
        captured_at_s: ``time.monotonic()`` when the picture was there; age is measured from it.
        path: The file of a picture that was a file of its own.
        truth: What is really in a synthetic picture.
    """

    image_bgr: npt.NDArray[np.uint8]
    source: str
    index: int
    time_s: float
    captured_at_s: float
    path: str | None = None
    truth: Detections | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A frame and what the model said of it.

    Args:
        frame: The picture.
        output: What the model found in it.
        stage_ms: Milliseconds of each stage (``preprocess``, ``infer``, ``postprocess``).
        picture_bgr: The picture with the result drawn on it, where a sink asked for pictures.
    """

    frame: Frame
    output: Detections | Classification
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    picture_bgr: npt.NDArray[np.uint8] | None = None

    @property
    def latency_ms(self) -> float:
        """Milliseconds from a captured picture to its result, waiting in queues not counted."""
        return sum(self.stage_ms.values())


class Source(Protocol):
    """Gives frames in order; iterating ends where the source ends.

    A source that fails raises `edgeyolo.errors.SourceError` out of its iterator.
    """

    @property
    def name(self) -> str:
        """Printable name; never with credentials."""

    @property
    def live(self) -> bool:
        """Whether frames are lost when nobody takes them (a camera), or wait (a file)."""

    @property
    def fps(self) -> float | None:
        """Nominal frames a second, where it has a time line."""

    @property
    def frame_count(self) -> int | None:
        """Number of frames, where it is known before the end."""

    def __iter__(self) -> Iterator[Frame]:
        """Open what must be open and give the frames."""

    def close(self) -> None:
        """Free everything; twice is harmless."""


class Sink(Protocol):
    """Takes results in the order of their frames."""

    @property
    def wants_picture(self) -> bool:
        """Whether `Result.picture_bgr` must be drawn for it."""

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Finish what was begun so that it is whole; twice is harmless."""
