"""Where the ``edgeyolo`` process begins: Ctrl-C ends it quietly from the first moment on.

Owns only what happens before the command line is there: its imports take a tenth of a second on a laptop and
most of a second on a small board, which is long enough to change one's mind.
"""

from __future__ import annotations

import sys

__all__ = ["start"]


def start() -> None:
    """Load the command line and run it; interrupted while it loads, exit with 130."""
    try:
        from edgeyolo.cli.main import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    main()
