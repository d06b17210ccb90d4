"""What TensorRT says while an engine is loaded and run: kept, so that an error can give the reason.

TensorRT's calls answer with None or False; why is in its log only. Owns the adapter. Everything said also
goes to `logging`, under ``edgeyolo.tensorrt``.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from edgeyolo.tensorrt_api import logger_to

__all__ = ["RuntimeLog"]

_LEVELS = {
    "INTERNAL_ERROR": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.DEBUG,  # what TensorRT calls information is of use to whoever debugs it
    "VERBOSE": logging.DEBUG,
}
_KEPT_LINES = 50
# Of two engines at a time: each keeps its own logger, and nothing follows from it for a user.
_OF_NO_USE = "The logger passed into createInfer"
_log = logging.getLogger("edgeyolo.tensorrt")


class RuntimeLog:
    """Keeps the last lines.

    Examples:
        >>> log = RuntimeLog()
        >>> log.reason()
        'TensorRT gives no reason'
        >>> log.add("ERROR", "magicTag does not match"); log.add("INFO", "destroyed")
        >>> log.reason()
        'magicTag does not match'
    """

    def __init__(self) -> None:
        self._lines: deque[tuple[str, str]] = deque(maxlen=_KEPT_LINES)

    def add(self, severity: str, message: str) -> None:
        """Keep one line."""
        if message.startswith(_OF_NO_USE):
            severity = "VERBOSE"
        self._lines.append((severity, message))
        _log.log(_LEVELS.get(severity, logging.WARNING), "%s", message)

    def reason(self) -> str:
        """Give the last error, else the last warning."""
        for wanted in (("INTERNAL_ERROR", "ERROR"), ("WARNING",)):
            for severity, message in reversed(self._lines):
                if severity in wanted:
                    return message
        return "TensorRT gives no reason"

    def logger(self, trt: Any) -> Any:
        """Make the object that the module `trt` logs to; it must outlive what was made with it."""
        return logger_to(trt, self.add)
