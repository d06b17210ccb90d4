"""Where pictures come from and where results go: the types that cameras, runtime, analysis and sinks share.

Owns `Frame`, `Result`, `Event` and the protocols `Source`, `Sink`, `IdleSink`, `NotedSink` and `Analyst`. A
source is in ``edgeyolo.camera``, a sink in ``edgeyolo.show``, an analyst in ``edgeyolo.events``, the loop
between them in ``edgeyolo.pipeline``; no stage imports another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.detections import Classification, Detections

__all__ = ["Analyst", "Event", "Frame", "IdleSink", "NotedSink", "Result", "Sink", "Source"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a source.

    Args:
        image_bgr: Shape ``(H, W, 3)``, uint8, BGR; a camera's is read-only: several threads look at it.
        source: The source's printable name; never with credentials.
        index: Counts the source's frames from 0, those that were dropped too.
        time_s: Seconds: place on a file's time line, seconds since the start of a live source.
        captured_at_s: ``time.monotonic()`` when the picture was there; age is measured from it.
        path: The file of a picture that was a file of its own.
        truth: What is really in a synthetic picture.
        camera: Short name of the source among those of one run: its place (``"0"``, ``"1"``) or the user's
            own word. The frame loop sets it.
    """

    image_bgr: npt.NDArray[np.uint8]
    source: str
    index: int
    time_s: float
    captured_at_s: float
    path: str | None = None
    truth: Detections | None = None
    camera: str = "0"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a followed object did at a zone or a line.

    Args:
        kind: ``enter`` and ``leave`` a zone, ``dwell`` in it for as long as asked, ``cross`` a line.
        where: The zone's or line's name (`edgeyolo.rules`).
        camera: As `Frame.camera`.
        frame: As `Frame.index`.
        time_s: As `Frame.time_s`.
        unix_s: Wall clock when the picture was there, seconds since 1970.
        track_id: The object's number; one object keeps it while it is followed.
        class_id: Its class.
        label: Its class's name.
        score: Of the box, 0..1.
        box: ``x0, y0, x1, y1``, pixels of the frame; where it was last seen.
        direction: Of a ``cross``: the line's word for it, ``in`` or ``out`` unless the user has others.
        seconds: Of a ``dwell`` or ``leave``: how long it has been in the zone.
        lost: Of a ``leave``: it was not seen to go out, it was no longer seen at all.
        counts: The zone's or line's counters after this event: ``{"inside": 2, "entered": 5, "left": 3}``, or
            the two words of a line, ``{"in": 4, "out": 3}``.
    """

    kind: Literal["enter", "leave", "dwell", "cross"]
    where: str
    camera: str
    frame: int
    time_s: float
    unix_s: float
    track_id: int
    class_id: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    direction: str | None = None
    seconds: float | None = None
    lost: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A frame and what the model said of it.

    Args:
        frame: The picture.
        output: What the model found in it.
        stage_ms: Milliseconds of each stage (``preprocess``, ``infer``, ``postprocess``).
        picture_bgr: The picture with the result drawn on it, where a sink asked for pictures.
        events: What happened in this frame, where events are asked for.
        age_ms: Milliseconds from the picture's capture to this result, waiting included.
        detected: Whether the model saw this frame; otherwise the boxes are followed from earlier ones.
    """

    frame: Frame
    output: Detections | Classification
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    picture_bgr: npt.NDArray[np.uint8] | None = None
    events: tuple[Event, ...] = ()
    age_ms: float = 0.0
    detected: bool = True

    @property
    def latency_ms(self) -> float:
        """Milliseconds from a captured picture to its result, waiting in queues not counted."""
        return sum(self.stage_ms.values())


class Source(Protocol):
    """Gives frames in order; iterating ends where the source ends.

    Making one checks its address and options, and connects to nothing. Iterating connects; iterating again
    connects again, after `close` too. One that fails raises `edgeyolo.errors.SourceError` out of its
    iterator: a live one that gives no frame in its time raises `FrameTimeoutError`, one whose other side
    refuses it (credentials, no such stream) raises `SourceRefusedError`. `close` may be called by another
    thread, and ends the iteration within a second.
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it is read, such as the decoder and why; whole after a frame."""

    def __iter__(self) -> Iterator[Frame]:
        """Open what must be open and give the frames."""

    def close(self) -> None:
        """Free everything; twice is harmless."""


class Analyst(Protocol):
    """Follows the objects of one camera from frame to frame, and tells what they do."""

    def update(self, frame: Frame, found: Detections | None) -> tuple[Detections, tuple[Event, ...]]:
        """Take the next frame of this camera.

        Args:
            frame: The frame; earlier ones of the camera may be missing.
            found: What the detector found; None for a frame that it did not see.

        Returns:
            The boxes with `Detections.track_ids`, followed ones where `found` is None; the frame's events.
        """

    def draw(self, picture_bgr: npt.NDArray[np.uint8]) -> None:
        """Draw zones, lines and counts into a picture of this camera, in place."""


class Sink(Protocol):
    """Takes results in the order of each camera's frames.

    `write` and `close` are called by one thread. A sink that may wait for others (a broker, a browser) has a
    thread of its own and a bounded queue: whoever waits in `write` makes every camera wait.
    """

    @property
    def wants_picture(self) -> bool:
        """Whether `Result.picture_bgr` must be drawn for it; asked before every frame."""

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Finish what was begun so that it is whole; twice is harmless."""


@runtime_checkable
class IdleSink(Sink, Protocol):
    """A sink that has something to do while no frame comes, such as a window with its keys."""

    def idle(self) -> None:
        """Do it; called about twenty times a second, by the thread that calls `write`."""


@runtime_checkable
class NotedSink(Sink, Protocol):
    """A sink that has something to tell when a run is over."""

    @property
    def notes(self) -> tuple[str, ...]:
        """A line each: a choice and its reason, how much was dropped."""
