"""The model's part of the frame loop: one life of an engine, from waiting frames to outputs.

    intake ──frames──► prepare ──filled──► infer ──results──►
                          ▲                                 │
                          └────────────free slots───────────┘

Owns the two threads around an engine and its slots, and knows after a fault which frames were lost with it. A
new life begins with a new engine. Refuses to know sources, sinks and what outputs mean.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from edgeyolo.detections import Classification, Detections
from edgeyolo.errors import EngineError
from edgeyolo.frames import Frame
from edgeyolo.pipeline.channel import Channel, Ended, Halted
from edgeyolo.pipeline.intake import Intake
from edgeyolo.pipeline.pace import Pace
from edgeyolo.pipeline.stats import StageTimes
from edgeyolo.runtime.predictor import Predictor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.vision.letterbox import Letterbox

__all__ = ["Entry", "Inference", "Model", "Turns", "Work"]

Model = Predictor[Detections | Classification]


@dataclass(kw_only=True)
class Entry:
    """One frame of a batch.

    Args:
        frame: The frame.
        place: Its place in the slot's batch; None where the model does not see it (`--every`).
        geometry: What leads from the network's pixels back to the frame's.
        preprocess_ms: How long it took.
    """

    frame: Frame
    place: int | None = None
    geometry: Letterbox | None = None
    preprocess_ms: float = 0.0


@dataclass(kw_only=True)
class Work:
    """A slot and the frames that came with it, in their order."""

    slot: int
    entries: list[Entry] = field(default_factory=list)
    filled: int = 0
    infer_ms: float = 0.0
    outputs: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


class Turns:
    """Which frames of a camera the model sees: the first, and then every so manieth.

    Args:
        every: 1 is all of them.

    Examples:
        >>> turns = Turns(every=3)
        >>> [turns.next("door") for _ in range(7)]
        [True, False, False, True, False, False, True]
    """

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._seen = Counter[str]()

    def next(self, camera: str) -> bool:
        """Count a frame of a camera; give whether the model sees it."""
        self._seen[camera] += 1
        return (self._seen[camera] - 1) % self._every == 0


class Inference:
    """One life of an engine.

    Args:
        model: Stays open.
        intake: Gives the frames.
        times: Gets ``preprocess`` and ``infer``.
        turns: Says which frames the model sees; kept over several lives.
        live: Whether age counts for more than keeping the model busy.
        on_failure: Gets what is not the engine's fault, and must end the run.
    """

    def __init__(
        self,
        model: Model,
        intake: Intake,
        times: StageTimes,
        turns: Turns,
        *,
        live: bool,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        slots = model.engine.slots
        self.model = model
        self.results: Channel[Work] = Channel(slots)
        self.fault: EngineError | None = None
        self._intake, self._times, self._turns = intake, times, turns
        self._pace = Pace() if live else None
        self._on_failure = on_failure
        self._free: Channel[int] = Channel(slots)
        self._filled: Channel[Work] = Channel(slots)
        self._in_hand: dict[str, Work] = {}  # stage to the batch that it holds, for `lost`
        for slot in range(slots):
            self._free.put(slot)
        self._threads = [
            threading.Thread(
                target=self._run, args=args, name=f"edgeyolo-{args[0].__name__[1:]}", daemon=True
            )
            for args in ((self._prepare, self._filled), (self._infer, self.results))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def read(self, work: Work) -> None:
        """Say that a batch's outputs have been read: its slot can be filled again."""
        with suppress(Halted):  # after a fault nothing is prepared any more, and results are still read
            self._free.put(work.slot)

    def delivered(self) -> None:
        """Say that a batch has left through the sinks."""
        if self._pace is not None:
            self._pace.delivered()

    def halt(self) -> None:
        """Make the threads leave soon; what is under way is lost."""
        for channel in (self._free, self._filled, self.results):
            channel.halt()
        if self._pace is not None:
            self._pace.halt()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the threads; give whether they have left."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def lost(self) -> list[Frame]:
        """Frames that were taken and have no result, in their order; for after `join`."""
        works = [self._in_hand.get("infer"), *self._filled.drain(), self._in_hand.get("prepare")]
        return [entry.frame for work in works if work is not None for entry in work.entries]

    def _prepare(self) -> None:
        while True:
            slot = self._free.get()
            if self._pace is not None:
                self._pace.wait()
            frames = self._intake.take(self.model.engine.batch)
            start = perf_counter()
            work = self._in_hand["prepare"] = Work(slot=slot, entries=[Entry(frame=f) for f in frames])
            for entry in work.entries:
                self._fill(work, entry)
            if work.filled:
                self.model.start(slot, work.filled)
            if self._pace is not None:
                self._pace.prepared(perf_counter() - start)
            self._filled.put(work)
            del self._in_hand["prepare"]

    def _fill(self, work: Work, entry: Entry) -> None:
        if not self._turns.next(entry.frame.camera):
            return
        with self._times.measure("preprocess"):
            entry.geometry = self.model.preprocess(entry.frame.image_bgr, work.slot, work.filled)
        entry.preprocess_ms = self._times.last("preprocess")
        entry.place = work.filled
        work.filled += 1

    def _infer(self) -> None:
        while True:
            work = self._in_hand["infer"] = self._filled.get()
            if self._pace is not None:
                self._pace.begin()
            if work.filled:
                with self._times.measure("infer"):
                    work.outputs = self.model.infer(work.slot, work.filled)
                work.infer_ms = self._times.last("infer")
            if self._pace is not None:
                self._pace.end(inferred=work.filled > 0)
            self.results.put(work)
            del self._in_hand["infer"]

    def _run(self, stage: Callable[[], None], output: Channel[Work]) -> None:
        """Run a stage to its end; whoever reads its output then has the fault, too."""
        try:
            stage()
        except (Ended, Halted):
            pass
        except EngineError as exc:
            self._fail(exc)
        except BaseException as exc:  # noqa: BLE001 - carried to the caller of the run, whatever it is
            self._on_failure(exc)
        finally:
            output.end()

    def _fail(self, exc: EngineError) -> None:
        """Keep the first fault and stop; the results that are there can still be taken."""
        self.fault = self.fault or exc
        self._free.halt()
        self._filled.halt()
        if self._pace is not None:
            self._pace.halt()
