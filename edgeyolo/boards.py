"""What each board can do: modules, GPU generations, JetPack releases, and what follows from them.

Owns the tables and the two refusals that need no device: a precision that a GPU has no fast arithmetic
for, and a DLA core that a module does not have. Refuses to look at the machine (`edgeyolo.gpu` does).

Source: NVIDIA "Jetson Modules" (developer.nvidia.com/embedded/jetson-modules: memory, DLA) and "CUDA GPU
Compute Capability" (developer.nvidia.com/cuda-gpus, /cuda-legacy-gpus: SM); TensorRT support matrix,
"Hardware and Precision" (fast INT8 and FP16 by SM); jetson_benchmarks ``benchmark_csv`` (DLA cores); Jetson
Linux Developer Guide, "Quick Start" and meta-tegra's machine files (part numbers); NVIDIA's JetPack
archive and meta-tegra's branches (JetPack, L4T, TensorRT, CUDA).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from edgeyolo.errors import ConfigError, PrecisionError
from edgeyolo.spec import Precision

__all__ = [
    "BOARDS",
    "JETPACKS",
    "Board",
    "Capability",
    "JetPack",
    "board_named",
    "board_of_compatible",
    "capability_of",
    "jetpack_of_l4t",
    "jetpacks_of",
    "require_dla",
    "require_precision",
]

Sm = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What a GPU generation computes fast.

    Args:
        architecture: NVIDIA's name of it.
        fast_fp16: Half precision at more than single's rate.
        fast_int8: The dp4a instruction or better.
        all_qdq_layers: Every layer has an INT8 kernel behind Q/DQ nodes; below SM 7.5 some have none.
    """

    architecture: str
    fast_fp16: bool
    fast_int8: bool
    all_qdq_layers: bool


@dataclass(frozen=True)
class JetPack:
    """One line of JetPack releases.

    Args:
        versions: Its releases, in words.
        l4t: First and last L4T release, inclusive.
        tensorrt: The TensorRT in it.
        cuda: The CUDA in it.
        python: The system's Python.
        later: The first of the later TensorRT that NVIDIA supports on it, where there is one.
    """

    versions: str
    l4t: tuple[tuple[int, int, int], tuple[int, int, int]]
    tensorrt: tuple[int, int, int]
    cuda: str
    python: str
    later: tuple[int, int] | None = None

    def has(self, tensorrt: tuple[int, ...]) -> bool:
        """Tell whether a TensorRT belongs on it.

        Examples:
            >>> newest = JETPACKS[-1]
            >>> newest.has((10, 16, 2)), newest.has((11, 4, 1)), newest.has((10, 3, 0))
            (True, True, False)
        """
        return tensorrt[:2] == self.tensorrt[:2] or (self.later is not None and tensorrt >= self.later)


@dataclass(frozen=True)
class Board:
    """One Jetson module.

    Args:
        name: What ``--for`` takes.
        title: What NVIDIA calls it.
        sm: Compute capability of its GPU.
        memory_gib: Memory that processor and GPU share.
        dla_cores: Deep-learning accelerators.
        jetpacks: First and last JetPack major release.
        parts: Part numbers of the module, as ``/proc/device-tree/compatible`` has them.
    """

    name: str
    title: str
    sm: Sm
    memory_gib: int
    dla_cores: int
    jetpacks: tuple[int, int]
    parts: tuple[str, ...]

    @property
    def capability(self) -> Capability:
        """What its GPU computes fast."""
        return capability_of(self.sm)


_FIRST_WITH_ALL: Sm = (7, 5)  # Turing: FP16 and INT8 tensor cores, and so has every later one
# Compute capability -> architecture, fast FP16, fast INT8. What is not here is judged by _FIRST_WITH_ALL.
_CAPABILITIES: dict[Sm, tuple[str, bool, bool]] = {
    (5, 3): ("Maxwell", True, False),  # Nano, TX1: no dp4a; FP16 at twice FP32's rate
    (6, 0): ("Pascal", True, False),
    (6, 1): ("Pascal", False, True),
    (6, 2): ("Pascal", True, False),  # TX2: dp4a came with 6.1 and is absent here
    (7, 0): ("Volta", True, True),
    (7, 2): ("Volta", True, True),  # Xavier
    (8, 7): ("Ampere", True, True),  # Orin
    (10, 1): ("Blackwell", True, True),  # Thor as CUDA 12.8 called it
    (11, 0): ("Blackwell", True, True),  # Thor
}

