"""Objects followed from frame to frame: which box is whose.

Owns association in the manner of ByteTrack, written here. Libraries were considered (November 2026):
``trackers`` 2.6 (Apache-2.0) requires numpy 2 and pip's opencv-python, either of which breaks JetPack's
OpenCV, the one with GStreamer; ``supervision`` has given its ByteTrack up in favour of that; ``norfair`` 2.3
(BSD) forbids numpy 2 and rich 15. All bring SciPy for one function. What is needed is small, and a live
camera needs it all: a motion model in seconds (frames are dropped), boxes between detections, classes. On the
scenes of ``tools/bench_tracker.py`` it is as good as ByteTrack of ``trackers`` (docs/events.md).

* Every box that the run reports may begin an object; weaker ones (`WEAK`) only continue one: an object that
  is half hidden keeps its number. That is the second association of ByteTrack.
* Likeness is the intersection over union of boxes that are both grown by what the motion model does not know.
  A steady object at 30 frames a second is grown by nothing; one that was seen once, or a while ago, or at two
  frames a second, is looked for as far as it can have gone.
* A box prefers an object of its class. A detector that wavers between car and truck does not make a new
  object: the same box under another class continues it, and its class is that of most of its score.
* An object has no number before it was found in `TrackRules.frames` frames, so that numbers count objects.

State is that of the objects in view, however long the run.

Source:
    Zhang et al., "ByteTrack: multi-object tracking by associating every detection box", 2022, algorithm 1.
    Yang et al., "Hard to track objects with irregular motions and similar appearances? Make it easier by
    buffering the matching space", 2023, for grown boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.events.association import Rounds
from edgeyolo.events.motion import Motion, xyxy_from_cxcywh
from edgeyolo.rules import TrackRules

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["WEAK", "Followed", "Sight", "Track", "Tracker"]

WEAK = 0.4
"""Boxes from so many times the least reported score on are worth having: they continue objects."""

# Likeness of a pair, and what it is of: grown boxes of one class; a weak box; a box of another class.
_LEAST_LIKENESS = 0.2  # ByteTrack's match_thresh 0.8
_LEAST_OF_WEAK = 0.5  # ByteTrack, second association
_LEAST_ACROSS_CLASSES = 0.6
_MEMORY_OF_CLASS = 0.95  # a vote's weight after another frame
_INTERVALS = 0.1  # share of the newest in the usual interval between detections
_MISSES_ALLOWED = 3  # detections: for weak boxes, and for any however slow the camera is
_UNSTEADY_S = 1.0  # a camera's clock may step back a little when it is connected again
_MISSES_OF_UNSURE = 1  # of an object without a number


class Sight(NamedTuple):
    """One time that an object was seen.

    Args:
        time_s: Seconds, as `Tracker.follow` was told.
        score: Of the box.
        box: ``x0 y0 x1 y1``, pixels, trembling less than what the detector gave.
    """

    time_s: float
    score: float
    box: tuple[float, float, float, float]


@dataclass(slots=True, eq=False)
class Track:
    """An object that is followed.

    Args:
        number: From 1; 0 while it is not sure to be one.
        class_id: Its class.
        sights: Those that nobody has been told of: the newest, and with a new number those before it.
        misses: Detections since it was seen.
    """

    number: int
    class_id: int
    sights: list[Sight] = field(default_factory=list)
    misses: int = 0
    votes: dict[int, float] = field(default_factory=dict)

    def vote(self, class_id: int, score: float) -> None:
        """Take what the detector says that it is."""
        self.votes = {key: weight * _MEMORY_OF_CLASS for key, weight in self.votes.items() if weight > 1e-3}
        self.votes[class_id] = self.votes.get(class_id, 0.0) + score
        best = max(self.votes.values())
        if self.votes.get(self.class_id, 0.0) < best:
            self.class_id = min(key for key, weight in self.votes.items() if weight == best)


@dataclass(frozen=True)
class Followed:
    """What became of one frame.

    Args:
        boxes: What is reported, with numbers.
        seen: Objects with a number that were seen in this frame.
        ended: Objects with a number that were given up.
    """

    boxes: Detections
    seen: tuple[Track, ...] = ()
    ended: tuple[Track, ...] = ()


class Tracker:
    """The objects of one camera.

    Args:
        rules: How long and how sure; may be changed between frames.
    """

    def __init__(self, rules: TrackRules) -> None:
        self.rules = rules
        self._tracks: list[Track] = []
        self._motion = Motion()
        self._numbers = 0
        self._time_s: float | None = None
        self._detected_s: float | None = None
        self._usual_s = 0.0

    def __len__(self) -> int:
        return len(self._tracks)

    def follow(self, time_s: float, found: Detections | None, *, conf: float = 0.0) -> Followed:
        """Take the next frame.

        Where time goes back by more than a second (a file begins again), all objects end; by less, it stands.

        Args:
            time_s: Seconds, on any line.
            found: What the detector found, best first; None where it was not asked.
            conf: Least score of a box that is reported by itself and may begin an object.
        """
        if self._time_s is not None and 0 < self._time_s - time_s < _UNSTEADY_S:
            time_s = self._time_s
        ended = self._advance(time_s, detected=found is not None)
        if found is None:
            return Followed(self._between(), ended=ended)
        owners = self._associate(found, found.scores >= conf)
        self._note_sights(time_s, found, owners)
        self._drop([t for t in self._tracks if t.misses > _MISSES_OF_UNSURE and not t.number])
        return Followed(self._reported(found, owners, conf), self._seen(), ended)

    def _advance(self, time_s: float, *, detected: bool) -> tuple[Track, ...]:
        """Let time pass, and give up what was not seen for too long."""
        seconds = 0.0 if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        if seconds < 0:
            self._detected_s = time_s if detected else None
            return self._drop(list(self._tracks))
        self._motion.predict(seconds)
        if not detected:
            return ()
        since = 0.0 if self._detected_s is None else time_s - self._detected_s
        self._detected_s = time_s
        # A camera that gives a frame in two seconds must not lose everything between two frames; one that
        # was away for a while must.
        away = since > max(self.rules.lost, _MISSES_ALLOWED * (self._usual_s or since))
        self._usual_s += _INTERVALS * (min(since, 10 * self._usual_s or since) - self._usual_s)
        patience = max(self.rules.lost, _MISSES_ALLOWED * self._usual_s)
        return self._drop([t for t in self._tracks if away or time_s - t.sights[-1].time_s > patience])

    def _drop(self, tracks: list[Track]) -> tuple[Track, ...]:
        """Forget tracks; gives those with a number."""
        if tracks:
            gone = {id(track) for track in tracks}
            rows = [row for row, track in enumerate(self._tracks) if id(track) not in gone]
            self._tracks = [self._tracks[row] for row in rows]
            self._motion.keep(rows)
        return tuple(track for track in tracks if track.number)

    def _associate(self, found: Detections, strong: npt.NDArray[np.bool_]) -> dict[int, Track]:
        """Say whose each box is; new tracks for strong boxes of nobody."""
        rows, columns = list(range(len(self._tracks))), list(range(len(found)))
        rounds = Rounds(self._motion, [track.class_id for track in self._tracks], found)
        sure = [row for row in rows if self._tracks[row].number]
        weak = [column for column in columns if not strong[column]]
        best = [column for column in columns if strong[column]]
        rounds.match(sure, best, rounds.grown_of_class, _LEAST_LIKENESS)
        recent = [row for row in sure if self._tracks[row].misses <= _MISSES_ALLOWED]
        rounds.match(recent, weak, rounds.plain, _LEAST_OF_WEAK)
        unsure = [row for row in rows if not self._tracks[row].number]
        rounds.match(unsure, best, rounds.grown_of_class, _LEAST_LIKENESS)
        rounds.match(rows, best, rounds.plain, _LEAST_ACROSS_CLASSES)
        owners = {column: self._tracks[row] for column, row in rounds.row_of.items()}
        taken = sorted(rounds.row_of.items())
        if taken:
            self._motion.correct([row for _, row in taken], rounds.cxcywh[[column for column, _ in taken]])
        fresh = rounds.fresh(best)
        for column in fresh:
            track = Track(number=0, class_id=int(found.class_ids[column]))
            self._tracks.append(track)
            owners[column] = track
        if fresh:
            self._motion.add(rounds.cxcywh[fresh])
        return owners

    def _note_sights(self, time_s: float, found: Detections, owners: dict[int, Track]) -> None:
        boxes = xyxy_from_cxcywh(self._motion.cxcywh).tolist()
        places = {id(track): box for track, box in zip(self._tracks, boxes, strict=True)}
        for track in self._tracks:
            track.misses += 1
        for column in sorted(owners):
            track, score = owners[column], float(found.scores[column])
            track.misses = 0
            track.vote(int(found.class_ids[column]), score)
            if track.number:
                track.sights.clear()
            x0, y0, x1, y1 = places[id(track)]
            track.sights.append(Sight(time_s, score, (x0, y0, x1, y1)))
            if not track.number and len(track.sights) >= self.rules.frames:
                self._numbers += 1
                track.number = self._numbers

    def _reported(self, found: Detections, owners: dict[int, Track], conf: float) -> Detections:
        """Give the strong boxes and those weak ones that continue an object, in their order."""
        numbers = np.zeros(len(found), np.int64)
        classes = found.class_ids.astype(np.int64)
        for column, track in owners.items():
            numbers[column] = track.number
            classes[column] = track.class_id
        kept = (found.scores >= conf) | (numbers > 0)
        return Detections(found.xyxy[kept], found.scores[kept], classes[kept], numbers[kept])

    def _between(self) -> Detections:
        """Give where the objects of the last detection should be by now."""
        rows = [row for row, track in enumerate(self._tracks) if track.number and not track.misses]
        scores = np.array([self._tracks[row].sights[-1].score for row in rows], np.float32)
        order = [rows[place] for place in np.argsort(-scores, kind="stable")]
        return Detections(
            xyxy_from_cxcywh(self._motion.cxcywh[order]).astype(np.float32).reshape(-1, 4),
            np.sort(scores)[::-1],
            np.array([self._tracks[row].class_id for row in order], np.int64),
            np.array([self._tracks[row].number for row in order], np.int64),
        )

    def _seen(self) -> tuple[Track, ...]:
        return tuple(track for track in self._tracks if track.number and not track.misses)
