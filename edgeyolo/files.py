"""Output files that appear whole or not at all, and the hashes that name inputs.

Owns temporary names, renames and sha256. Knows no file format.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeyolo.errors import EdgeYoloError, OutputError

__all__ = ["sha256_of", "whole_file", "write_bytes", "write_text"]

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
        if exc.filename is not None and Path(exc.filename) not in (path, temporary, *path.parents):
            raise  # an input that could not be read is not ours to explain
        raise OutputError(
            f"cannot write {path}: {exc.strerror or exc}", hint="free space or choose another -o"
        ) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
