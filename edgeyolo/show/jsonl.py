"""Results as JSON lines: the run contract, one line a frame.

Owns that only whole lines are ever seen, and the files of a rotation. The file is written in place,
not under a temporary name: its readers follow it while it grows (``tail -F``), each line stands for itself,
and a run that is interrupted or killed leaves every line it has finished.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from edgeyolo.errors import OutputError
from edgeyolo.frames import Result
from edgeyolo.show.result_json import json_text, result_values

__all__ = ["JsonLinesSink"]

_log = logging.getLogger(__name__)


class JsonLinesSink:
    """A `edgeyolo.frames.Sink` that writes one line a result.

    Without rotation the file is emptied when it is opened. With it, a file that is there becomes
    ``out.jsonl.1`` when the sink is opened, and so does the one being written before a line would make it
    larger than `rotate_bytes`; those before move up by one, and the last is deleted.

    Args:
        path: The file; ``-`` is stdout.
        names: Class names; the index is the class id.
        with_camera: Whether a line says which camera it is of.
        live: Cameras whose lines say how old the result is. Where there is one, a disk that is full loses
            lines and says so once, and detection goes on; else it ends the run.
        rotate_bytes: Most bytes of a file; None for one file without end.
        keep: Earlier files to keep, 1 or more.

    Raises:
        OutputError: The file cannot be opened for writing.
    """

    wants_picture = False

    def __init__(
        self,
        path: Path | str,
        names: tuple[str, ...],
        *,
        with_camera: bool = False,
        live: Collection[str] = (),
        rotate_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        self._names = names
        self._path = str(path)
        self._with_camera = with_camera
        self._live = frozenset(live)
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._failing = False
        self.dropped = 0
        self._file: BinaryIO | None
        if self._path == "-":
            self._file = sys.stdout.buffer
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if rotate_bytes is not None and Path(path).is_file() and Path(path).stat().st_size:
                self._move_up()
            self._file = _open_empty(self._path)
        except OSError as exc:
            raise _output_error(self._path, exc) from exc

    @property
    def notes(self) -> tuple[str, ...]:
        """How many lines are missing."""
        return (f"{self._path}: {self.dropped} lines are missing",) if self.dropped else ()

    def write(self, result: Result) -> None:
        """Write one line and flush it.

        Raises:
            OutputError: The disk is full; the file ends with the last whole line.
            BrokenPipeError: The reader of stdout went away.
        """
        assert self._file is not None, "write after close"
        camera = result.frame.camera
        values = result_values(
            result, self._names, with_camera=self._with_camera, with_age=camera in self._live
        )
        line = json_text(values).encode() + b"\n"
        if self._path == "-":
            self._file.write(line)
            self._file.flush()
            return
        try:
            self._append(line)
        except OSError as exc:
            self._failed(exc)
        else:
            if self._failing:
                self._failing = False
                _log.warning("%s: written again; %d lines are missing", self._path, self.dropped)

    def close(self) -> None:
        """Close the file; twice is harmless. Stdout stays open."""
        if self._file is not None and self._path != "-":
            self._file.close()
        self._file = None

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        whole = self._file.tell() if self._file.seekable() else None
        if whole and self._rotate_bytes is not None and whole + len(line) > self._rotate_bytes:
            self._rotate()
            whole = 0
        try:
            _write_all(self._file, line)
        except OSError:
            if whole is not None:
                os.ftruncate(self._file.fileno(), whole)
                self._file.seek(whole)
            raise

    def _failed(self, exc: OSError) -> None:
        """End the run, or say it once where live cameras must go on."""
        error = _output_error(self._path, exc)
        if not self._live:
            raise error from exc
        self.dropped += 1
        if not self._failing:
            self._failing = True
            _log.warning("%s; detection goes on without it until there is room", error)

    def _rotate(self) -> None:
        assert self._file is not None
        self._move_up()
        rotated = self._file
        self._file = _open_empty(self._path)
        rotated.close()

    def _move_up(self) -> None:
        """Make room for a new file by renames, so that no moment lacks a line that was there."""
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, self._keep + 1))]
        for older, newer in zip(names[-1:0:-1], names[-2::-1], strict=True):
            if Path(newer).exists():
                Path(newer).replace(older)


def _open_empty(path: str) -> BinaryIO:
    return open(path, "wb", buffering=0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of it: an unbuffered file may take a part, such as what still fits on a full disk."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _output_error(path: str, exc: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {exc.strerror or exc}", hint="free space or choose another --jsonl"
    )
