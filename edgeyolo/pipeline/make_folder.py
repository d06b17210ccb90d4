"""The folder of a recipe's results, for one ``edgeyolo make`` at a time.

Owns the lock on it, and the removal of what a killed run left half-written there. Refuses to know stages.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgeyolo.errors import ConfigError, OutputError

__all__ = ["own_folder"]

_LOCK = ".make.lock"


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Hold a folder; hidden files of an earlier run, which `edgeyolo.files` writes to before it renames, go.

    The lock is the system's and ends with the process, however that ends. A system without locks goes
    without, and keeps the hidden files.

    Raises:
        ConfigError: Another run holds it.
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as exc:
        raise OutputError(
            f"cannot write {folder}: {exc.strerror or exc}", hint="write somewhere else"
        ) from exc
    with lock:
        if _locked(lock, folder):
            _remove_leftovers(folder)
        yield


def _locked(lock: IO[bytes], folder: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ConfigError(
            f"{folder}: another edgeyolo make is at work here", hint="wait for it, or end it first"
        ) from exc
    except OSError:  # a file system without locks
        return False
    return True


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(".*"):
        if path.name == _LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
