"""Download a known model into a folder: mirrors in order, resumed where it stopped, proved by sha256.

Owns the network and the words for what goes wrong with it. Refuses to know which models there are
(``catalogue``) and to guess a folder: `default_cache` only says where one belongs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeyolo.errors import FetchError, OutputError
from edgeyolo.fetch.catalogue import KnownModel, RemoteFile
from edgeyolo.files import sha256_of
from edgeyolo.optional import require

__all__ = ["Progress", "default_cache", "fetch"]

Progress = Callable[[RemoteFile, int, int | None], None]
"""Called with the file, the bytes that are here, and all bytes where the server told."""

_CHUNK_BYTES = 1 << 16
_WHY = "to fetch weights"
_ENDED_EARLY = "the connection ended before the file did"


def default_cache() -> Path:
    """Give the user's cache folder for EdgeYOLO, such as ``~/.cache/edgeyolo``; it need not exist.

    Raises:
        MissingDependencyError: pooch is absent.
    """
    return Path(require("pooch", why=_WHY).os_cache("edgeyolo"))


def fetch(
    model: KnownModel,
    folder: Path,
    *,
    progress: Progress | None = None,
    attempts: int = 4,
    pause_s: float = 1.0,
    timeout_s: float = 30.0,
) -> tuple[Path, ...]:
    """Get all files of a model; what is there already with the right hash is not downloaded.

    Args:
        model: What to get.
        folder: Where to; created. An interrupted download leaves ``NAME.part`` there, which the next call
            continues.
        progress: Told of every chunk.
        attempts: How often each address is tried when the connection breaks or the server is busy.
        pause_s: Seconds before the second attempt; doubled for each further one.
        timeout_s: Seconds without a byte after which a connection counts as broken.

    Returns:
        The paths, in the order of `KnownModel.files`.

    Raises:
        FetchError: No address gave the file that was pinned.
        OutputError: The folder cannot be written.
        MissingDependencyError: pooch is absent.
    """
    attempt = _Attempt(progress or (lambda *_: None), attempts, pause_s, timeout_s)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_fetch_file(file, folder, attempt) for file in model.files)
    except FetchError:
        raise
    except OSError as exc:
        raise OutputError(
            f"cannot write {folder}: {exc.strerror or exc}", hint="free space or choose another --cache"
        ) from exc


@dataclass(frozen=True)
class _Attempt:
    progress: Progress
    attempts: int
    pause_s: float
    timeout_s: float


class _WrongFileError(Exception):
    """What came is not what was pinned."""


class _BrokenConnectionError(Exception):
    """The download stopped; another attempt may continue it."""


def _fetch_file(file: RemoteFile, folder: Path, attempt: _Attempt) -> Path:
    pooch = require("pooch", why=_WHY)
    pooch.get_logger().setLevel("WARNING")
    path = folder / file.name
    failures = []
    if path.exists() and (found := sha256_of(path)) != file.sha256:
        failures.append(f"{path} is there, but its sha256 is {found}")
    for url in file.urls:
        for number in range(attempt.attempts):
            if number:
                time.sleep(attempt.pause_s * 2 ** (number - 1))
            download = _Download(file, path.with_name(path.name + ".part"), attempt)
            try:
                pooch.retrieve(
                    url, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=download
                )
                return path
            except _BrokenConnectionError as exc:
                failures.append(f"{url}: {exc}")
            except _WrongFileError as exc:
                failures.append(f"{url}: {exc}")
                if not download.resumed:
                    break
    raise FetchError(_message(file, failures), hint=_hint(path))


class _Download:
    """pooch's downloader protocol, made to continue: a ``.part`` file keeps what came until it is whole."""

    def __init__(self, file: RemoteFile, part: Path, attempt: _Attempt) -> None:
        self._file = file
        self._part = part
        self._attempt = attempt
        self.resumed = False

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        requests = require("requests", why=_WHY)
        try:
            self._receive(requests, url)
        except requests.RequestException as exc:
            raise _BrokenConnectionError(_reason(exc)) from exc
        found = sha256_of(self._part)
        if found != self._file.sha256:
            what = _looks_like(self._part)
            self._part.unlink()
            raise _WrongFileError(f"sent {what}, sha256 {found}")
        shutil.move(self._part, output_file)

    def _receive(self, requests: Any, url: str) -> None:
        here = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
        with requests.get(url, headers=headers, stream=True, timeout=self._attempt.timeout_s) as response:
            if response.status_code == 416:  # nothing after what is here: whole, or longer than the file
                self.resumed = True
                return
            if response.status_code >= 500 or response.status_code == 429:
                raise _BrokenConnectionError(f"HTTP {response.status_code} {response.reason}")
            if response.status_code >= 400:
                raise _WrongFileError(f"HTTP {response.status_code} {response.reason}")
            self.resumed = response.status_code == 206
            here = here if self.resumed else 0
            length = response.headers.get("Content-Length", "")
            self._write(response, here, here + int(length) if length.isdigit() else None)

    def _write(self, response: Any, here: int, whole: int | None) -> None:
        with self._part.open("ab" if here else "wb") as part:
            self._attempt.progress(self._file, here, whole)
            for chunk in response.iter_content(_CHUNK_BYTES):
                part.write(chunk)
                here += len(chunk)
                self._attempt.progress(self._file, here, whole)
        if whole is not None and here < whole:
            # urllib3 1.x does not compare what came with Content-Length; 2.x does, see _reason
            raise _BrokenConnectionError(_ENDED_EARLY)


def _reason(exc: BaseException) -> str:
    """Say in a few words what requests reports in a nest of exceptions."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    if type(exc).__name__ == "IncompleteRead":
        return _ENDED_EARLY
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return text[:1].lower() + text[1:]


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    size = f"{path.stat().st_size} bytes"
    return (
        f"a web page of {size}"
        if start.startswith((b"<!doctype html", b"<html"))
        else f"another file of {size}"
    )


def _message(file: RemoteFile, failures: list[str]) -> str:
    tried = "\n  ".join(
        f"{failure} ({count} times)" if count > 1 else failure for failure, count in _counted(failures)
    )
    return f"{file.name} ({file.size_mib:g} MiB, sha256 {file.sha256}) could not be fetched:\n  {tried}"


def _counted(failures: list[str]) -> list[tuple[str, int]]:
    return [(failure, failures.count(failure)) for failure in dict.fromkeys(failures)]


def _hint(path: Path) -> str:
    return (
        f"get it in any other way, put it at {path}, and give the same command again; its sha256 is checked"
    )
