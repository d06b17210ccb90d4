"""How the process ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A thread that never returns stands for one inside an engine; `app` ends as typer does after Ctrl-C.
ENDING = """
import atexit, sys, threading, time
from edgeyolo.cli import main as line
def app():
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    raise {end}
line.app = app
atexit.register(print, "the interpreter was ended under the thread")
print("a result")
line.main()
"""


@pytest.mark.parametrize("end", ["SystemExit(130)", "KeyboardInterrupt"])
def test_an_interrupted_engine_is_not_torn_down_under_its_thread(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING.format(end=end)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "a result\n")
    assert "Traceback" not in done.stderr
