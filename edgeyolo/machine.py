"""What this machine and this Python are: the facts that a sidecar records and an engine is checked against.

Owns reading them from the standard library and the system. Refuses to judge them (each backend in
``edgeyolo.runtime`` does) and to import a heavy package for its version (its caller has it loaded).
"""

from __future__ import annotations

import contextlib
import importlib
import platform
from pathlib import Path

import numpy as np

import edgeyolo

__all__ = ["has_vnni", "machine_here", "version_tuple", "versions_here"]

_CPUINFO = Path("/proc/cpuinfo")
# x86 has "model name", 32-bit ARM has "Hardware"; 64-bit ARM names only the board, in the device tree.
_CPU_KEYS = ("model name", "Hardware")
_BOARD = Path("/proc/device-tree/model")


def machine_here() -> dict[str, str]:
    """Tell the processor architecture and model, and the board where the device tree names one.

    Returns:
        ``arch``, and ``cpu`` and ``board`` where known.

    Examples:
        >>> "arch" in machine_here()
        True
    """
    facts = {"arch": platform.machine() or "unknown"}
    if cpu := _cpu_model() or platform.processor():
        facts["cpu"] = cpu
    with contextlib.suppress(OSError):  # a PC has no device tree
        facts["board"] = _BOARD.read_text(errors="replace").strip("\0\n ")
    return facts


def has_vnni() -> bool:
    """Tell whether this processor multiplies 8-bit integers exactly at full speed (x86 with AVX-512 VNNI).

    NumPy asks the processor itself; ``/proc/cpuinfo`` tells an emulated one what the host has. Where NumPy
    does not say, as of AVX-VNNI without AVX-512, the answer is no.
    """
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):  # NumPy 2, and 1
        with contextlib.suppress(ImportError, AttributeError):
            return bool(importlib.import_module(module).__cpu_features__.get("AVX512VNNI", False))
    return False


def versions_here() -> dict[str, str]:
    """Tell the versions that every engine depends on: EdgeYOLO, Python, NumPy and the system.

    Examples:
        >>> sorted(versions_here())
        ['edgeyolo', 'numpy', 'os', 'python']
    """
    return {
        "edgeyolo": edgeyolo.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "os": f"{platform.system()} {platform.release()}",
    }


def version_tuple(text: str, parts: int = 2) -> tuple[int, ...]:
    """Parse the leading numbers of a version, so that no version is ever compared as text.

    Args:
        text: Such as ``"1.31.1"`` or ``"10.3.0.post1"``.
        parts: How many numbers are wanted; missing ones are 0.

    Examples:
        >>> version_tuple("1.17.0") < version_tuple("1.9") , version_tuple("10.3.0.post1", 3)
        (False, (10, 3, 0))
    """
    numbers: list[int] = []
    for part in text.split(".")[:parts]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits) if digits else 0)
    return tuple(numbers + [0] * (parts - len(numbers)))


def _cpu_model() -> str | None:
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in facts.items()}
    return next((found[key] for key in _CPU_KEYS if key in found), None)
