"""The RTSP server of `tests.camera.rtsp_server` as a process that a test starts, stops and kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

from tests.parts import PROJECT

__all__ = ["RtspServer"]


class RtspServer:
    """Runs from its making on; a context manager that kills it at the end.

    Args:
        arguments: As of the script, such as ``"--codec", "h265"``.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, again on the same port."""
        script = PROJECT / "tests" / "camera" / "rtsp_server.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--port", str(self.port), *self._arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the RTSP server did not start"
        self.port = int(line)

    def url(self, path: str = "/cam", *, login: str = "", query: str = "") -> str:
        """Give an address of it."""
        scheme = "rtsps" if "--certificate" in self._arguments else "rtsp"
        return f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{self.port}{path}{query}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.communicate()

    def freeze(self) -> None:
        """Let it hang with its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
