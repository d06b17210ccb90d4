"""The frame loop: source, model and sinks overlapped in threads.

    capture ──frames──► prepare ──filled──► infer ──inferred──► deliver (the calling thread)
                           ▲                                       │
                           └───────────────free slots──────────────┘

Owns the threads, the order of frames and the end of everything: whatever happens, threads are joined, and
the source and each sink are closed exactly once. Refuses to know where pictures come from and go to.

* One thread a stage and first-in first-out channels keep the order; bounded channels keep the memory.
* Nothing is dropped: a slow sink makes the source wait. (A live source that must not wait is to replace the
  first channel by one that keeps the newest frame.)
* Sinks run in the calling thread: a window must, and so a signal reaches Python code at once.
* The first failure of any thread halts all channels and is raised by `FrameLoop.run`, as it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

from edgeyolo.detections import Classification, Detections
from edgeyolo.frames import Frame, Result, Sink, Source
from edgeyolo.pipeline.channel import Channel, Ended, Halted
from edgeyolo.pipeline.stats import StageTimes
from edgeyolo.runtime.predictor import Predictor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["Draw", "FrameLoop", "LoopReport"]

# Draws a result on a picture, in place.
Draw = Callable[["npt.NDArray[np.uint8]", "Detections | Classification"], None]
_log = logging.getLogger(__name__)

Model = Predictor[Detections | Classification]

# Decoders give frames in bursts; four waiting ones smooth that and are 25 MB at 1080p.
_WAITING_FRAMES = 4
_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    """How a loop went.

    Args:
        frames: Results given to the sinks.
        seconds: From the start of the loop to the last result.
        stopped: Whether it was stopped before the source ended.
        times: Milliseconds of each stage.
    """

    frames: int
    seconds: float
    stopped: bool
    times: StageTimes

    @property
    def fps(self) -> float:
        """Frames a second over the whole loop."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(kw_only=True)
class _Work:
    """A slot and the frames in it."""

    slot: int
    frames: list[Frame] = field(default_factory=list)
    geometry: list[Letterbox] = field(default_factory=list)
    preprocess_ms: list[float] = field(default_factory=list)
    infer_ms: float = 0.0
    outputs: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


class FrameLoop:
    """Everything that one run needs; runs once.

    Args:
        source: Is closed by `run`.
        model: Stays open.
        sinks: Are closed by `run`.
        draw: Draws a result on a copy of its frame, once however many sinks want it; not needed where no
            sink wants pictures.
        limit: Take at most so many frames; all by default.
        stop: When set, by any thread or by a signal handler, the loop ends cleanly and soon.
    """

    def __init__(
        self,
        source: Source,
        model: Model,
        sinks: Sequence[Sink],
        *,
        draw: Draw | None = None,
        limit: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._source = source
        self._model = model
        self._sinks = tuple(sinks)
        self._draw = draw if any(sink.wants_picture for sink in sinks) else None
        self._limit = limit
        self._stop = stop or threading.Event()
        self._frames: Channel[Frame] = Channel(_WAITING_FRAMES)
        self._free: Channel[int] = Channel(model.engine.slots)
        self._filled: Channel[_Work] = Channel(model.engine.slots)
        self._inferred: Channel[_Work] = Channel(model.engine.slots)
        self._failure: BaseException | None = None
        self._failed = threading.Lock()
        self._times = StageTimes()
        self._delivered = 0
        self._ended = False

    def run(self) -> LoopReport:
        """Run to the end of the source, to the limit, or to a stop.

        Raises:
            BaseException: Whatever the source, the model or a sink raised first, after all is closed.
        """
        for slot in range(self._model.engine.slots):
            self._free.put(slot)
        start = perf_counter()
        stages = {"capture": self._capture, "prepare": self._prepare, "infer": self._infer}
        threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=f"edgeyolo-{name}", daemon=True)
            for name, stage in stages.items()
        ]
        try:
            for thread in threads:
                thread.start()
            self._guarded(self._deliver)
            seconds = perf_counter() - start
        finally:
            self._halt()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._close_all()
        if self._failure is not None:
            raise self._failure
        return LoopReport(frames=self._delivered, seconds=seconds, stopped=not self._ended, times=self._times)

    def _capture(self) -> None:
        with closing(self._source_frames()) as frames:
            self._take(frames)
        self._frames.end()

    def _source_frames(self) -> Generator[Frame, None, None]:
        yield from self._source  # closing this ends the source's own generator in the thread that runs it

    def _take(self, frames: Iterator[Frame]) -> None:
        taken = 0
        while not self._stop.is_set() and (self._limit is None or taken < self._limit):
            start = perf_counter()
            frame = next(frames, None)
            if frame is None:
                break
            self._times.record("capture", (perf_counter() - start) * 1e3)
            self._frames.put(frame)
            taken += 1

    def _prepare(self) -> None:
        # A live frame must not wait for others to fill its batch; a file's can.
        batch = 1 if self._source.live else self._model.engine.batch
        for work in self._works(batch):
            self._model.start(work.slot, len(work.frames))
            self._filled.put(work)
        self._filled.end()

    def _works(self, batch: int) -> Iterator[_Work]:
        """Fill one free slot after the other; the last may be partly filled."""
        while True:
            try:
                frame = self._frames.get()
            except Ended:
                return
            work = _Work(slot=self._free.get())
            while True:
                self._fill(work, frame)
                if len(work.frames) == batch:
                    break
                try:
                    frame = self._frames.get()
                except Ended:
                    break
            yield work

    def _fill(self, work: _Work, frame: Frame) -> None:
        with self._times.measure("preprocess"):
            geometry = self._model.preprocess(frame.image_bgr, work.slot, len(work.frames))
        work.frames.append(frame)
        work.geometry.append(geometry)
        work.preprocess_ms.append(self._times.last("preprocess"))

    def _infer(self) -> None:
        while True:
            try:
                work = self._filled.get()
            except Ended:
                break
            with self._times.measure("infer"):
                work.outputs = self._model.infer(work.slot, len(work.frames))
            work.infer_ms = self._times.last("infer")
            self._inferred.put(work)
        self._inferred.end()

    def _deliver(self) -> None:
        while not self._stop.is_set():
            try:
                work = self._inferred.get(timeout_s=_POLL_S)
            except TimeoutError:
                continue
            except Ended:
                self._ended = not self._stop.is_set()
                return
            results = [self._result(work, index) for index in range(len(work.frames))]
            self._free.put(work.slot)  # its outputs have been read: the next frame can be prepared
            for result in results:
                self._show(result)

    def _result(self, work: _Work, index: int) -> Result:
        with self._times.measure("postprocess"):
            output = self._model.postprocess(work.outputs, work.geometry[index], index)
        stage_ms = {
            "preprocess": work.preprocess_ms[index],
            "infer": work.infer_ms,
            "postprocess": self._times.last("postprocess"),
        }
        return Result(frame=work.frames[index], output=output, stage_ms=stage_ms)

    def _show(self, result: Result) -> None:
        if self._draw is not None:
            with self._times.measure("draw"):
                picture = result.frame.image_bgr.copy()  # the frame itself stays as it was captured
                self._draw(picture, result.output)
            result = replace(result, picture_bgr=picture)
        with self._times.measure("output"):
            for sink in self._sinks:
                sink.write(result)
        self._delivered += 1

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
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
        self._halt()

    def _halt(self) -> None:
        for channel in (self._frames, self._free, self._filled, self._inferred):
            channel.halt()

    def _close_all(self) -> None:
        self._guarded(self._source.close)
        for sink in self._sinks:
            self._guarded(sink.close)
