"""What a run is doing, counted as it happens and told to whoever asks: `edgeyolo.live.Control` in the flesh.

Owns the state of each camera, the counters, ages and rates, what the log says when a camera comes and goes,
and what may be changed while the run goes on. Refuses to decide: cameras, engine and sinks tell it what they
did.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from edgeyolo.class_names import class_ids_from_names
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Frame, Result, Source
from edgeyolo.live import RunStatus, SourceState, SourceStatus
from edgeyolo.pipeline.inference import Model
from edgeyolo.pipeline.stats import PERCENTS, STAGES, StageTimes
from edgeyolo.runtime.detector import Detector

__all__ = ["Monitor"]

_log = logging.getLogger(__name__)

# Rates are those of the last seconds, so that they show what happens now.
_RATE_S = 3.0
_RATE_STAMPS = 512
_AGES = 1024
# A camera whose frames are overdue by this share of the time limit is told as stalled before it is given up.
_STALLED_SHARE = 0.5


class _Rate:
    """Events a second over the last `_RATE_S`."""

    def __init__(self) -> None:
        self._stamps: deque[float] = deque(maxlen=_RATE_STAMPS)

    def count(self, now: float) -> None:
        self._stamps.append(now)

    def per_second(self, now: float) -> float:
        recent = [stamp for stamp in self._stamps if now - stamp <= _RATE_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0


@dataclass
class _Camera:
    """The counters of one camera."""

    source: Source
    state: SourceState = "connecting"
    since: float = field(default_factory=monotonic)
    attempt_at: float = field(default_factory=monotonic)
    last_frame: float | None = None
    reason: str | None = None
    retry_at: float | None = None
    captured: int = 0
    results: int = 0
    dropped: int = 0
    reconnects: int = 0
    size_wh: tuple[int, int] | None = None
    came: _Rate = field(default_factory=_Rate)
    answered: _Rate = field(default_factory=_Rate)
    ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_AGES))


class Monitor:
    """An `edgeyolo.live.Control` of one run.

    Args:
        sources: Camera to source, in the order of the command line.
        model: The model; `attach` names the one that takes its place.
        stop: Is set by `stop`.
        engine: Printable name of the engine.
        stall_timeout_s: Seconds without a frame after which a camera is given up.
        say: Is told in a line when a camera comes and goes; the log is by default.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        model: Model,
        *,
        stop: threading.Event | None = None,
        engine: str = "",
        stall_timeout_s: float = 5.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.times = StageTimes()
        self.stop_event = stop or threading.Event()
        self.stall_timeout_s = stall_timeout_s
        self._engine = engine
        self._say = say or _log.info
        self._lock = threading.Lock()
        self._cameras = {camera: _Camera(source) for camera, source in sources.items()}
        self._begun = monotonic()
        self._restarts = 0
        self._model = model
        self._chosen: dict[str, float | tuple[int, ...] | None] = {}

    # --- asked by pages, metrics and keys ----------------------------------------------------------------

    def status(self) -> RunStatus:
        """Give a snapshot."""
        stage_ms = {stage: self.times.percentiles(stage) for stage in STAGES if self.times.count(stage)}
        now = monotonic()
        with self._lock:
            return RunStatus(
                sources=tuple(self._source_status(name, c, now) for name, c in self._cameras.items()),
                stage_ms=stage_ms,
                engine=self._engine,
                engine_restarts=self._restarts,
                uptime_s=now - self._begun,
                conf=self.conf,
                class_ids=self._model.class_ids,
            )

    @property
    def model(self) -> Model:
        """The model in use."""
        return self._model

    @property
    def conf(self) -> float | None:
        """Least score in force; None for a classifier."""
        return self._model.conf if isinstance(self._model, Detector) else None

    def set_conf(self, conf: float) -> None:
        """Change the least score of a box from the next frame on."""
        if not isinstance(self._model, Detector):
            raise ConfigError("conf: a detector expected, a classifier is running")
        if not 0 <= conf <= 1:
            raise ConfigError(f"conf: 0..1 expected, {conf} found")
        self._choose("conf", float(conf))

    def set_classes(self, classes: Sequence[str | int] | None) -> None:
        """Report these classes only; None is all."""
        ids = None if classes is None else class_ids_from_names(self._model.names, classes)
        self._choose("class_ids", ids)

    @property
    def stopping(self) -> bool:
        """Whether the run is ending."""
        return self.stop_event.is_set()

    def stop(self) -> None:
        """End the run cleanly and soon."""
        self.stop_event.set()

    def _choose(self, field_name: str, value: float | tuple[int, ...] | None) -> None:
        with self._lock:
            self._chosen[field_name] = value
            setattr(self._model, field_name, value)

    # --- told by the loop --------------------------------------------------------------------------------

    def attach(self, model: Model) -> None:
        """Take the model that replaced a faulty one; what was chosen while running stays chosen."""
        with self._lock:
            self._restarts += 1
            self._model = model
            for field_name, value in self._chosen.items():
                setattr(model, field_name, value)

    def came(self, frame: Frame) -> None:
        """Count a frame that its source gave."""
        now = monotonic()
        with self._lock:
            camera = self._cameras[frame.camera]
            camera.captured += 1
            camera.last_frame = now
            camera.came.count(now)
            height, width = frame.image_bgr.shape[:2]
            camera.size_wh = (width, height)
            if camera.state == "live":
                return
            away_s, again = now - camera.since, camera.reason is not None
            camera.reconnects += again
            self._enter(camera, "live", now)
        notes = camera.source.notes
        if again:
            self._say(f"{self._title(frame.camera)}: live again")
        elif camera.source.live:
            how = f": {'; '.join(notes)}" if notes else ""
            self._say(f"{self._title(frame.camera)}: live after {away_s:.1f} s{how}")

    def dropped(self, name: str) -> None:
        """Count a frame that a newer one replaced."""
        with self._lock:
            self._cameras[name].dropped += 1

    def answered(self, result: Result) -> None:
        """Count a result."""
        now = monotonic()
        with self._lock:
            camera = self._cameras[result.frame.camera]
            camera.results += 1
            camera.answered.count(now)
            camera.ages_ms.append(result.age_ms)

    def connecting(self, name: str) -> None:
        """A camera is being connected to; one that has failed stays ``retrying`` until a frame is there."""
        with self._lock:
            camera = self._cameras[name]
            camera.retry_at, camera.attempt_at = None, monotonic()
            if camera.reason is None:
                self._enter(camera, "connecting", camera.attempt_at)

    def retrying(self, name: str, reason: str, wait_s: float) -> None:
        """A camera failed and is tried again in `wait_s` seconds."""
        now = monotonic()
        with self._lock:
            camera = self._cameras[name]
            if camera.state != "retrying":
                self._enter(camera, "retrying", now)
            camera.reason, camera.retry_at = reason, now + wait_s
        self._say(f"{self._title(name)}: {reason}; next attempt in {wait_s:.1f} s")

    def ended(self, name: str, reason: str | None = None) -> None:
        """A camera gives no more: its file ended, or it was given up for a reason."""
        with self._lock:
            camera = self._cameras[name]
            self._enter(camera, "ended" if reason is None else "failed", monotonic())
            camera.reason = reason

    def overdue_s(self, name: str) -> float:
        """Seconds since a camera's latest frame, or since it began to connect; 0 while none is expected."""
        with self._lock:
            camera = self._cameras[name]
            if camera.retry_at is not None or camera.state in ("ended", "failed"):
                return 0.0
            return monotonic() - max(camera.last_frame or 0.0, camera.attempt_at)

    def _title(self, name: str) -> str:
        source = self._cameras[name].source.name
        return source if len(self._cameras) == 1 else f"{name} ({source})"

    @staticmethod
    def _enter(camera: _Camera, state: SourceState, now: float) -> None:
        camera.state, camera.since = state, now
        if state == "live":
            camera.reason, camera.retry_at = None, None

    def _source_status(self, name: str, camera: _Camera, now: float) -> SourceStatus:
        state, since, reason = camera.state, camera.since, camera.reason
        silent_s = now - (camera.last_frame or now)
        if state == "live" and camera.source.live and silent_s > self.stall_timeout_s * _STALLED_SHARE:
            state, since = "stalled", camera.last_frame or now
            reason = f"no frame for {silent_s:.1f} s"
        return SourceStatus(
            camera=name,
            name=camera.source.name,
            live=camera.source.live,
            state=state,
            reason=reason,
            state_s=now - since,
            retry_in_s=max(0.0, camera.retry_at - now) if camera.retry_at is not None else None,
            captured=camera.captured,
            results=camera.results,
            dropped=camera.dropped,
            reconnects=camera.reconnects,
            capture_fps=camera.came.per_second(now),
            fps=camera.answered.per_second(now),
            age_ms=_age_ms(camera.ages_ms),
            size_wh=camera.size_wh,
            notes=camera.source.notes,
        )


def _age_ms(ages: deque[float]) -> dict[str, float]:
    if not ages:
        return {}
    values = np.percentile(np.fromiter(ages, np.float64, len(ages)), PERCENTS).tolist()
    return {**{f"p{p}": v for p, v in zip(PERCENTS, values, strict=True)}, "last": ages[-1]}
