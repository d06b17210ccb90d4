"""What a Jetson's own files say: release, module, memory. On any other machine the answers are None.

Owns reading ``/etc/nv_tegra_release``, the device tree and ``/proc/meminfo`` below a root, so that a test can
give it a tree of its own. Refuses to know what a release or a module can do (`edgeyolo.boards`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.boards import Board, JetPack, board_of_compatible, jetpack_of_l4t

__all__ = ["Memory", "board_here", "jetpack_here", "l4t_here", "memory_here"]

ROOT = Path("/")
_L4T = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+)\.(\d+)")
_DEVICE_TREE = "proc/device-tree/compatible"


@dataclass(frozen=True)
class Memory:
    """Main memory, MiB; on a Jetson the GPU's too."""

    total_mib: int
    available_mib: int
    swap_free_mib: int


def l4t_here(root: Path = ROOT) -> tuple[int, int, int] | None:
    """Give the L4T release, such as (36, 4, 3)."""
    found = _L4T.search(_text(root / "etc/nv_tegra_release"))
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def jetpack_here(root: Path = ROOT) -> JetPack | None:
    """Give the JetPack line that the L4T release belongs to."""
    l4t = l4t_here(root)
    return None if l4t is None else jetpack_of_l4t(l4t)


def board_here(root: Path = ROOT) -> Board | None:
    """Give the module."""
    return board_of_compatible(_text(root / _DEVICE_TREE))


def memory_here(root: Path = ROOT) -> Memory | None:
    """Give how much memory there is and how much of it a new process can have."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE))
    if not {"MemTotal", "MemAvailable"} <= found.keys():
        return None
    names = ("MemTotal", "MemAvailable", "SwapFree")
    return Memory(*(int(found.get(name, 0)) >> 10 for name in names))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not a Jetson, or not Linux
        return ""
