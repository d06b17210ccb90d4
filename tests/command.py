"""The command line as a process of its own, for what only a process shows: signals, exit codes, streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-c", "from edgeyolo.cli.main import main; main()")


def edgeyolo(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``edgeyolo WORDS...`` and give what came of it."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )
