"""What the page shows beside the pictures: the run's state and its last minutes, detections, events.

    frame loop ──note──► newest of each camera ──tick, in the event loop──► feed and history

Owns the JSON of ``/api/status``, ``/api/history`` and ``/api/detections`` and the rhythm in which the page is
told. `note` is called for every frame, so that it does as little as it can.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import edgeyolo
from edgeyolo.frames import Event, Result
from edgeyolo.live import RunStatus, SourceStatus
from edgeyolo.show.result_json import event_values, result_values
from edgeyolo.show.web.feed import Feed

__all__ = ["TICK_S", "Board", "status_values"]

TICK_S = 0.25
_STATUS_EVERY = 4  # ticks
_HISTORY = 300  # samples, one a status: five minutes
_EVENTS_WAITING = 500


class Board:
    """Collects what the frame loop gives, and tells it in ticks.

    Args:
        names: Class names; the index is the class id.
        status: Gives the run's state.
        feed: Is told.
    """

    def __init__(self, names: Sequence[str], status: Callable[[], RunStatus], feed: Feed) -> None:
        self._names = names
        self._status = status
        self._feed = feed
        self._lock = threading.Lock()
        self._newest: dict[str, dict[str, Any]] = {}
        self._due_s: dict[str, float] = {}
        self._seen: dict[tuple[str, int], dict[str, Any]] = {}
        self._events: deque[Event] = deque(maxlen=_EVENTS_WAITING)
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._ticks = 0

    def note(self, result: Result) -> None:
        """Take one frame's result; called by the frame loop."""
        camera, now = result.frame.camera, time.monotonic()
        counts: dict[int, tuple[int, float]] = {}
        pairs = zip(result.output.class_ids.tolist(), result.output.scores.tolist(), strict=True)
        for class_id, score in pairs:
            count, best = counts.get(class_id, (0, 0.0))
            counts[class_id] = count + 1, max(best, score)
        with self._lock:
            for class_id, (count, best) in counts.items():
                self._seen[camera, class_id] = self._sighting(camera, class_id, count, best)
            self._events.extend(result.events)
            if now >= self._due_s.get(camera, 0.0):
                self._due_s[camera] = now + TICK_S
                self._newest[camera] = result_values(result, self._names, with_camera=True, with_age=True)

    def _sighting(self, camera: str, class_id: int, count: int, best: float) -> dict[str, Any]:
        return {
            "camera": camera,
            "class_id": class_id,
            "label": self._names[class_id],
            "count": count,
            "score": round(best, 3),
            "unix_s": round(time.time(), 3),
        }

    def tick(self) -> None:
        """Tell what is new; called in the event loop every `TICK_S`."""
        with self._lock:
            newest, self._newest = self._newest, {}
            events = list(self._events)
            self._events.clear()
        for camera, values in newest.items():
            self._feed.put("result", values, key=f"result {camera}")
        for event in events:
            self._feed.put("event", event_values(event))
        if self._ticks % _STATUS_EVERY == 0:
            status = self._status()
            self._history.append(_sample(status))
            # With our clock: that of the browser, or of a board without a battery, may be elsewhere.
            moment = {"unix_s": round(time.time(), 3), "seen": self.detections()}
            self._feed.put("status", {**status_values(status), **moment}, key="status")
        self._ticks += 1

    def detections(self) -> list[dict[str, Any]]:
        """Give each class that a camera has seen: how often and how sure the last time, and when."""
        with self._lock:
            return sorted(self._seen.values(), key=lambda s: (s["camera"], s["label"]))

    def history(self) -> list[dict[str, Any]]:
        """Give the last minutes, a sample a second, oldest first."""
        return list(self._history)


def status_values(status: RunStatus) -> dict[str, Any]:
    """Give a run's state as JSON values; the keys are those of `RunStatus` and `SourceStatus`."""
    return {
        "version": edgeyolo.__version__,
        "engine": status.engine,
        "engine_restarts": status.engine_restarts,
        "uptime_s": round(status.uptime_s, 1),
        "conf": status.conf,
        "class_ids": None if status.class_ids is None else list(status.class_ids),
        "stage_ms": {stage: _rounded(times) for stage, times in status.stage_ms.items()},
        "cameras": [_source_values(source) for source in status.sources],
    }


def _source_values(source: SourceStatus) -> dict[str, Any]:
    return {
        "camera": source.camera,
        "name": source.name,
        "state": source.state,
        "reason": source.reason,
        "state_s": round(source.state_s, 1),
        "retry_in_s": None if source.retry_in_s is None else round(source.retry_in_s, 1),
        "captured": source.captured,
        "results": source.results,
        "dropped": source.dropped,
        "reconnects": source.reconnects,
        "capture_fps": round(source.capture_fps, 2),
        "fps": round(source.fps, 2),
        "age_ms": _rounded(source.age_ms),
        "size_wh": None if source.size_wh is None else list(source.size_wh),
        "notes": list(source.notes),
    }


def _sample(status: RunStatus) -> dict[str, Any]:
    return {
        "unix_s": round(time.time(), 1),
        "cameras": {
            source.camera: {
                "fps": round(source.fps, 2),
                "age_ms": _rounded(source.age_ms),
                "dropped": source.dropped,
            }
            for source in status.sources
        },
    }


def _rounded(times: Any) -> dict[str, float]:
    return {key: round(value, 2) for key, value in times.items()}
