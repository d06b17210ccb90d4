"""The sources of one run, each under a short name.

Owns the words of the command line: ``URI``, or ``NAME=URI`` where the user names a camera. What a URI means
is ``edgeyolo.camera``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edgeyolo.camera import open_source
from edgeyolo.errors import ConfigError
from edgeyolo.frames import Source

__all__ = ["open_cameras"]

# Letters, digits, dots and dashes: the name becomes a part of file names, web addresses and topics.
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,31})=(.+)", re.DOTALL)


def open_cameras(words: Sequence[str], *, stall_timeout_s: float) -> dict[str, Source]:
    """Open every source of a run; nothing is connected to yet.

    Args:
        words: ``URI`` or ``NAME=URI`` each; a file whose name looks like the latter is that file.
        stall_timeout_s: Seconds without a frame after which a live source fails.

    Returns:
        Camera to source, in order. One without a name is called by its place: ``"0"``, ``"1"``.

    Raises:
        ConfigError: No source, or two of one name.
        SourceOpenError: One of them cannot be opened; the others are closed.

    Examples:
        >>> list(open_cameras(["front=test://", "test://?seed=1"], stall_timeout_s=5))
        ['front', '1']
    """
    if not words:
        raise ConfigError("sources: at least one expected, none found")
    cameras: dict[str, Source] = {}
    with ExitStack() as stack:
        for place, word in enumerate(words):
            named = None if Path(word).exists() else _NAMED.fullmatch(word)
            name, uri = (named[1], named[2]) if named else (str(place), word)
            if name in cameras:
                raise ConfigError(
                    f"sources: two cameras are called {name!r}", hint=f"{name}-2=URI names the second"
                )
            cameras[name] = open_source(uri, stall_timeout_s=stall_timeout_s)
            stack.callback(cameras[name].close)
        stack.pop_all()
    return cameras
