"""One camera's analyst: follows its objects, and turns what they do at zones and lines into events.

Owns the order of things in a frame, and the counters. Between detections boxes are followed and no zone or
line looks at them: where an object would be if it went on as before is no evidence that it crossed a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.detections import Detections
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
State = ZoneState | LineState


def analyst_for(
    camera: str,
    rules: Rules | None,
    names: Sequence[str],
    *,
    live: bool = False,
    conf: Callable[[], float] | None = None,
) -> CameraAnalyst:
    """Make the analyst of a camera.

    Args:
        camera: Its name.
        rules: Of the whole run; None follows objects and makes no events.
        names: Class names; the index is the class id.
        live: As for `CameraAnalyst`.
        conf: As for `CameraAnalyst`; None reports every box.

    Raises:
        ConfigError: A rule names a class that there is not.
    """
    return CameraAnalyst(camera, rules or Rules(), names, live=live, conf=conf or (lambda: 0.0))


class CameraAnalyst:
    """An `edgeyolo.frames.Analyst`.

    Args:
        camera: Its name.
        rules: Of the whole run.
        names: Class names; the index is the class id.
        live: Whether time is that of the clock. A file has its own; that of a camera begins anew each time it
            is connected to, and would hide how long it was away.
        conf: Gives the least score of a box that is reported, as it is now; weaker ones (from
            `edgeyolo.events.WEAK` times it on) only continue objects.

    Raises:
        ConfigError: A rule names a class that there is not.
    """

    def __init__(
        self, camera: str, rules: Rules, names: Sequence[str], *, live: bool, conf: Callable[[], float]
    ) -> None:
        rules.require_classes(names)
        self._live = live
        self._conf = conf
        self._camera = camera
        self._names = tuple(names)
        self._rules = rules.for_camera(camera)
        self._tracker = Tracker(rules.track)
        self._states = self._states_of(self._rules, {}, {})
        self._next_rules: Rules | None = None
        self._trails: dict[int, Trail] = {}
        self._shown: npt.NDArray[np.int64] | None = None

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Counters of each zone and line by its name."""
        return {state.rule.name: state.counts for state in self._states}

    def restore(self, counts: Counts) -> None:
        """Go on counting where another run ended; what it has of rules that are no more is left out."""
        for state in self._states:
            state.restore(counts.get(state.rule.name, {}))

    def replace_rules(self, rules: Rules) -> None:
        """Put other rules in force from the next frame on; any thread.

        A zone or a line that is as before goes on. One that was moved or otherwise changed keeps its counters
        and forgets who is inside.

        Raises:
            ConfigError: A rule names a class that there is not.
        """
        rules.require_classes(self._names)
        self._next_rules = rules

    def update(self, frame: Frame, found: Detections | None) -> tuple[Detections, tuple[Event, ...]]:
        """Take the next frame; see `edgeyolo.frames.Analyst`.

        Where time goes back or jumps, objects end: those inside a zone leave it, as ``lost``.
        """
        self._take_rules()
        height, width = frame.image_bgr.shape[:2]
        now_s = frame.captured_at_s if self._live else frame.time_s
        followed = self._tracker.follow(now_s, found, conf=self._conf())
        events: list[Event] = []
        for track in followed.ended:
            self._trails.pop(track.number, None)
            for state in self._states:
                events += (self._event(frame, it) for it in state.end(track))
        for looks in _batches(followed.seen, (width, height)):
            for _, track, sight in looks:
                self._trails.setdefault(track.number, Trail(track.class_id)).note(sight)
            for state in self._states:
                events += (self._event(frame, it) for it in state.step(looks))
        boxes = followed.boxes if found is not None else _clipped(followed.boxes, (width, height))
        self._shown = boxes.track_ids
        return boxes, tuple(events)

    def _take_rules(self) -> None:
        if (rules := self._next_rules) is None:
            return
        self._next_rules = None
        rules = rules.for_camera(self._camera)
        before = {state.rule: state for state in self._states}
        self._states = self._states_of(rules, before, self.counts)
        self._tracker.rules = rules.track
        self._rules = rules

    def _states_of(self, rules: Rules, before: Mapping[Zone | Line, State], counts: Counts) -> list[State]:
        """Make the state of each rule, or take the one that there is."""
        fresh: list[State] = [
            *(ZoneState(zone, zone.class_ids(self._names)) for zone in rules.zones if zone not in before),
            *(LineState(line, line.class_ids(self._names)) for line in rules.lines if line not in before),
        ]
        for state in fresh:
            state.restore(counts.get(state.rule.name, {}))
        kept = [state for rule, state in before.items() if rule in rules.zones or rule in rules.lines]
        return kept + fresh

    def draw(self, picture_bgr: npt.NDArray[np.uint8]) -> None:
        """Draw zones, lines, counters and the last second of paths, in place."""
        numbers = () if self._shown is None else self._shown.tolist()
        trails = [self._trails[number] for number in numbers if number in self._trails]
        draw_rules(picture_bgr, self._rules, self.counts, trails)

    def _event(self, frame: Frame, it: Happening) -> Event:
        class_id = it.track.class_id
        height, width = frame.image_bgr.shape[:2]
        x0, y0, x1, y1 = it.sight.box  # trembles out of the picture by a pixel
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
            box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))),
            direction=it.direction,
            seconds=it.seconds,
            lost=it.lost,
            counts=it.counts,
        )


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
