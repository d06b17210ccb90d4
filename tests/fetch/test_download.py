"""Downloads against a server on this machine that truncates, lies, fails and recovers; never the real net."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeyolo.errors import FetchError, OutputError
from edgeyolo.fetch.catalogue import KnownModel, RemoteFile
from edgeyolo.fetch.download import fetch

pytestmark = pytest.mark.needs("pooch")

CONTENT = bytes(range(256)) * 4096  # 1 MiB, several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Request:
    """What the script of a server sees and may answer with."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.start = int(
            (handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-")
        )

    def send(self, body: bytes, *, status: int = 200, length: int | None = None) -> None:
        handler = self._handler
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    def send_rest(self, *, cut: int | None = None) -> None:
        """Answer as a server does that knows ranges; break off at byte `cut` of the file."""
        body = CONTENT[self.start : cut]
        self.send(body, status=206 if self.start else 200, length=len(CONTENT) - self.start)


class Server:
    """Serves one scripted answer after the other and keeps what was asked for."""

    def __init__(self) -> None:
        self.script: list[Callable[[Request], None]] = []
        self.starts: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                request = Request(self)
                outer.starts.append(request.start)
                outer.script.pop(0)(request)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/m.weights"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
    assert not server.script, "the script was not played to its end"


def _refusing_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/m.weights"


def _model(*urls: str) -> KnownModel:
    file = RemoteFile(name="m.weights", sha256=SHA256, size_mib=1, urls=urls, pinned_by="this test")
    return KnownModel(title="one MiB", files=(file,))


def _fetch(folder: Path, *urls: str, attempts: int = 3) -> bytes:
    (path,) = fetch(_model(*urls), folder, attempts=attempts, pause_s=0)
    assert path == folder / "m.weights"
    assert [p.name for p in folder.iterdir()] == ["m.weights"], "nothing else is left"
    return path.read_bytes()


def test_the_file_comes_whole_and_progress_is_told(server: Server, tmp_path: Path) -> None:
    server.script = [Request.send_rest]
    told: list[tuple[str, int, int | None]] = []
    fetch(_model(server.url), tmp_path / "new", progress=lambda file, *n: told.append((file.name, *n)))
    assert (tmp_path / "new" / "m.weights").read_bytes() == CONTENT
    assert told[0] == ("m.weights", 0, len(CONTENT))
    assert told[-1] == ("m.weights", len(CONTENT), len(CONTENT))
    assert [here for _, here, _ in told] == sorted(here for _, here, _ in told)


def test_a_file_that_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.weights").write_bytes(CONTENT)
    assert _fetch(tmp_path, server.url) == CONTENT
    assert server.starts == []


def test_a_broken_connection_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.script = [
        lambda request: request.send_rest(cut=600_000),
        lambda request: request.send_rest(cut=900_000),
        Request.send_rest,
    ]
    assert _fetch(tmp_path, server.url) == CONTENT
    first, second, third = server.starts
    assert first == 0 < second <= 600_000 < third <= 900_000


def test_a_second_run_continues_the_first(server: Server, tmp_path: Path) -> None:
    server.script = [lambda request: request.send_rest(cut=600_000)]
    with pytest.raises(FetchError, match="the connection ended before the file did"):
        fetch(_model(server.url), tmp_path, attempts=1)
    assert [p.name for p in tmp_path.iterdir()] == ["m.weights.part"]
    server.script = [Request.send_rest]
    assert _fetch(tmp_path, server.url) == CONTENT
    assert 0 < server.starts[1] <= 600_000


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.script = [lambda request: request.send_rest(cut=600_000), lambda request: request.send(CONTENT)]
    assert _fetch(tmp_path, server.url) == CONTENT
    assert 0 < server.starts[1] <= 600_000


@pytest.mark.parametrize("part", [b"another file" * 1000, CONTENT + b"tail"], ids=["other", "too long"])
def test_a_part_of_something_else_is_thrown_away(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "m.weights.part").write_bytes(part)
    first = (lambda request: request.send(b"", status=416)) if len(part) > len(CONTENT) else Request.send_rest
    server.script = [first, Request.send_rest]
    assert _fetch(tmp_path, server.url) == CONTENT
    assert server.starts == [len(part), 0]


def test_a_whole_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.weights.part").write_bytes(CONTENT)
    server.script = [lambda request: request.send(b"", status=416)]
    assert _fetch(tmp_path, server.url) == CONTENT


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.script = [lambda request: request.send(b"busy", status=503), Request.send_rest]
    assert _fetch(tmp_path, server.url) == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_mirror_stands_in_at_once_for_a_file_that_is_gone(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.script = [lambda request: request.send(b"gone", status=status), Request.send_rest]
    assert _fetch(tmp_path, server.url, server.url) == CONTENT


def test_a_mirror_stands_in_for_a_refused_connection(server: Server, tmp_path: Path) -> None:
    server.script = [Request.send_rest]
    assert _fetch(tmp_path, _refusing_url(), server.url) == CONTENT


def test_a_wrong_file_is_not_kept_and_both_hashes_are_told(server: Server, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><p>Please log in"
    server.script = [lambda request: request.send(page)]
    with pytest.raises(FetchError) as caught:
        fetch(_model(server.url), tmp_path, pause_s=0)
    assert SHA256 in caught.value.message
    assert (
        f"sent a web page of {len(page)} bytes, sha256 {hashlib.sha256(page).hexdigest()}"
        in caught.value.message
    )
    assert list(tmp_path.iterdir()) == []


def test_offline_says_the_address_the_hash_and_where_to_put_the_file(tmp_path: Path) -> None:
    url = _refusing_url()
    with pytest.raises(FetchError) as caught:
        fetch(_model(url), tmp_path, attempts=3, pause_s=0)
    assert f"{url}: connection refused (3 times)" in caught.value.message
    assert SHA256 in caught.value.message
    assert str(tmp_path / "m.weights") in (caught.value.hint or "")


def test_a_wrong_file_put_there_by_hand_is_told_of_and_replaced(server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "m.weights"
    wrong.write_bytes(b"a half")
    with pytest.raises(
        FetchError, match=f"is there, but its sha256 is {hashlib.sha256(b'a half').hexdigest()}"
    ):
        fetch(_model(_refusing_url()), tmp_path, attempts=1)
    assert wrong.read_bytes() == b"a half", "what the user put there is not deleted for nothing"
    server.script = [Request.send_rest]
    assert _fetch(tmp_path, server.url) == CONTENT


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        fetch(_model("http://127.0.0.1:9/m.weights"), tmp_path / "file" / "cache")
