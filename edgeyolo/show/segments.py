"""The files of a recording: their names, which of them are ours, and how much room they take.

Owns the ledger ``.out.mp4.segments`` beside ``out.mp4``: the names of the files that recordings of this name
have made, oldest first, those of earlier runs too. A file that is not in it is never deleted. Knows no video
format.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime, timezone
from pathlib import Path

from edgeyolo.errors import OutputError
from edgeyolo.files import write_text

__all__ = ["Segments", "place_stamp", "wall_stamp"]

_log = logging.getLogger(__name__)


class Segments:
    """The files of one recording.

    Args:
        path: As the user named it, such as ``out.mp4``; segments are ``out-STAMP.mp4`` beside it.
        max_bytes: Most that all files of the ledger may take; None for no bound.

    Examples:
        >>> import tempfile
        >>> segments = Segments(Path(tempfile.mkdtemp()) / "out.mp4")
        >>> first = segments.begin("20261129T081500Z"); first.touch(); first.name
        'out-20261129T081500Z.mp4'
        >>> segments.begin("20261129T081500Z").name
        'out-20261129T081500Z-2.mp4'
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._ledger = path.with_name(f".{path.name}.segments")
        self._names = self._read()

    def begin(self, stamp: str) -> Path:
        """Give the name of a new file; it is in the ledger before it is on the disk.

        Args:
            stamp: What tells it from the others, such as `wall_stamp`.

        Raises:
            OSError: The ledger cannot be written.
        """
        path, number = self._path.with_stem(f"{self._path.stem}-{stamp}"), 1
        while path.exists():
            number += 1
            path = self._path.with_stem(f"{self._path.stem}-{stamp}-{number}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("a", encoding="utf-8") as file:
            file.write(f"{path.name}\n")
        self._names.append(path.name)
        return path

    def keep_within(self) -> None:
        """Delete the oldest files until all of them take no more room than they may; never the newest."""
        if self._max_bytes is None:
            return
        sizes = {name: _size(self._path.with_name(name)) for name in self._names}
        excess = sum(sizes.values()) - self._max_bytes
        gone = []
        for name in self._names[:-1]:
            if excess <= 0:
                break
            try:
                self._path.with_name(name).unlink(missing_ok=True)
            except OSError as exc:
                _log.warning("cannot delete %s: %s", self._path.with_name(name), exc.strerror or exc)
            excess -= sizes[name]
            gone.append(name)
        if gone:
            self._names = [name for name in self._names if name not in gone]
            with contextlib.suppress(OutputError):  # a name too many in the ledger costs nothing
                write_text(self._ledger, "".join(f"{name}\n" for name in self._names))

    def _read(self) -> list[str]:
        """Give the files of earlier runs that are still there."""
        try:
            lines = self._ledger.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        # Names alone, of our form: a ledger that was edited must not lead to anything else.
        start, end = f"{self._path.stem}-", self._path.suffix
        ours = (n for n in lines if n.startswith(start) and n.endswith(end) and Path(n).name == n)
        return [name for name in dict.fromkeys(ours) if self._path.with_name(name).is_file()]


def wall_stamp(unix_s: float) -> str:
    """Give a moment as it stands in a name: UTC, so that names sort and no hour comes twice.

    Examples:
        >>> wall_stamp(1_795_940_100.9)
        '20261129T081500Z'
    """
    return datetime.fromtimestamp(unix_s, timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def place_stamp(time_s: float) -> str:
    """Give a place on a file's time line as it stands in a name.

    Examples:
        >>> place_stamp(3725.5)
        '01h02m05s'
    """
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60:02d}h{minutes % 60:02d}m{seconds:02d}s"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