# fmt: off
BOARDS: tuple[Board, ...] = (
    Board("nano", "Jetson Nano", (5, 3), 4, 0, (4, 4), ("p3448-0000", "p3448-0002")),
    Board("nano-2gb", "Jetson Nano 2GB", (5, 3), 2, 0, (4, 4), ("p3448-0003",)),
    Board("tx1", "Jetson TX1", (5, 3), 4, 0, (4, 4), ("p2180-1000",)),
    Board("tx2", "Jetson TX2", (6, 2), 8, 0, (4, 4), ("p3310-1000", "p3489-0000")),
    Board("tx2-4gb", "Jetson TX2 4GB and TX2 NX", (6, 2), 4, 0, (4, 4), ("p3489-0888", "p3636-0001")),
    Board("xavier-nx", "Jetson Xavier NX", (7, 2), 8, 2, (4, 5), ("p3668-0000", "p3668-0001")),
    Board("xavier-nx-16gb", "Jetson Xavier NX 16GB", (7, 2), 16, 2, (4, 5), ("p3668-0003",)),
    Board("agx-xavier", "Jetson AGX Xavier", (7, 2), 32, 2, (4, 5),
          ("p2888-0001", "p2888-0003", "p2888-0004", "p2888-0005", "p2888-0008")),
    Board("orin-nano", "Jetson Orin Nano 8GB", (8, 7), 8, 0, (5, 7), ("p3767-0003", "p3767-0005")),
    Board("orin-nano-4gb", "Jetson Orin Nano 4GB", (8, 7), 4, 0, (5, 7), ("p3767-0004",)),
    Board("orin-nx", "Jetson Orin NX 16GB", (8, 7), 16, 2, (5, 7), ("p3767-0000",)),
    Board("orin-nx-8gb", "Jetson Orin NX 8GB", (8, 7), 8, 1, (5, 7), ("p3767-0001",)),
    Board("agx-orin", "Jetson AGX Orin 64GB", (8, 7), 64, 2, (5, 7), ("p3701-0005", "p3701-0008")),
    Board("agx-orin-32gb", "Jetson AGX Orin 32GB", (8, 7), 32, 2, (5, 7), ("p3701-0000", "p3701-0004")),
    Board("thor", "Jetson T5000 (AGX Thor)", (11, 0), 128, 0, (7, 7), ("p3834-0008",)),
    Board("thor-t4000", "Jetson T4000", (11, 0), 64, 0, (7, 7), ("p3834-0000",)),
)
JETPACKS: tuple[JetPack, ...] = (
    JetPack("4.6", ((32, 6, 1), (32, 6, 1)), (8, 0, 1), "10.2", "3.6"),
    JetPack("4.6.1 to 4.6.6", ((32, 7, 1), (32, 7, 99)), (8, 2, 1), "10.2", "3.6"),
    JetPack("5.0.2", ((35, 1, 0), (35, 1, 0)), (8, 4, 1), "11.4", "3.8"),
    JetPack("5.1 to 5.1.6", ((35, 2, 1), (35, 6, 99)), (8, 5, 2), "11.4", "3.8"),
    JetPack("6.0", ((36, 3, 0), (36, 3, 0)), (8, 6, 2), "12.2", "3.10"),
    JetPack("6.1 to 6.2.3", ((36, 4, 0), (36, 5, 99)), (10, 3, 0), "12.6", "3.10"),
    JetPack("7.0 and 7.1", ((38, 2, 0), (38, 4, 99)), (10, 13, 3), "13.0", "3.12"),
    # From 7.2.2 on TensorRT 11.4.1 can be installed: its documentation, "Migrating", "Jetson / JetPack".
    JetPack("7.2", ((39, 0, 0), (39, 2, 99)), (10, 16, 2), "13.2", "3.12", later=(11, 4)),
)
# fmt: on


def board_named(name: str) -> Board:
    """Find a board by its short name.

    Raises:
        ConfigError: No such board; the message has the near ones.

    Examples:
        >>> board_named("orin-nx").dla_cores, board_named("thor").sm
        (2, (11, 0))
        >>> board_named("orin-nono")
        Traceback (most recent call last):
        ...
        edgeyolo.errors.ConfigError: no board 'orin-nono'; near it: orin-nano, orin-nx, orin-nano-4gb
    """
    found = next((board for board in BOARDS if board.name == name), None)
    if found is None:
        names = [board.name for board in BOARDS]
        near = ", ".join(difflib.get_close_matches(name, names)) or "none"
        raise ConfigError(f"no board {name!r}; near it: {near}", hint=f"one of {', '.join(names)}")
    return found


