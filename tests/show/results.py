"""Results and events for the tests of sinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeyolo.detections import Classification, Detections
from edgeyolo.frames import Event, Frame, Result

NAMES = ("car", "café")


def result(
    index: int = 0,
    *,
    wh: tuple[int, int] = (64, 48),
    output: Detections | Classification | None = None,
    path: str | None = None,
    grey: int = 0,
    camera: str = "0",
    captured_at_s: float = 0.0,
    **more: Any,
) -> Result:
    """Give the result of one frame of a clip of 25 frames a second."""
    image = np.full((wh[1], wh[0], 3), grey, np.uint8)
    frame = Frame(
        image_bgr=image,
        source="clip.mp4",
        index=index,
        time_s=index / 25,
        captured_at_s=captured_at_s,
        path=path,
        camera=camera,
    )
    return Result(
        frame=frame,
        output=Detections.empty() if output is None else output,
        stage_ms={"preprocess": 1.0, "infer": 2.5, "postprocess": 0.25},
        picture_bgr=image,
        **more,
    )


def two_boxes(*, track_ids: tuple[int, int] | None = None) -> Detections:
    return Detections(
        np.array([[1, 2.5, 30.123, 40], [0, 0, 5, 5]], np.float32),
        np.array([0.9, 0.3], np.float32),
        np.array([1, 0]),
        None if track_ids is None else np.array(track_ids),
    )


def event(frame: int = 7, *, camera: str = "0", **more: Any) -> Event:
    return Event(
        **{
            "kind": "enter",
            "where": "door",
            "camera": camera,
            "frame": frame,
            "time_s": frame / 25,
            "unix_s": 1_764_000_000.5,
            "track_id": 12,
            "class_id": 1,
            "label": NAMES[1],
            "score": 0.8765432,
            "box": (1.0, 2.0, 3.004, 4.0),
            **more,
        }
    )
