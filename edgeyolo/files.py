"""Output files that appear whole or not at all, and the hashes that name inputs.

Owns temporary names, renames and sha256. Knows no file format.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeyolo.errors import EdgeYoloError, OutputError

__all__ = ["mapped", "sha256_of", "whole_file", "whole_folder", "write_bytes", "write_text"]

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path | str) -> str:
    """Hash a file without reading it into memory at once.

    Args:
        path: An existing file.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def mapped(path: Path | str) -> Iterator[mmap.mmap | bytes]:
    """Give the bytes of a file without a copy of them in memory, which a small board has no room for.

    Raises:
        OSError: The file cannot be read.

    Examples:
        >>> file = Path(tempfile.mkdtemp()) / "a"
        >>> _ = file.write_bytes(b"abc")
        >>> with mapped(file) as data: print(len(data), bytes(data))
        3 b'abc'
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # of nothing there is no map
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it there on success, remove it on any error.

    The temporary file keeps the suffix of `path`, because libraries choose a format by it, and lies in the
    same folder, because a rename is atomic only within one file system.

    Args:
        path: The file to make; its folder is created.

    Yields:
        The path to write to.

    Raises:
        OutputError: The folder or the file cannot be written, or the disk is full.

    Examples:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; an output gets the permissions that the user's umask gives.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except EdgeYoloError:
        raise
    except OSError as exc:
        ours = temporary is None or Path(exc.filename or path) in (path, temporary, *path.parents)
        if not ours:
            raise  # an input that could not be read is not ours to explain
        raise OutputError(
            f"cannot write {path}: {exc.strerror or exc}", hint="free space, or write somewhere else"
        ) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success its files move into `path`, all or none.

    Files of other names that `path` has are left alone. Where one of the moves fails, those before it are
    undone.

    Args:
        path: The folder to fill; it is created, and so are its parents.

    Yields:
        The folder to write to; files only, no folders.

    Raises:
        OutputError: The folder or a file in it cannot be written, or the disk is full.

    Examples:
        >>> folder = Path(tempfile.mkdtemp()) / "out"
        >>> with whole_folder(folder) as temporary:
        ...     _ = (temporary / "a.txt").write_text("a")
        ...     folder.exists()
        False
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a folder expected, a file found", str(path))
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        (temporary / "new").mkdir()
        yield temporary / "new"
        _move_all(temporary / "new", path, temporary / "old")
    except OutputError as exc:  # of a file in the folder: call it by the name that it was to have
        named = exc.message.replace(str(temporary and temporary / "new"), str(path))
        raise OutputError(named, hint=exc.hint) from exc
    except EdgeYoloError:
        raise
    except OSError as exc:
        ours = temporary is None or _is_below(Path(exc.filename or path), path, temporary)
        if not ours:
            raise  # an input that could not be read is not ours to explain
        raise OutputError(
            f"cannot write {path}: {exc.strerror or exc}", hint="free space, or write somewhere else"
        ) from exc
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _move_all(new: Path, path: Path, old: Path) -> None:
    """Move every file of `new` into `path`, keeping what it replaces in `old` until all have moved."""
    if not path.exists():
        new.rename(path)  # one step, which not even a kill can halve
        return
    old.mkdir()
    names = sorted(file.name for file in new.iterdir())
    try:
        for name in names:
            if (path / name).exists():
                (path / name).replace(old / name)
            (new / name).replace(path / name)
    except BaseException:
        for name in names:
            if not (new / name).exists():
                (path / name).unlink(missing_ok=True)
            if (old / name).exists():
                (old / name).replace(path / name)
        raise


def _is_below(name: Path, path: Path, temporary: Path) -> bool:
    return name in (path, *path.parents) or any(folder in name.parents for folder in (path, temporary))


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    write_bytes(path, text.encode())
