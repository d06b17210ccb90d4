"""Functions of the CUDA driver that PyCUDA has no name for, by ctypes: graphs, and whether a context is lost.

Owns their names, codes and handles. Refuses to know PyCUDA (`edgeyolo.runtime.cuda` does).

Source: CUDA Driver API, Graph Management and Stream Management; cuda.h, ``CUresult``.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

from edgeyolo.errors import EngineError

__all__ = ["LIBRARY", "Graph", "Library"]

LIBRARY = "libcuda.so.1"
# cuda.h of each: "This leaves the process in an inconsistent state and any further CUDA work will return the
# same error. To continue using CUDA, the process must be terminated and relaunched."
_LOST = frozenset({700, 702, 710, 714, 715, 716, 717, 718, 719})


class _HasStream(Protocol):
    pointer: ctypes.c_void_p


class Library:
    """The driver's library.

    Args:
        owner: What errors are about.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._library = ctypes.CDLL(LIBRARY)  # the loader gives the one that PyCUDA has loaded

    def function(self, name: str) -> Any:
        """Find a function.

        Raises:
            EngineError: The driver has none of that name.
        """
        found = getattr(self._library, name, None)
        if found is None:
            raise EngineError(f"{self._owner}: the CUDA driver has no {name}")
        return found

    def call(self, name: str, *arguments: object) -> None:
        """Call a function.

        Raises:
            EngineError: There is none, or it failed.
        """
        self.check(name, self.function(name)(*arguments))

    def check(self, name: str, code: int) -> None:
        """Raise where a function gave an error code.

        Raises:
            EngineError: It did.
        """
        if code:
            raise EngineError(f"{self._owner}: CUDA: {name} failed: {self._name_of(code)}")

    def attempt(self, name: str, *arguments: object) -> int | None:
        """Give the error code, or None where the driver has no such function."""
        found = getattr(self._library, name, None)
        return None if found is None else int(found(*arguments))

    def destroy(self, name: str, handle: ctypes.c_void_p) -> None:
        """Destroy what a handle stands for, if anything."""
        if handle.value:
            self.attempt(name, handle)

    def lost(self) -> bool:
        """Tell whether the current context is broken for good, after waiting for all work in it."""
        return self.attempt("cuCtxSynchronize") in _LOST

    def _name_of(self, code: int) -> str:
        text = ctypes.c_char_p()
        known = self.attempt("cuGetErrorName", code, ctypes.byref(text)) == 0
        return text.value.decode() if known and text.value else f"error {code}"


class Graph:
    """Captured work that one call launches.

    Args:
        library: The driver's.
        runnable: The handle of an instantiated graph.
    """

    def __init__(self, library: Library, runnable: ctypes.c_void_p) -> None:
        self._library = library
        self._runnable = runnable
        self._launch = library.function("cuGraphLaunch")

    def launch(self, queue: _HasStream) -> None:
        """Put the captured work on a queue."""
        if code := self._launch(self._runnable, queue.pointer):
            self._library.check("cuGraphLaunch", code)

    def close(self) -> None:
        """Destroy it; with its context current, after all work."""
        self._library.destroy("cuGraphExecDestroy", self._runnable)
        self._runnable = ctypes.c_void_p()
