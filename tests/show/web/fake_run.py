"""A run for the tests of the web page: real results of a synthetic scene, a control that obeys."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgeyolo.camera.synthetic import NAMES, SyntheticSource
from edgeyolo.class_names import class_ids_from_names
from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Event, Frame, Result
from edgeyolo.live import RunStatus, SourceStatus
from edgeyolo.show.web import WebConfig, WebSink, ZoneDesk
from edgeyolo.vision.draw import Painter

__all__ = ["NAMES", "FakeControl", "LoopThread", "result", "serving"]


class FakeControl:
    """An `edgeyolo.live.Control` that tells what a test has set."""

    def __init__(self, cameras: Sequence[str] = ("0",)) -> None:
        self.conf, self.class_ids = 0.25, None
        self.sources = {
            c: SourceStatus(
                camera=c, name="test://?fps=30", live=True, state="live", size_wh=(640, 480), fps=29.7,
                capture_fps=30.0, captured=100, results=90, dropped=10, reconnects=2,
                age_ms={"p50": 41.0, "p90": 55.0, "p99": 71.0, "last": 40.0}, notes=("synthetic",),
            )
            for c in cameras
        }  # fmt: skip
        self.conf: float
        self.class_ids: tuple[int, ...] | None
        self.stopped = threading.Event()

    def set(self, camera: str = "0", **changes: Any) -> None:
        self.sources[camera] = dataclasses.replace(self.sources[camera], **changes)

    def status(self) -> RunStatus:
        return RunStatus(
            sources=tuple(self.sources.values()),
            stage_ms={"infer": {"p50": 8.0, "p90": 9.0, "p99": 12.0}},
            engine="demo.engine: onnxruntime fp32 320x240",
            engine_restarts=1,
            uptime_s=65.0,
            conf=self.conf,
            class_ids=self.class_ids,
        )

    def set_conf(self, conf: float) -> None:
        if not 0 <= conf <= 1:
            raise ConfigError(f"conf: 0..1 expected, {conf} found")
        self.conf = conf

    def set_classes(self, classes: Sequence[str | int] | None) -> None:
        self.class_ids = None if classes is None else class_ids_from_names(NAMES, classes)

    def stop(self) -> None:
        self.stopped.set()


def result(
    index: int = 0,
    *,
    camera: str = "0",
    wh: tuple[int, int] = (320, 240),
    picture: bool = True,
    events: tuple[Event, ...] = (),
    **more: Any,
) -> Result:
    """Give the result of one frame whose picture is of one colour, another one in each frame."""
    image = np.full((wh[1], wh[0], 3), (index * 40 % 256, 90, 160), np.uint8)
    frame = Frame(
        image_bgr=image, source="test://", index=index, time_s=index / 30, captured_at_s=time.monotonic(),
        camera=camera,
    )  # fmt: skip
    found = Detections(
        np.array([[10, 20, 100, 120]], np.float32),
        np.array([0.9], np.float32),
        np.array([index % len(NAMES)]),
    )
    return Result(
        frame=frame, output=found, stage_ms={"infer": 8.0}, age_ms=41.0, events=events,
        picture_bgr=image if picture else None, **more,
    )  # fmt: skip


class LoopThread(threading.Thread):
    """A frame loop with nothing to compute: what is true is found.

    Args:
        sink: Gets the results.
        control: Its cameras, confidence and classes hold.
        fps: Frames a second and camera.
        wh: Size of the pictures.
    """

    def __init__(
        self, sink: WebSink, control: FakeControl, *, fps: float = 15.0, wh: tuple[int, int] = (640, 480)
    ) -> None:
        super().__init__(daemon=True)
        self._sink, self._control, self._fps, self._wh = sink, control, fps, wh
        self._end = threading.Event()
        self.drawn = 0

    def run(self) -> None:
        painter = Painter(NAMES)
        scenes = {
            c: iter(SyntheticSource(width=self._wh[0], height=self._wh[1], frames=0, seed=i, cut=240))
            for i, c in enumerate(self._control.sources)
        }
        while not self._end.wait(1 / self._fps):
            for camera, scene in scenes.items():
                if self._control.sources[camera].state != "live":
                    continue
                now = time.monotonic()
                frame = dataclasses.replace(next(scene), camera=camera, captured_at_s=now)
                self._write(painter, frame)

    def _write(self, painter: Painter, frame: Frame) -> None:
        assert frame.truth is not None
        keep = np.isin(frame.truth.class_ids, self._control.class_ids or range(len(NAMES)))
        truth = frame.truth
        scores = np.linspace(0.95, 0.35, len(truth), dtype=np.float32)
        keep &= scores >= self._control.conf
        found = Detections(truth.xyxy[keep], scores[keep], truth.class_ids[keep])
        picture = None
        if self._sink.wants_picture:
            self.drawn += 1
            picture = frame.image_bgr.copy()
            painter.draw(picture, found)
        self._sink.write(
            Result(frame=frame, output=found, stage_ms={"infer": 8.0}, age_ms=41.0, picture_bgr=picture)
        )

    def end(self) -> None:
        self._end.set()
        self.join()


@contextmanager
def serving(
    control: FakeControl | None = None,
    *,
    address: str = "127.0.0.1:0",
    zones: ZoneDesk | None = None,
    **config: Any,
) -> Iterator[WebSink]:
    """Give a page that is served until the end of the block."""
    sink = WebSink(WebConfig(address=address, **config), NAMES, control or FakeControl(), zones=zones)
    try:
        yield sink
    finally:
        sink.close()
