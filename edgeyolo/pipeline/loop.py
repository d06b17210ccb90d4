"""The frame loop: sources, model and sinks overlapped in threads.

    capture (one a source) ──► intake ──► prepare ──► infer ──► deliver (the calling thread)

Owns the order of things from the first frame to the last file: one restart of a faulty engine, and that
whatever happens, threads leave and each source and sink is closed. Refuses to know where pictures come from
and go to.

* One thread a stage and first-in first-out channels keep the order; bounded channels keep the memory.
* A file's frames all get a result: a slow sink makes it wait. A live source's newest frame gets one.
* Sinks run in the calling thread: a window must, and so a signal reaches Python code at once.
* The first failure of any thread halts all and is raised by `FrameLoop.run`, as it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from edgeyolo.detections import Classification, Detections
from edgeyolo.errors import EngineError, InferenceError, SourceError
from edgeyolo.frames import Analyst, Event, IdleSink, Result, Sink, Source
from edgeyolo.live import RunStatus
from edgeyolo.pipeline.capture import CameraFeed
from edgeyolo.pipeline.channel import Ended, Halted
from edgeyolo.pipeline.inference import Entry, Inference, Model, Turns, Work
from edgeyolo.pipeline.intake import Intake
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.pipeline.stats import StageTimes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Draw", "FrameLoop", "LoopConfig", "LoopReport"]

# Draws a result on a picture, in place.
Draw = Callable[["npt.NDArray[np.uint8]", Result], None]
_log = logging.getLogger(__name__)

_POLL_S = 0.05
_WATCH_S = 0.25
# Ctrl-C ends a run within two seconds: a thread that is still in a driver or an inference is left to itself.
_LEAVE_S = 1.0
# A second fault this soon after a restart is the same one: starting again does not mend it.
_SAME_FAULT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    """How a loop went.

    Args:
        frames: Results given to the sinks.
        seconds: From the start of the loop to the last result.
        stopped: Whether it was stopped before the sources ended.
        times: Milliseconds of each stage.
        status: The last state of every source.
    """

    frames: int
    seconds: float
    stopped: bool
    times: StageTimes
    status: RunStatus

    @property
    def fps(self) -> float:
        """Frames a second over the whole loop."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a loop runs.

    Args:
        draw: Draws a result on a copy of its frame, once however many sinks want it; not needed where no
            sink wants pictures.
        limit: Take at most so many frames of each camera; all by default.
        every: The model sees every so manieth frame of a camera; analysts follow its objects in between.
        analysts: Camera to its analyst; a camera without one has no events.
        reopen: Opens the model again after a fault of its engine; without it the first fault ends the run.
        retries: Failures in a row after which a live source is given up; never by default.
    """

    draw: Draw | None = None
    limit: int | None = None
    every: int = 1
    analysts: Mapping[str, Analyst] = field(default_factory=dict)
    reopen: Callable[[], Model] | None = None
    retries: int | None = None


class FrameLoop:
    """Everything that one run needs; runs once.

    Args:
        sources: Camera (a short name) to source; are closed by `run`.
        model: Stays open; one that takes its place after a fault is closed by `run`.
        sinks: Are closed by `run`.
        config: How it runs.
        monitor: Is told everything; one of the loop's own by default.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        model: Model,
        sinks: Sequence[Sink],
        config: LoopConfig | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self._config = config or LoopConfig()
        self._monitor = monitor or Monitor(sources, model)
        self._stop = self._monitor.stop_event
        self._model, self._sinks = model, tuple(sinks)
        self._turns = Turns(self._config.every)
        self._live = any(source.live for source in sources.values())
        self._intake = Intake(
            {camera: source.live for camera, source in sources.items()},
            limit=self._config.limit,
            on_drop=self._monitor.dropped,
        )
        self._feeds = [
            CameraFeed(
                camera,
                source,
                self._intake,
                self._monitor,
                retries=self._config.retries,
                on_failure=self._fail,
            )
            for camera, source in sources.items()
        ]
        self._inference = self._new_inference()
        self._restarted_at: float | None = None
        self._failure: BaseException | None = None
        self._failed = threading.Lock()
        self._leaving = threading.Event()
        self._delivered = 0
        self._ended = False

    def run(self) -> LoopReport:
        """Run to the end of the sources, to the limit, or to a stop.

        Raises:
            BaseException: Whatever a source, the model or a sink raised first, after all is closed.
        """
        start = perf_counter()
        watchdog = threading.Thread(target=self._watch, name="edgeyolo-watchdog", daemon=True)
        try:
            if self._live:
                watchdog.start()
            for feed in self._feeds:
                feed.start()
            self._inference.start()
            self._guarded(self._deliver)
            seconds = perf_counter() - start
        finally:
            self._leave(watchdog)
        if self._failure is not None:
            raise self._failure
        return LoopReport(
            frames=self._delivered,
            seconds=seconds,
            stopped=not self._ended,
            times=self._monitor.times,
            status=self._monitor.status(),
        )

    # --- results, in the calling thread --------------------------------------------------------------------

    def _deliver(self) -> None:
        while not self._stop.is_set():
            try:
                work = self._inference.results.get(timeout_s=_POLL_S)
            except TimeoutError:
                self._idle()
            except Ended:
                if self._inference.fault is None:
                    self._end()
                    return
                self._restart(self._inference.fault)
            else:
                inference = self._inference
                results = [self._result(work, entry) for entry in work.entries]
                inference.read(work)  # the next frame can be prepared in its slot
                for result in results:
                    self._show(result)
                inference.delivered()

    def _end(self) -> None:
        """All sources have ended; one that was given up meanwhile is told now.

        Raises:
            SourceError: What it failed with.
        """
        failures: list[SourceError] = [feed.failure for feed in self._feeds if feed.failure is not None]
        if failures:
            raise failures[0]
        self._ended = not self._stop.is_set()

    def _result(self, work: Work, entry: Entry) -> Result:
        output: Detections | Classification | None = None
        stage_ms: dict[str, float] = {}
        if entry.place is not None and entry.geometry is not None:
            with self._monitor.times.measure("postprocess"):
                output = self._model.postprocess(work.outputs, entry.geometry, entry.place)
            stage_ms = {
                "preprocess": entry.preprocess_ms,
                "infer": work.infer_ms,
                "postprocess": self._monitor.times.last("postprocess"),
            }
        detected, events = output is not None, tuple[Event, ...]()
        analyst = self._config.analysts.get(entry.frame.camera)
        if analyst is not None and not isinstance(output, Classification):
            output, events = analyst.update(entry.frame, output)
        result = Result(
            frame=entry.frame,
            output=Detections.empty() if output is None else output,
            stage_ms=stage_ms,
            events=events,
            age_ms=(monotonic() - entry.frame.captured_at_s) * 1e3,
            detected=detected,
        )
        self._monitor.answered(result)
        return result

    def _show(self, result: Result) -> None:
        draw = self._config.draw
        if draw is not None and any(sink.wants_picture for sink in self._sinks):
            with self._monitor.times.measure("draw"):
                picture = result.frame.image_bgr.copy()  # the frame itself stays as it was captured
                draw(picture, result)
            result = replace(result, picture_bgr=picture)
        with self._monitor.times.measure("output"):
            for sink in self._sinks:
                sink.write(result)
        self._delivered += 1

    def _idle(self) -> None:
        for sink in self._sinks:
            if isinstance(sink, IdleSink):
                sink.idle()

    # --- faults and the end --------------------------------------------------------------------------------

    def _new_inference(self) -> Inference:
        return Inference(
            self._model,
            self._intake,
            self._monitor.times,
            self._turns,
            live=self._live,
            on_failure=self._fail,
        )

    def _restart(self, fault: EngineError) -> None:
        """Load the engine again after a fault; the frames that were under way are taken again.

        Raises:
            EngineError: The fault itself where the model cannot be opened again.
            InferenceError: The engine that was loaded again failed, too.
        """
        if self._config.reopen is None:
            raise fault
        if self._restarted_at is not None and monotonic() - self._restarted_at < _SAME_FAULT_S:
            raise InferenceError(
                f"the engine was loaded again and failed again: {fault}", hint=fault.hint
            ) from fault
        _log.warning("the engine failed and is loaded again: %s", fault)
        self._inference.join()
        self._intake.requeue(self._inference.lost())
        try:
            self._model.close()
        except EngineError as exc:
            _log.warning("the faulty engine does not close: %s", exc)
        self._model = self._config.reopen()
        self._monitor.attach(self._model)
        self._restarted_at = monotonic()
        self._inference = self._new_inference()
        self._inference.start()

    def _watch(self) -> None:
        while not self._leaving.wait(_WATCH_S):
            for feed in self._feeds:
                self._guarded(feed.watch)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Halted:
            pass
        except BaseException as exc:  # noqa: BLE001 - carried to the caller of run(), whatever it is
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        with self._failed:
            if self._failure is None:
                self._failure = exc
            else:
                _log.error("also failed while stopping: %s", exc)
        self._intake.halt()
        self._inference.halt()

    def _leave(self, watchdog: threading.Thread) -> None:
        """Close everything, files first: whatever happens to the rest, they are whole."""
        self._leaving.set()
        self._intake.halt()
        self._inference.halt()
        for sink in self._sinks:
            self._guarded(sink.close)
        for feed in self._feeds:
            self._guarded(feed.halt)
        until = monotonic() + _LEAVE_S
        left = self._inference.join(max(0.0, until - monotonic()))
        if left and self._restarted_at is not None:
            self._guarded(self._model.close)
        for feed in self._feeds:
            left = feed.join(max(0.0, until - monotonic())) and left
        if not left:
            _log.warning("a thread is still in a driver or an inference, and is left to itself")
        if watchdog.ident is not None:
            watchdog.join()
