"""Results as JSON lines: the run contract, one line a frame.

Owns the form of a line and that only whole lines are ever seen. The file is written in place, not under a
temporary name: its readers follow it while it grows (``tail -f``), each line stands for itself, and a run
that is interrupted or killed leaves every line it has finished.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from edgeyolo.detections import Classification, Detections
from edgeyolo.errors import OutputError
from edgeyolo.frames import Result

__all__ = ["JsonLinesSink", "json_line"]

_TIME_DIGITS = 6  # microseconds
_MS_DIGITS = 3
_SCORE_DIGITS = 5
_PIXEL_DIGITS = 2


class JsonLinesSink:
    """A `edgeyolo.frames.Sink` that writes one line a result.

    Args:
        path: The file, which is emptied; ``-`` is stdout.
        names: Class names; the index is the class id.

    Raises:
        OutputError: The file cannot be opened for writing.
    """

    wants_picture = False

    def __init__(self, path: Path | str, names: tuple[str, ...]) -> None:
        self._names = names
        self._path = str(path)
        self._file: BinaryIO | None
        if self._path == "-":
            self._file = sys.stdout.buffer
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as exc:
            raise _output_error(self._path, exc) from exc

    def write(self, result: Result) -> None:
        """Write one line and flush it.

        Raises:
            OutputError: The disk is full; the file ends with the last whole line.
            BrokenPipeError: The reader of stdout went away.
        """
        assert self._file is not None, "write after close"
        line = json_line(result, self._names).encode() + b"\n"
        if self._path == "-":
            self._file.write(line)
            self._file.flush()
            return
        whole = self._file.tell() if self._file.seekable() else None
        try:
            _write_all(self._file, line)
        except OSError as exc:
            if whole is not None:
                os.ftruncate(self._file.fileno(), whole)
            raise _output_error(self._path, exc) from exc

    def close(self) -> None:
        """Close the file; twice is harmless. Stdout stays open."""
        if self._file is not None and self._path != "-":
            self._file.close()
        self._file = None


def json_line(result: Result, names: tuple[str, ...]) -> str:
    """Give a result as one line of JSON, without the line's end.

    Args:
        result: The result.
        names: Class names; the index is the class id.

    Returns:
        ``{"source", "frame", "time_s", "width", "height", "latency_ms", "detections": [{"class_id", "label",
        "score", "box": [x0, y0, x1, y1]}]}`` with boxes in pixels of the frame, or ``"classification":
        [{"class_id", "label", "score"}]``, best first. A frame that was a file of its own has ``"path"`` too.
    """
    frame = result.frame
    height, width = frame.image_bgr.shape[:2]
    line: dict[str, Any] = {
        "source": frame.source,
        "frame": frame.index,
        "time_s": round(frame.time_s, _TIME_DIGITS),
        "width": width,
        "height": height,
        "latency_ms": round(result.latency_ms, _MS_DIGITS),
    }
    if frame.path is not None:
        line["path"] = frame.path
    ranked = [
        {"class_id": class_id, "label": names[class_id], "score": round(score, _SCORE_DIGITS)}
        for class_id, score in zip(
            result.output.class_ids.tolist(), result.output.scores.tolist(), strict=True
        )
    ]
    if isinstance(result.output, Classification):
        line["classification"] = ranked
    else:
        line["detections"] = [
            {**entry, "box": box} for entry, box in zip(ranked, _boxes(result.output), strict=True)
        ]
    return json.dumps(line, ensure_ascii=False, allow_nan=False)


def _boxes(detections: Detections) -> list[list[float]]:
    return [[round(value, _PIXEL_DIGITS) for value in box] for box in detections.xyxy.tolist()]


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of it: an unbuffered file may take a part, such as what still fits on a full disk."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _output_error(path: str, exc: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {exc.strerror or exc}", hint="free space or choose another --jsonl"
    )
