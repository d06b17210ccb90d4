"""How far a build is: TensorRT's own phases where it tells them (10.0 on), else a sign of life.

Owns the monitor, the heartbeat and their pace: bars on a terminal, a line now and then elsewhere.
Ctrl-C reaches Python inside a monitor's callback, where TensorRT would swallow it: it is kept, the build is
cancelled, and the caller raises it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from edgeyolo.jetson import memory_here

__all__ = ["Progress"]

_LINE_EVERY_S = 5.0


class Progress:
    """Tells how far a build is; use it as a context manager around the build.

    Args:
        say: Is given one line now and then.
        every_s: Seconds between two lines.
        console: A ``rich.console.Console`` for bars; None for standard error, where it is a terminal.
    """

    def __init__(
        self, say: Callable[[str], None], *, every_s: float = _LINE_EVERY_S, console: Any = None
    ) -> None:
        self._say = say
        self._every_s = every_s
        self._console = console
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._phases: dict[str, tuple[int, int]] = {}  # open phase -> steps done, steps in all
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._began_s = 0.0
        self.error: BaseException | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._began_s

    def __enter__(self) -> Progress:
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="build-progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def attach(self, trt: Any, config: Any) -> None:
        """Let TensorRT tell its phases, where it can."""
        if hasattr(trt, "IProgressMonitor"):
            self._monitor = _monitor(trt, self)  # TensorRT does not keep it alive
            config.progress_monitor = self._monitor
            self._bars = _bars(self._console)

    def begin(self, phase: str, steps: int) -> None:
        """Note that a phase begins."""
        self._phases[phase] = (0, steps)
        if self._bars is not None:
            self._tasks[phase] = self._bars.add_task(phase, total=steps)

    def step(self, phase: str, step: int) -> None:
        """Note that a step of a phase is done."""
        if phase in self._phases:
            self._phases[phase] = (step + 1, self._phases[phase][1])
        if self._bars is not None and phase in self._tasks:
            self._bars.update(self._tasks[phase], completed=step + 1)

    def end(self, phase: str) -> None:
        """Note that a phase is over."""
        self._phases.pop(phase, None)
        if self._bars is not None and phase in self._tasks:
            self._bars.remove_task(self._tasks.pop(phase))

    def line(self) -> str:
        """Say where the build is.

        Examples:
            >>> progress = Progress(print)
            >>> progress.begin("Tactic selection", 75); progress.step("Tactic selection", 29)
            >>> progress.line().split(",")[1]
            ' Tactic selection 30/75'
        """
        parts = [
            f"building, {name} {done}/{steps}" for name, (done, steps) in list(self._phases.items())[-1:]
        ]
        parts = parts or ["building"]
        parts.append(f"{self.elapsed_s:.0f} s")
        memory = memory_here()
        if memory is not None:
            parts.append(f"{memory.available_mib} MiB of memory free")
        return ", ".join(parts)

    def _beat(self) -> None:
        while not self._stop.wait(self._every_s):
            if self._bars is None:
                self._say(self.line())


def _bars(console: Any) -> Any:
    """Start bars on a terminal; None where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = console or Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Bars(*columns, console=console, transient=True)
    bars.start()
    return bars


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base exists where TensorRT does
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.begin(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                progress.step(phase_name, step)
            except BaseException as exc:  # noqa: BLE001 - Ctrl-C lands here; TensorRT would swallow it
                progress.error = exc
            return progress.error is None

        def phase_finish(self, phase_name: str) -> None:
            progress.end(phase_name)

    return Monitor()
