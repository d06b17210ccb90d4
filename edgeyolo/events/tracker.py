"""Objects followed from frame to frame: which box is whose.

Owns association in the manner of ByteTrack, written here. Libraries were considered (November 2026):
``trackers`` 2.6 (Apache-2.0) requires numpy 2 and pip's opencv-python, either of which breaks JetPack's
OpenCV, the one with GStreamer; ``supervision`` has given its ByteTrack up in favour of that; ``norfair`` 2.3
(BSD) forbids numpy 2 and rich 15. All bring SciPy for one function. What is needed is small, and a live
camera needs it all: a motion model in seconds (frames are dropped), boxes between detections, classes.

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

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeyolo.detections import Detections
from edgeyolo.events.assign import best_pairs
from edgeyolo.events.motion import Motion, cxcywh_from_xyxy, xyxy_from_cxcywh
from edgeyolo.rules import TrackRules
from edgeyolo.vision.boxes import iou_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["WEAK", "Followed", "Sight", "Track", "Tracker"]

Likeness = Callable[[], "npt.NDArray[np.float64]"]

WEAK = 0.4
"""Boxes from so many times the least reported score on are worth having: they continue objects."""

# Likeness of a pair, and what it is of: grown boxes of one class; a weak box; a box of another class.
_LEAST_LIKENESS = 0.2  # ByteTrack's match_thresh 0.8
_LEAST_OF_WEAK = 0.4
_LEAST_ACROSS_CLASSES = 0.6
_SAME_PLACE = 0.8  # what stands in a followed object's place under another class is no object of its own
_GROWN_BY_DOUBT = (
    1.0  # standard deviations; twice as much finds more fast objects and confuses more slow ones
)
_GROWN_AT_MOST = 1.0  # sides of the box
_MEMORY_OF_CLASS = 0.95  # a vote's weight after another frame
_INTERVALS = 0.1  # share of the newest in the usual interval between detections
_MISSES_ALLOWED = 3  # however slow the camera is


class Sight(NamedTuple):
    """One time that an object was seen.

    Args:
        time_s: As `edgeyolo.frames.Frame.time_s`.
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

        Where time goes back (a file begins again, a camera was connected again), all objects end.

        Args:
            time_s: Seconds, on the source's own line.
            found: What the detector found, best first; None where it was not asked.
            conf: Least score of a box that is reported by itself and may begin an object.
        """
        ended = self._advance(time_s, detected=found is not None)
        if found is None:
            return Followed(self._between(), ended=ended)
        owners = self._associate(found, found.scores >= conf)
        self._note_sights(time_s, found, owners)
        dropped = self._drop([t for t in self._tracks if t.misses and not t.number])
        assert not dropped, "what has no number ends unseen"
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
        rounds = _Rounds(self._tracks, self._motion, found)
        sure = [row for row in rows if self._tracks[row].number]
        weak = [column for column in columns if not strong[column]]
        best = [column for column in columns if strong[column]]
        rounds.match(sure, best, rounds.grown_of_class, _LEAST_LIKENESS)
        rounds.match([r for r in sure if not self._tracks[r].misses], weak, rounds.of_class, _LEAST_OF_WEAK)
        rounds.match([r for r in rows if r not in sure], best, rounds.grown_of_class, _LEAST_LIKENESS)
        rounds.match(rows, best, rounds.plain, _LEAST_ACROSS_CLASSES)
        owners = {column: self._tracks[row] for column, row in rounds.row_of.items()}
        taken = sorted(rounds.row_of.items())
        if taken:
            self._motion.correct([row for _, row in taken], rounds.boxes[[column for column, _ in taken]])
        fresh = rounds.fresh(best)
        for column in fresh:
            track = Track(number=0, class_id=int(found.class_ids[column]))
            self._tracks.append(track)
            owners[column] = track
        if fresh:
            self._motion.add(rounds.boxes[fresh])
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


class _Rounds:
    """One frame's association, round after round: whoever was paired is out of the next."""

    def __init__(self, tracks: list[Track], motion: Motion, found: Detections) -> None:
        self.boxes = cxcywh_from_xyxy(found.xyxy)
        self.row_of: dict[int, int] = {}
        self._free_rows = set(range(len(tracks)))
        self._motion = motion
        self._found = found.xyxy
        classes = np.array([track.class_id for track in tracks], np.int64)
        self._same_class = classes[:, None] == found.class_ids

    def match(self, rows: list[int], columns: list[int], likeness: Likeness, least: float) -> None:
        """Pair the free ones of these rows and columns."""
        rows = [row for row in rows if row in self._free_rows]
        columns = [column for column in columns if column not in self.row_of]
        if not rows or not columns:
            return
        for i, j in best_pairs(likeness()[np.ix_(rows, columns)], least):
            self.row_of[columns[j]] = rows[i]
            self._free_rows.remove(rows[i])

    def plain(self) -> npt.NDArray[np.float64]:
        """Give the intersection over union of tracks and boxes, whatever their classes."""
        return iou_matrix(xyxy_from_cxcywh(self._motion.cxcywh), self._found)

    def of_class(self) -> npt.NDArray[np.float64]:
        """Give the same for pairs of one class, 0 for others."""
        likeness: npt.NDArray[np.float64] = self.plain() * self._same_class
        return likeness

    @functools.cached_property
    def _grown(self) -> npt.NDArray[np.float64]:
        centre_x, centre_y, width, height = self._motion.cxcywh.T[..., None]
        doubt_x, doubt_y = self._motion.doubt.T[:2, :, None]
        more_x = np.minimum(2 * _GROWN_BY_DOUBT * doubt_x, 2 * _GROWN_AT_MOST * width)
        more_y = np.minimum(2 * _GROWN_BY_DOUBT * doubt_y, 2 * _GROWN_AT_MOST * height)
        x, y, w, h = self.boxes.T
        # What two spans share: their mean less what is between their centres, at most the shorter one.
        shared = np.maximum(np.minimum((width + w) / 2 - abs(centre_x - x), np.minimum(width, w)) + more_x, 0)
        shared *= np.maximum(
            np.minimum((height + h) / 2 - abs(centre_y - y), np.minimum(height, h)) + more_y, 0
        )
        either = (width + more_x) * (height + more_y) + (w + more_x) * (h + more_y) - shared
        likeness: npt.NDArray[np.float64] = shared / either * self._same_class
        return likeness

    def grown_of_class(self) -> npt.NDArray[np.float64]:
        """Give the same as `of_class` of boxes that are both grown by each track's doubt."""
        return self._grown

    def fresh(self, columns: list[int]) -> list[int]:
        """Give those of nobody that are not in the place of another box of this frame."""
        chosen: list[int] = []
        for column in columns:
            others = [*self.row_of, *chosen]
            if column in self.row_of:
                continue
            if (
                not others
                or iou_matrix(self._found[column : column + 1], self._found[others]).max() < _SAME_PLACE
            ):
                chosen.append(column)
        return chosen
