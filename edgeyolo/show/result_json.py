"""A result and an event as JSON values: the run contract, for every sink that sends JSON.

Owns the keys, their order, and how many digits a number has. Refuses to know where the JSON goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edgeyolo.detections import Classification, Detections
from edgeyolo.frames import Event, Result

__all__ = ["event_values", "json_text", "result_values"]

_TIME_DIGITS = 6  # microseconds
_MS_DIGITS = 3
_SCORE_DIGITS = 5
_PIXEL_DIGITS = 2


def json_text(values: dict[str, Any]) -> str:
    """Give one line of JSON, without the line's end."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def result_values(
    result: Result, names: Sequence[str], *, with_camera: bool = False, with_age: bool = False
) -> dict[str, Any]:
    """Give a result as JSON values.

    Args:
        result: The result.
        names: Class names; the index is the class id.
        with_camera: Whether to say which camera, as where there are several.
        with_age: Whether to say how old the result is, as for a live source.

    Returns:
        ``{"source", "frame", "time_s", "width", "height", "latency_ms", "detections": [{"class_id", "label",
        "score", "box": [x0, y0, x1, y1]}]}`` with boxes in pixels of the frame, or ``"classification":
        [{"class_id", "label", "score"}]``, best first. These are there only where they say something:
        ``"camera"``; ``"age_ms"``; ``"path"`` of a frame that was a file of its own; ``"detected": false``
        of a frame whose boxes are followed from earlier ones; ``"track_id"`` in each detection where objects
        are followed; ``"events"``, each as `event_values` gives it.
    """
    frame = result.frame
    height, width = frame.image_bgr.shape[:2]
    values: dict[str, Any] = {"camera": frame.camera} if with_camera else {}
    values |= {
        "source": frame.source,
        "frame": frame.index,
        "time_s": round(frame.time_s, _TIME_DIGITS),
        "width": width,
        "height": height,
        "latency_ms": round(result.latency_ms, _MS_DIGITS),
    }
    if with_age:
        values["age_ms"] = round(result.age_ms, _MS_DIGITS)
    if frame.path is not None:
        values["path"] = frame.path
    if not result.detected:
        values["detected"] = False
    if isinstance(result.output, Classification):
        values["classification"] = _ranked(result.output, names)
    else:
        values["detections"] = _detections(result.output, names)
    if result.events:
        values["events"] = [event_values(event) for event in result.events]
    return values


def event_values(event: Event) -> dict[str, Any]:
    """Give an event as JSON values.

    Returns:
        ``{"kind", "where", "camera", "frame", "time_s", "unix_s", "track_id", "class_id", "label", "score",
        "box"}``, and ``"direction"``, ``"seconds"``, ``"lost": true`` and ``"counts"`` where the event has
        them.
    """
    values: dict[str, Any] = {
        "kind": event.kind,
        "where": event.where,
        "camera": event.camera,
        "frame": event.frame,
        "time_s": round(event.time_s, _TIME_DIGITS),
        "unix_s": round(event.unix_s, _TIME_DIGITS),
        "track_id": event.track_id,
        "class_id": event.class_id,
        "label": event.label,
        "score": round(event.score, _SCORE_DIGITS),
        "box": [round(value, _PIXEL_DIGITS) for value in event.box],
    }
    if event.direction is not None:
        values["direction"] = event.direction
    if event.seconds is not None:
        values["seconds"] = round(event.seconds, _MS_DIGITS)
    if event.lost:
        values["lost"] = True
    if event.counts:
        values["counts"] = dict(event.counts)
    return values


def _ranked(output: Detections | Classification, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"class_id": class_id, "label": names[class_id], "score": round(score, _SCORE_DIGITS)}
        for class_id, score in zip(output.class_ids.tolist(), output.scores.tolist(), strict=True)
    ]


def _detections(detections: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    boxes = [[round(value, _PIXEL_DIGITS) for value in box] for box in detections.xyxy.tolist()]
    values = [{**entry, "box": box} for entry, box in zip(_ranked(detections, names), boxes, strict=True)]
    if detections.track_ids is not None:
        for entry, track_id in zip(values, detections.track_ids.tolist(), strict=True):
            entry["track_id"] = track_id
    return values
