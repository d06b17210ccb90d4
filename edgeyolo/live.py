"""How a run is going: the state of each source, and what may be changed while it runs.

Owns the snapshots that a page, a metric or a log line shows, and the protocol to steer a run by. The frame
loop fills and fulfils them (``edgeyolo.pipeline.monitor``); sinks read them. Refuses to measure anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = ["Control", "RunStatus", "SourceState", "SourceStatus"]

SourceState = Literal["connecting", "live", "stalled", "retrying", "ended", "failed"]


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """One source at one moment.

    Args:
        camera: Short name, as `edgeyolo.frames.Frame.camera`.
        name: Printable address; never with credentials.
        live: Whether it is a camera, whose frames may be dropped, or a file, whose frames are all answered.
        state: ``connecting`` until its first frame, ``live``, ``stalled`` when frames are overdue,
            ``retrying`` while it waits to connect again, ``ended`` where a file ends, ``failed`` when it was
            given up.
        reason: The last fault, in words; None while all is well.
        state_s: Seconds in this state.
        retry_in_s: Seconds to the next attempt, while ``retrying``.
        captured: Frames that came.
        results: Frames that were answered.
        dropped: Frames that came and were passed over for a newer one.
        reconnects: Times it became live again.
        capture_fps: Frames that came a second, over the last seconds.
        fps: Results a second, over the last seconds.
        age_ms: ``p50``, ``p90``, ``p99`` and ``last`` of the age of results, milliseconds from capture.
        size_wh: Pixels of the latest frame; None before the first.
        notes: How it is read, such as the decoder and why.
    """

    camera: str
    name: str
    live: bool
    state: SourceState
    reason: str | None = None
    state_s: float = 0.0
    retry_in_s: float | None = None
    captured: int = 0
    results: int = 0
    dropped: int = 0
    reconnects: int = 0
    capture_fps: float = 0.0
    fps: float = 0.0
    age_ms: Mapping[str, float] = field(default_factory=dict)
    size_wh: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run at one moment.

    Args:
        sources: One a camera, in the order of the command line.
        stage_ms: Stage (``capture``, ``preprocess``, ``infer``, ``postprocess``, ``draw``, ``output``) to
            ``p50``, ``p90``, ``p99`` of the last frames, milliseconds.
        engine: Printable description, such as ``"yolov3.engine: tensorrt fp16 416x416"``.
        engine_restarts: Times the engine was loaded again after a fault.
        uptime_s: Seconds since the run began.
        conf: Least score in force; None for a classifier.
        class_ids: Classes that are reported; None is all.
    """

    sources: tuple[SourceStatus, ...]
    stage_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    engine: str = ""
    engine_restarts: int = 0
    uptime_s: float = 0.0
    conf: float | None = None
    class_ids: tuple[int, ...] | None = None


class Control(Protocol):
    """Reads and steers a run from any thread."""

    @property
    def stopping(self) -> bool:
        """Whether the run is ending: whoever waits, waits no more."""

    def status(self) -> RunStatus:
        """Give a snapshot."""

    def set_conf(self, conf: float) -> None:
        """Change the least score of a box, 0..1, from the next frame on.

        Raises:
            ConfigError: Out of range, or the engine is a classifier.
        """

    def set_classes(self, classes: Sequence[str | int] | None) -> None:
        """Report these classes only, by name or id; None is all.

        Raises:
            ConfigError: One of them is not a class of the engine.
        """

    def stop(self) -> None:
        """End the run cleanly and soon."""
