"""One camera's analyst: follows its objects, and turns what they do at zones and lines into events.

Owns the order of things in a frame, and the counters. Between detections boxes are followed and no zone or
line looks at them: where an object would be if it went on as before is no evidence that it crossed a line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.class_names import class_ids_from_names
from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError
from edgeyolo.events.happening import Happening, Looks
from edgeyolo.events.lines import LineState
from edgeyolo.events.overlay import Trail, draw_rules
from edgeyolo.events.tracker import Track, Tracker
from edgeyolo.events.zones import ZoneState
from edgeyolo.frames import Event, Frame
from edgeyolo.rules import Line, Rules, Zone

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["CameraAnalyst", "analyst_for"]

Counts = Mapping[str, Mapping[str, int]]


def analyst_for(
    camera: str, rules: Rules | None, names: Sequence[str], *, conf: float = 0.0
) -> CameraAnalyst:
    """Make the analyst of a camera.

    Args:
        camera: Its name.
        rules: Of the whole run; None follows objects and makes no events.
        names: Class names; the index is the class id.
        conf: As `CameraAnalyst.conf`.

    Raises:
        ConfigError: A rule names a class that there is not.
    """
    return CameraAnalyst(camera, (rules or Rules()).for_camera(camera), names, conf=conf)


class CameraAnalyst:
    """An `edgeyolo.frames.Analyst`.

    Args:
        camera: Its name.
        rules: Those of this camera.
        names: Class names; the index is the class id.
        conf: Least score of a box that is reported; weaker ones (from `edgeyolo.events.WEAK` times it on)
            only continue objects. May be changed at any time by any thread.

    Raises:
        ConfigError: A rule names a class that there is not.
    """

    def __init__(self, camera: str, rules: Rules, names: Sequence[str], *, conf: float = 0.0) -> None:
        self.conf = conf
        self._camera = camera
        self._rules = rules
        self._names = tuple(names)
        self._tracker = Tracker(rules.track)
        self._states: list[ZoneState | LineState] = [
            *(ZoneState(zone, _class_ids(rules, zone, names)) for zone in rules.zones),
            *(LineState(line, _class_ids(rules, line, names)) for line in rules.lines),
        ]
        self._trails: dict[int, Trail] = {}
        self._shown: npt.NDArray[np.int64] | None = None

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Counters of each zone and line by its name."""
        return {state.rule.name: state.counts for state in self._states}

    def restore(self, counts: Counts) -> None:
        """Go on counting where another run ended; what it has of rules that are no more is left out."""
        for state in self._states:
            state.restore(dict(counts.get(state.rule.name, {})))

    def update(self, frame: Frame, found: Detections | None) -> tuple[Detections, tuple[Event, ...]]:
        """Take the next frame; see `edgeyolo.frames.Analyst`.

        Where the source's time goes back or jumps, objects end: those inside a zone leave it, as ``lost``.
        """
        height, width = frame.image_bgr.shape[:2]
        followed = self._tracker.follow(frame.time_s, found, conf=self.conf)
        events: list[Event] = []
        for track in followed.ended:
            self._trails.pop(track.number, None)
            for state in self._states:
                events += (self._event(frame, state, it) for it in state.end(track))
        for looks in _batches(followed.seen, (width, height)):
            for _, track, sight in looks:
                self._trails.setdefault(track.number, Trail(track.class_id)).note(sight)
            for state in self._states:
                events += (self._event(frame, state, it) for it in state.step(looks))
        boxes = followed.boxes if found is not None else _clipped(followed.boxes, (width, height))
        self._shown = boxes.track_ids
        return boxes, tuple(events)

    def draw(self, picture_bgr: npt.NDArray[np.uint8]) -> None:
        """Draw zones, lines, counters and the last second of paths, in place."""
        numbers = () if self._shown is None else self._shown.tolist()
        trails = [self._trails[number] for number in numbers if number in self._trails]
        draw_rules(picture_bgr, self._rules, self.counts, trails)

    def _event(self, frame: Frame, state: ZoneState | LineState, it: Happening) -> Event:
        class_id = it.track.class_id
        return Event(
            kind=it.kind,
            where=it.where,
            camera=self._camera,
            frame=frame.index,
            time_s=frame.time_s,
            unix_s=time.time() - (time.monotonic() - frame.captured_at_s),
            track_id=it.track.number,
            class_id=class_id,
            label=self._names[class_id] if class_id < len(self._names) else f"#{class_id}",
            score=it.sight.score,
            box=it.sight.box,
            direction=it.direction,
            seconds=it.seconds,
            lost=it.lost,
            counts=state.counts,
        )


def _class_ids(rules: Rules, rule: Zone | Line, names: Sequence[str]) -> frozenset[int] | None:
    if rule.classes is None:
        return None
    try:
        return frozenset(class_ids_from_names(names, rule.classes))
    except ConfigError as exc:
        raise ConfigError(f"{rules.source}: {rule.name}: {exc.message}", hint=exc.hint) from exc


def _batches(seen: Sequence[Track], wh: tuple[int, int]) -> Iterator[Looks]:
    """Give the sights that nobody was told of, oldest first, at most one of each object at once."""
    for back in range(max((len(track.sights) for track in seen), default=0), 0, -1):
        tracks = [track for track in seen if len(track.sights) >= back]
        yield Looks(tracks, [track.sights[-back] for track in tracks], wh)


def _clipped(boxes: Detections, wh: tuple[int, int]) -> Detections:
    """Cut boxes to the picture, and leave out those outside."""
    xyxy = np.clip(boxes.xyxy, 0, np.array([*wh, *wh], np.float32))
    kept = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    assert boxes.track_ids is not None, "followed boxes have numbers"
    return Detections(xyxy[kept], boxes.scores[kept], boxes.class_ids[kept], boxes.track_ids[kept])
