"""Scripted objects before a camera, frame by frame, and the events that come of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.events import CameraAnalyst, analyst_for
from edgeyolo.frames import Event, Frame
from edgeyolo.rules import Rules

__all__ = ["NAMES", "WH", "Seen", "Stage", "detections"]

WH = (640, 480)
NAMES = ("person", "car", "truck")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Seen:
    """One box: the middle of its bottom edge, its size, score and class."""

    x: float
    y: float
    w: float = 40
    h: float = 100
    score: float = 0.9
    class_id: int = 0


def detections(seen: Iterable[Seen]) -> Detections:
    rows = sorted(seen, key=lambda item: -item.score)
    boxes = [(s.x - s.w / 2, s.y - s.h, s.x + s.w / 2, s.y) for s in rows]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([s.score for s in rows], np.float32),
        np.array([s.class_id for s in rows], np.int64),
    )


@dataclass
class Stage:
    """An analyst and what it told so far."""

    rules: Rules | None = None
    conf: float = 0.25
    camera: str = "0"
    live: bool = False
    analyst: CameraAnalyst = field(init=False)
    events: list[Event] = field(default_factory=list)
    boxes: list[Detections] = field(default_factory=list)
    frames: int = 0

    def __post_init__(self) -> None:
        self.analyst = analyst_for(self.camera, self.rules, NAMES, live=self.live, conf=lambda: self.conf)

    def show(
        self,
        time_s: float,
        seen: Sequence[Seen] | None,
        wh: tuple[int, int] = WH,
        *,
        clock_s: float | None = None,
    ) -> Detections:
        """Give the analyst a frame; None is one that the detector did not see."""
        frame = Frame(
            image_bgr=np.broadcast_to(np.uint8(0), (wh[1], wh[0], 3)),
            source="stage",
            index=self.frames,
            time_s=time_s,
            captured_at_s=time.monotonic() if clock_s is None else clock_s,
            camera=self.camera,
        )
        self.frames += 1
        boxes, events = self.analyst.update(frame, None if seen is None else detections(seen))
        self.events += events
        self.boxes.append(boxes)
        return boxes

    def play(
        self,
        actors: Callable[[float], Sequence[Seen] | None],
        *,
        seconds: float,
        fps: float = 25,
        start: float = 0,
    ) -> Stage:
        """Show a scene."""
        for index in range(round(seconds * fps)):
            self.show(start + index / fps, actors(index / fps))
        return self

    @property
    def told(self) -> list[tuple[str, str, str | None]]:
        """Kind, place and direction of each event."""
        return [(event.kind, event.where, event.direction) for event in self.events]