def board_of_compatible(text: str) -> Board | None:
    r"""Find the board that a device tree names.

    Args:
        text: ``/proc/device-tree/compatible``, NUL bytes and all.

    Examples:
        >>> board_of_compatible("nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234").name
        'orin-nano'
        >>> board_of_compatible("raspberrypi,4-model-b") is None
        True
    """
    parts = set(re.findall(r"p\d{4}-\d{4}", text))
    return next((board for board in BOARDS if parts & set(board.parts)), None)


def capability_of(sm: Sm) -> Capability:
    """Tell what a GPU of compute capability `sm` computes fast.

    Examples:
        >>> capability_of((6, 2)).fast_int8, capability_of((8, 9)).fast_int8
        (False, True)
    """
    new = sm >= _FIRST_WITH_ALL
    architecture, fp16, int8 = _CAPABILITIES.get(sm, ("another architecture", new, new))
    return Capability(architecture=architecture, fast_fp16=fp16, fast_int8=int8, all_qdq_layers=new)


def jetpack_of_l4t(l4t: tuple[int, int, int]) -> JetPack | None:
    """Find the JetPack line of an L4T release; None where it is older or newer than the table.

    Examples:
        >>> jetpack_of_l4t((36, 4, 3)).tensorrt, jetpack_of_l4t((99, 0, 0))
        ((10, 3, 0), None)
    """
    return next((line for line in JETPACKS if line.l4t[0] <= l4t <= line.l4t[1]), None)


def jetpacks_of(board: Board) -> tuple[JetPack, ...]:
    """Give the JetPack lines that run on a board.

    Examples:
        >>> [line.versions for line in jetpacks_of(board_named("thor"))]
        ['7.0 and 7.1', '7.2']
    """
    first, last = board.jetpacks
    orin_skips = (38,)  # L4T 38 is for Thor alone
    return tuple(
        line
        for line in JETPACKS
        if first <= int(line.versions[0]) <= last
        and not (board.sm == (8, 7) and line.l4t[0][0] in orin_skips)
    )


def require_precision(sm: Sm, precision: Precision, *, where: str) -> None:
    """Refuse a precision that a GPU has no fast arithmetic for.

    Args:
        sm: Compute capability.
        precision: What was asked for.
        where: The GPU or the board, as it reads in a message.

    Raises:
        PrecisionError: The hint names the precision to ask for instead.

    Examples:
        >>> require_precision((8, 7), "int8", where="Orin")
        >>> require_precision((5, 3), "int8", where="Jetson Nano")
        Traceback (most recent call last):
        ...
        edgeyolo.errors.PrecisionError: int8 was asked for; Jetson Nano (Maxwell, SM 5.3) has no fast ...
    """
    has = capability_of(sm)
    fast = {"fp32": True, "fp16": has.fast_fp16, "int8": has.fast_int8}
    if fast[precision]:
        return
    instead = "fp16" if has.fast_fp16 else "fp32"
    raise PrecisionError(
        f"{precision} was asked for; {where} ({has.architecture}, SM {sm[0]}.{sm[1]}) has no fast "
        f"{precision} arithmetic: it would be slower than {instead}, and less exact",
        hint=f"--precision {instead}",
    )


def require_dla(cores: int, core: int, *, precision: Precision, where: str) -> None:
    """Refuse a DLA core that is not there, or a precision that no DLA has.

    Args:
        cores: How many the module has.
        core: Which was asked for, from 0.
        precision: What was asked for.
        where: The board, as it reads in a message.

    Raises:
        ConfigError: There is no such core.
        PrecisionError: DLA computes fp16 and int8 only.
    """
    if not 0 <= core < cores:
        has = f"has DLA cores 0 to {cores - 1}" if cores > 1 else "has DLA core 0" if cores else "has no DLA"
        raise ConfigError(
            f"--dla {core} was asked for; {where} {has}", hint="leave --dla out: the GPU runs it"
        )
    if precision == "fp32":
        raise PrecisionError(
            "fp32 was asked for on DLA, which computes fp16 and int8 only", hint="--precision fp16"
        )
