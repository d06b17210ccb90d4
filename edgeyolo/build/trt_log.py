"""What TensorRT says while it parses and builds: kept, so that an error can quote it.

Owns the adapter to TensorRT's logger and the reading of what was said: out of memory, layers that leave the
DLA. Refuses to print: whoever builds decides what a user sees.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from edgeyolo.errors import BuildError
from edgeyolo.tensorrt_api import logger_to

__all__ = ["BuildLog"]

Made = TypeVar("Made")

_SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
_KEPT_LINES = 2000
# What TensorRT and CUDA write when memory runs out. "Skipping tactic ... due to insufficient memory" is a
# warning that a build survives, and is counted apart.
_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|std::bad_alloc|cudaErrorMemoryAllocation|failed to allocate|could not be allocated"
    r"|NvMapMemAlloc",
    re.IGNORECASE,
)
_SKIPPED = re.compile(r"skipping tactic.*(?:insufficient|memory)", re.IGNORECASE)
# "Layer 'x' (SHUFFLE): Unsupported on DLA. Switching this layer's device type to GPU." (TensorRT 8 to 10)
_LEFT_DLA = re.compile(
    r"(?:Layer )?'?([^'()]+?)'? ?(?:\((\w+)\))?: (?:\w+ )*unsupported on DLA", re.IGNORECASE
)


class BuildLog:
    """Keeps the last lines of TensorRT's log.

    Args:
        echo: Is given every line of severity `echo_from` or worse, as it comes.
        echo_from: The least severe that `echo` is given.

    Examples:
        >>> log = BuildLog()
        >>> log.add("INFO", "Total Weights Memory: 1 bytes")
        >>> log.add("ERROR", "Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)")
        >>> log.out_of_memory, log.errors
        (True, ('Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)',))
    """

    def __init__(self, *, echo: Callable[[str], None] | None = None, echo_from: str = "WARNING") -> None:
        self._lines: deque[tuple[str, str]] = deque(maxlen=_KEPT_LINES)
        self._echo = echo
        self._echo_from = _SEVERITIES.index(echo_from)
        self._logger: Any = None

    def add(self, severity: str, message: str) -> None:
        """Keep one line."""
        self._lines.append((severity, message))
        if self._echo is not None and _SEVERITIES.index(severity) <= self._echo_from:
            self._echo(f"TensorRT {severity.lower()}: {message}")

    def logger(self, trt: Any) -> Any:
        """Give the object that TensorRT logs to: one, for TensorRT warns of a second.

        Args:
            trt: The module ``tensorrt`` or ``tensorrt_rtx``.
        """
        if self._logger is None:
            self._logger = logger_to(trt, self.add)
        return self._logger

    def made(self, thing: Made | None, what: str) -> Made:
        """Give what TensorRT made, or raise with what it said: its calls answer None where they fail.

        Raises:
            BuildError: There is nothing.
        """
        if thing is None:
            raise BuildError(f"TensorRT makes no {what}:\n{self.last() or '  (and gives no reason)'}")
        return thing

    @property
    def errors(self) -> tuple[str, ...]:
        """Every error, oldest first."""
        return tuple(text for severity, text in self._lines if severity in _SEVERITIES[:2])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning once, oldest first."""
        return tuple(dict.fromkeys(text for severity, text in self._lines if severity == "WARNING"))

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out in a way that a build does not survive."""
        return any(_OUT_OF_MEMORY.search(text) and not _SKIPPED.search(text) for text in self.errors)

    @property
    def skipped_tactics(self) -> int:
        """How many tactics were left out for want of memory: the engine works and may be slower."""
        return sum(1 for _, text in self._lines if _SKIPPED.search(text))

    @property
    def left_dla(self) -> tuple[str, ...]:
        """Names of the layers that TensorRT moved from the DLA to the GPU.

        Examples:
            >>> log = BuildLog()
            >>> log.add("WARNING", "Layer 'Reshape_200' (SHUFFLE): Unsupported on DLA. Switching this "
            ...         "layer's device type to GPU.")
            >>> log.add("WARNING", "(Unnamed Layer* 5) [Shuffle]: DLA only supports FP16 and Int8")
            >>> log.left_dla
            ('Reshape_200',)
        """
        found = (_LEFT_DLA.search(text) for _, text in self._lines)
        return tuple(dict.fromkeys(match[1] for match in found if match))

    def last(self, count: int = 12) -> str:
        """Give the last lines that are no mere information, for an error's message."""
        said = [f"  [{severity}] {text}" for severity, text in self._lines if severity in _SEVERITIES[:3]]
        return "\n".join(said[-count:])
