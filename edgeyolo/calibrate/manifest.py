"""Which pictures scales were made from: a list that names them by content, as text that people can check.

Owns the list, its text form and its fingerprint. Refuses to look for pictures (`gather`) and to open them
(`check`, `feed`).

The text form is what ``sha256sum`` writes, ``<sha256>  <path>`` a line, sorted by path, so that
``cd PICTURES && sha256sum -c manifest.txt`` checks it. A frame of a video is ``<path>#<frame>`` with the
hash of the video: pixels of a frame depend on the decoder, the file does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeyolo.errors import CalibrationError
from edgeyolo.files import write_bytes
from edgeyolo.vision.images import is_image_path

__all__ = ["Item", "Manifest", "is_manifest", "read_manifest"]

_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_FRAME = re.compile(r"(.+)#([0-9]{1,12})")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}  # as GNU sha256sum writes them
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}


@dataclass(frozen=True, order=True)
class Item:
    """One picture: a file, or a frame of a video.

    Args:
        path: Relative to the manifest's root, with ``/``.
        frame: Which frame of a video, from 0; -1 where the file is the picture.
        sha256: Of the file, 64 lower-case hexadecimal digits.

    Examples:
        >>> Item("day/v.mp4", 30, "00" * 32).name
        'day/v.mp4#30'
    """

    path: str
    frame: int
    sha256: str

    @property
    def name(self) -> str:
        """How people and the text form call it."""
        return self.path if self.frame < 0 else f"{self.path}#{self.frame}"


@dataclass(frozen=True)
class Manifest:
    """Pictures in a fixed order, and the folder that they are named from.

    Args:
        root: Folder that every path is relative to.
        items: Sorted by path, then frame; no name twice.

    Examples:
        >>> manifest = Manifest.of(Path("p"), [Item("b.png", -1, "11" * 32), Item("a.png", -1, "00" * 32)])
        >>> manifest.to_text().split()[1::2]
        ['a.png', 'b.png']
    """

    root: Path
    items: tuple[Item, ...]

    @classmethod
    def of(cls, root: Path, items: Iterable[Item]) -> Manifest:
        """Sort `items` and drop what is named twice."""
        return cls(root, tuple(sorted(set(items))))

    def __len__(self) -> int:
        return len(self.items)

    def file_of(self, item: Item) -> Path:
        """Give the file that an item lies in."""
        return self.root / item.path

    def to_text(self) -> str:
        """Give the text form; non-UTF-8 names keep their bytes as surrogates."""
        return "".join(map(_line_of, self.items))

    @property
    def fingerprint(self) -> str:
        """Sha256 of the text form: equal where the same pictures are meant under the same names."""
        return hashlib.sha256(_encoded(self.to_text())).hexdigest()

    def write(self, path: Path | str) -> None:
        """Write the text form, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        write_bytes(path, _encoded(self.to_text()))

    def subset(self, count: int) -> Manifest:
        """Choose `count` items, always the same, from everywhere.

        Items are ranked by a hash of their content and place, so the choice is spread over the whole list,
        does not change when files are added elsewhere in the ranking, and a smaller subset lies within
        every larger one (which makes a convergence figure one of growing samples).
        """
        return Manifest.of(self.root, self.ranked()[:count])

    def ranked(self) -> tuple[Item, ...]:
        """Give the items in the order in which `subset` takes them."""
        return tuple(sorted(self.items, key=_rank))


def is_manifest(text: str) -> bool:
    """Tell a manifest from a plain list of paths by its first line that is no comment."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return _LINE.fullmatch(next(lines, "")) is not None


def read_manifest(path: Path | str, *, root: Path | None = None) -> Manifest:
    """Read the text form.

    Args:
        path: The manifest.
        root: Folder that its paths are relative to; the manifest's own by default.

    Raises:
        CalibrationError: The file cannot be read, or a line is no ``<sha256>  <path>``.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as exc:
        raise CalibrationError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    items = [
        _item_of(line, f"{path}:{number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line and not line.startswith("#")
    ]
    return Manifest.of(path.parent if root is None else root, items)


def _rank(item: Item) -> str:
    # Not the file's hash itself: all frames of a video share it. Not the name: renaming must not matter.
    return hashlib.sha256(f"{item.sha256}#{item.frame}".encode()).hexdigest() + item.path


def _line_of(item: Item) -> str:
    name = "".join(_ESCAPES.get(character, character) for character in item.name)
    return f"{chr(92) if name != item.name else ''}{item.sha256}  {name}\n"


def _item_of(line: str, where: str) -> Item:
    match = _LINE.fullmatch(line.rstrip("\r"))
    if match is None:
        raise CalibrationError(
            f"{where}: 64 hexadecimal digits, two spaces and a path expected, {line[:80]!r} found",
            hint="(cd PICTURES && sha256sum *.jpg) > manifest.txt",
        )
    escaped, digest, name = match.groups()
    if escaped:
        name = re.sub(r"\\[\\nr]", lambda found: _UNESCAPES[found.group()], name)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise CalibrationError(f"{where}: a path inside the folder expected, {name!r} found")
    frame = _FRAME.fullmatch(name)
    if frame is not None and not is_image_path(name):
        return Item(frame[1], int(frame[2]), digest.lower())
    return Item(name, -1, digest.lower())


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
