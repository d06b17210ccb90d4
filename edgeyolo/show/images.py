"""Annotated pictures as files: one, or one a frame in a folder.

Owns their names. Drawing is done before a sink sees the result.
"""

from __future__ import annotations

from pathlib import Path

from edgeyolo.errors import ConfigError, OutputError
from edgeyolo.files import whole_file
from edgeyolo.frames import Result
from edgeyolo.optional import require

__all__ = ["ImageFileSink", "ImageFolderSink"]


class ImageFolderSink:
    """A `edgeyolo.frames.Sink` that writes one picture a result into a folder.

    A frame that was a file of its own keeps its name (with a number where two folders have the same name);
    any other is ``NAME-000042.jpg`` after its source and index.

    Args:
        folder: Made if it is not there; other files in it stay.
    """

    wants_picture = True

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._written: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(
                f"cannot write into {self._folder}: {exc.strerror or exc}", hint="choose another --save"
            ) from exc

    def write(self, result: Result) -> None:
        """Write one picture, whole or not at all."""
        _write_picture(self._folder / self._name_of(result), result)

    def close(self) -> None:
        """Nothing is held open between two pictures."""

    def _name_of(self, result: Result) -> str:
        frame = result.frame
        if frame.path is None:
            return f"{_file_stem(frame.source)}-{frame.index:06d}.jpg"
        path = Path(frame.path)
        name, number = path.name, 1
        while name.casefold() in self._written:
            number += 1
            name = f"{path.stem}-{number}{path.suffix}"
        self._written.add(name.casefold())
        return name


class ImageFileSink:
    """A `edgeyolo.frames.Sink` for the one picture of an image source.

    Args:
        path: The file; its suffix says the format.
    """

    wants_picture = True

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def write(self, result: Result) -> None:
        """Write the picture, whole or not at all."""
        _write_picture(self._path, result)

    def close(self) -> None:
        """Nothing is held open."""


def _write_picture(path: Path, result: Result) -> None:
    assert result.picture_bgr is not None, "a sink that wants pictures was given none"
    if result.frame.path is not None and path.exists() and path.samefile(result.frame.path):
        raise ConfigError(f"--save: {path} is a picture of the source", hint="choose another folder")
    cv2 = require("cv2", why="to write pictures")
    try:
        good, data = cv2.imencode(path.suffix.lower(), result.picture_bgr)
    except cv2.error as exc:
        raise OutputError(f"cannot write {path}: OpenCV cannot encode it: {exc}") from exc
    if not good:
        raise OutputError(f"cannot write {path}: OpenCV cannot encode {path.suffix!r}")
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def _file_stem(source: str) -> str:
    """Make a file name of a source's name, which may be a path or a URI."""
    stem = Path(source.split("?")[0]).stem if "://" not in source else source.split("?")[0]
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem).strip("-.") or "frame"
