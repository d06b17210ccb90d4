"""A real browser, driven over its own protocol: Chromium's DevTools on a pipe, with nothing installed for it.

Source: https://chromedevtools.github.io/devtools-protocol/ and ``--remote-debugging-pipe`` (JSON, each
message ended by a zero byte, on file descriptors 3 and 4).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Browser", "Page", "open_browser"]

_TIMEOUT_S = 90.0
# Moves two descriptors to where Chromium looks for them, and becomes it.
_EXEC = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execvp(sys.argv[3], sys.argv[3:])"
)
_KEYS = {
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8, "Delete": 46,
    "Enter": 13, "Escape": 27, "Tab": 9, " ": 32,
}  # fmt: skip


class Browser:
    """The process and its pipe."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; what happens meanwhile is kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write_fd, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            answer = self._receive(deadline)
            assert answer is not None, f"Chromium did not answer {method} within {_TIMEOUT_S:g} s"
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._read_fd, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def page(
        self, url: str, *, wh: tuple[int, int] = (1280, 900), dark: bool = False, scale: float = 1
    ) -> Page:
        """Open a page of a window of its own size."""
        target = str(self.call("Target.createTarget", url="about:blank")["targetId"])
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.resize(*wh, scale=scale)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        page.call("Emulation.setEmulatedMedia", features=scheme)
        page.call("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete'")
        return page


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **params)

    def resize(self, width: int, height: int, *, scale: float = 1) -> None:
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=phone,
        )  # fmt: skip

    def value(self, expression: str) -> Any:
        """Evaluate an expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, timeout_s: float = 60.0) -> Any:
        """Evaluate until it is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {expression}"
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        return str(self.value(f"document.querySelector({json.dumps(selector)}).textContent"))

    def key(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key where the focus is."""
        letter = key if len(key) == 1 else {"Enter": "\r"}.get(key, "")
        common = {"key": key, "code": key, "modifiers": 8 if shift else 0}
        code = _KEYS.get(key, ord(key[0].upper()))
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if letter else "rawKeyDown",
            text=letter, windowsVirtualKeyCode=code, **common,
        )  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, **common)

    def centre(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """Give a place in an element, which is scrolled to, as page coordinates."""
        box = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect(); "
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        return box[0] + box[2] * at[0], box[1] + box[3] * at[1]

    def mouse(self, kind: str, x: float, y: float) -> None:
        buttons = 0 if kind == "mouseReleased" else 1
        self.call(
            "Input.dispatchMouseEvent",
            type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1,
        )  # fmt: skip

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        x, y = self.centre(selector, at)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mousePressed", *start)
        self.mouse("mouseMoved", *end)
        self.mouse("mouseReleased", *end)

    def screenshot(self, path: Path | None = None) -> bytes:
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(png)
        return png

    def complaints(self) -> list[str]:
        """Give what this page has written on the console as warning or error, and what it threw."""
        self.value("1")  # whatever is on its way comes before this answer
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in (
                "error",
                "warning",
                "assert",
            ):
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def forget_complaints(self) -> None:
        self._browser.events[:] = [e for e in self._browser.events if e.get("sessionId") != self._session]


@contextlib.contextmanager
def open_browser(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[Browser]:
    """Start Chromium without a screen; it is gone, with its files, at the end."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    to_read, from_write = os.pipe()
    from_read, to_write = os.pipe()
    # Away from 3 and 4, so that neither overwrites the other.
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_read, to_write)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                sys.executable, "-c", _EXEC, *map(str, theirs), program, "--headless=new", "--no-sandbox",
                "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio",
                "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--remote-debugging-pipe", *options,
            ],
            pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        for fd in (to_read, to_write, *theirs):
            os.close(fd)
        try:
            yield Browser(from_read, from_write)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
            os.close(from_read)
            os.close(from_write)
