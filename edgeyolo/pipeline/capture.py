"""One source read for as long as a run lasts: a camera that fails is connected to again.

    connecting ──frame──► live ──fault, or no frame in time──► retrying ──frame──► live
                                                                  │ longer each time, forever by default

Owns the thread that reads, the numbering of frames over reconnections, and the watchdog over a source that
hangs in a driver. A file that fails is not read again. Refuses to know what kinds of sources there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from time import perf_counter

from edgeyolo.errors import FrameTimeoutError, SourceError, SourceRefusedError
from edgeyolo.frames import Frame, Source
from edgeyolo.pipeline.backoff import BackOff
from edgeyolo.pipeline.channel import Halted
from edgeyolo.pipeline.intake import Intake
from edgeyolo.pipeline.monitor import Monitor

__all__ = ["CameraFeed"]

# A source keeps its time limit itself; one that is this much over it hangs, and is closed from outside.
_GRACE_S = 2.0
# A thread that hangs in a driver even then is left behind and a new one begins. More than a few of them mean
# that the device is gone for good: then it is waited for.
_MOST_ABANDONED = 3


class CameraFeed:
    """Reads one source into the intake.

    Args:
        camera: Its short name.
        source: Is iterated again after each fault.
        intake: Gets the frames.
        monitor: Is told of every change; has the time limit.
        retries: Failures in a row after which a live source is given up; never by default.
        on_failure: Gets what is not a source's fault, and must end the run.
    """

    def __init__(
        self,
        camera: str,
        source: Source,
        intake: Intake,
        monitor: Monitor,
        *,
        retries: int | None = None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.failure: SourceError | None = None
        self._camera, self._source = camera, source
        self._intake, self._monitor = intake, monitor
        self._retries, self._on_failure = retries, on_failure
        self._halted = threading.Event()
        self._back_off = BackOff()
        self._threads: list[threading.Thread] = []
        self._closed_by_watchdog = False
        self._index = 0
        self._first_captured_s: float | None = None

    def start(self) -> None:
        """Begin to read, in a thread of its own."""
        thread = threading.Thread(target=self._run, name=f"edgeyolo-capture-{self._camera}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def watch(self) -> None:
        """Look whether the source hangs, and free the camera from it; called every now and then."""
        overdue_s = self._monitor.overdue_s(self._camera) if self._source.live else 0.0
        limit_s = self._monitor.stall_timeout_s + _GRACE_S
        if overdue_s <= limit_s:
            self._closed_by_watchdog = False
        elif not self._closed_by_watchdog:
            self._closed_by_watchdog = True
            self._source.close()
        elif overdue_s > limit_s + _GRACE_S and sum(t.is_alive() for t in self._threads) <= _MOST_ABANDONED:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._closed_by_watchdog = False
            self._monitor.retrying(self._camera, f"{self._source.name}: hangs and cannot be closed", 0.0)
            self.start()

    def halt(self) -> None:
        """Make the thread leave soon; does not wait for it."""
        self._halted.set()
        self._source.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; give whether it has left."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        try:
            while self._connect_and_read():
                pass
        except Halted:
            pass
        except BaseException as exc:  # noqa: BLE001 - carried to the caller of the run, whatever it is
            self._on_failure(exc)

    def _connect_and_read(self) -> bool:
        """Read until the source ends or fails, and wait for the next attempt; False when there is none."""
        self._monitor.connecting(self._camera)
        try:
            self._read()
            if not self._mine():
                return False
            if not self._source.live or not self._intake.wants(self._camera):
                self._give_up(None)
                return False
            fault: SourceError = SourceError(f"{self._source.name}: the stream ended")
        except SourceError as exc:
            fault = exc
        if not self._mine():
            return False
        if self._is_final(fault):
            self._give_up(fault)
            return False
        wait_s = self._back_off.next_s()
        self._monitor.retrying(self._camera, self._in_words(fault), wait_s)
        return not self._halted.wait(wait_s)

    def _read(self) -> None:
        with closing(self._frames()) as frames:
            while self._intake.wants(self._camera):
                start = perf_counter()
                frame = next(frames, None)
                if frame is None or not self._mine():
                    return
                self._monitor.times.record("capture", (perf_counter() - start) * 1e3)
                frame = self._stamped(frame)
                self._back_off.reset()
                self._monitor.came(frame)
                self._intake.put(frame)

    def _frames(self) -> Generator[Frame, None, None]:
        yield from self._source  # closing this ends the source's own generator in the thread that runs it

    def _stamped(self, frame: Frame) -> Frame:
        """Number a frame across reconnections, on one time line."""
        index, self._index = self._index, self._index + 1
        if not self._source.live:
            return replace(frame, camera=self._camera)
        if self._first_captured_s is None:
            self._first_captured_s = frame.captured_at_s
        time_s = frame.captured_at_s - self._first_captured_s
        return replace(frame, camera=self._camera, index=index, time_s=time_s)

    def _mine(self) -> bool:
        """Whether this thread still reads the camera: it is not when it hung and another took its place."""
        return not self._halted.is_set() and threading.current_thread() is self._threads[-1]

    def _is_final(self, fault: SourceError) -> bool:
        """Whether trying again is no use: a file, no attempt left, or refused before it ever worked."""
        if not self._source.live:
            return True
        if isinstance(fault, SourceRefusedError) and self._index == 0:
            return True
        return self._retries is not None and self._back_off.failures >= self._retries

    def _give_up(self, fault: SourceError | None) -> None:
        self.failure = fault
        self._monitor.ended(self._camera, None if fault is None else fault.message)
        self._intake.end(self._camera)

    def _in_words(self, fault: SourceError) -> str:
        """Give the fault without the source's name, which whoever shows it shows anyway."""
        words = fault.message.removeprefix(f"{self._source.name}: ")
        if self._closed_by_watchdog and not isinstance(fault, FrameTimeoutError):
            return f"no frame for {self._monitor.stall_timeout_s:g} s"
        return words
