"""What a Jetson's own files say to ``edgeyolo doctor``: release, module, DLA, memory, power mode, clocks.

Owns reading sysfs and nvpmodel's files below a root. On another machine it says so in one line.

Source: Jetson Linux Developer Guide, "Platform Power and Performance" (nvpmodel's files, devfreq nodes,
jetson_clocks) and "Swap".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeyolo.boards import Board, JetPack
from edgeyolo.jetson import board_here, jetpack_here, l4t_here, memory_here
from edgeyolo.machine import machine_here, versions_here
from edgeyolo.pipeline.doctor import Answer

__all__ = ["board_answers", "speed_answers"]

_OLD_JETPACKS = (4, 5)
_SMALL_MIB = 9000  # boards of 8 GB and less: TensorRT's builder and the model do not fit beside a desktop
_SWAP = "sudo sh -c 'fallocate -l 8G /swap && chmod 600 /swap && mkswap /swap && swapon /swap'"
_MODEL = "proc/device-tree/model"
_POWER_STATUS, _POWER_MODELS = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
_MHZ = 1_000_000


def board_answers(root: Path) -> Iterator[Answer]:
    """Tell machine, module and release."""
    machine, versions = machine_here(), versions_here()
    yield Answer(
        "machine",
        "ok",
        f"{machine.get('cpu', 'processor not named')} ({machine['arch']}), {versions['os']}, "
        f"Python {versions['python']}, EdgeYOLO {versions['edgeyolo']}",
    )
    l4t, board = l4t_here(root), board_here(root)
    model = _text(root / _MODEL)
    if l4t is None and board is None:
        yield Answer(
            "board", "note", f"no Jetson{f' ({model})' if model else ''}: engines run on ONNX Runtime"
        )
        return
    if board is not None:
        yield Answer("board", "ok", f"{board.title} (SM {board.sm[0]}.{board.sm[1]}, {board.memory_gib} GB)")
    else:
        yield Answer("board", "note", f"{model or 'a Jetson'}, which EdgeYOLO has no facts of")
    yield from _release(l4t, jetpack_here(root), board)


def _release(
    l4t: tuple[int, int, int] | None, jetpack: JetPack | None, board: Board | None
) -> Iterator[Answer]:
    if l4t is None:
        yield Answer("JetPack", "warning", "no /etc/nv_tegra_release: the release is not known")
        return
    dotted = ".".join(map(str, l4t))
    if jetpack is None:
        yield Answer("JetPack", "note", f"L4T {dotted}, which EdgeYOLO has no facts of")
        return
    tensorrt = ".".join(map(str, jetpack.tensorrt))
    text = f"{jetpack.versions} (L4T {dotted}): TensorRT {tensorrt}, CUDA {jetpack.cuda}"
    text += f", Python {jetpack.python}"
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if int(jetpack.versions[0]) in _OLD_JETPACKS:
        version = f"{jetpack.tensorrt[0]}.{jetpack.tensorrt[1]}"
        yield Answer(
            "JetPack",
            "warning",
            f"{text}; EdgeYOLO drives TensorRT from 8.6 on",
            f"on a PC: edgeyolo build MODEL.onnx --trtexec {version} -o FOLDER; here: FOLDER/build.sh",
        )
    elif here != jetpack.python:
        yield Answer(
            "JetPack",
            "problem",
            f"{text}; this is Python {here}, which cannot load them",
            f"python{jetpack.python} -m venv --system-site-packages .venv",
        )
    else:
        yield Answer("JetPack", "ok", text)
    if board is not None:
        yield _dla(board, jetpack)


def _dla(board: Board, jetpack: JetPack) -> Answer:
    if not board.dla_cores:
        return Answer("DLA", "ok", "this module has none")
    if jetpack.tensorrt >= (10, 8):  # 10.7 is the last 10.x with JetPack's DLA, 11.4.1 has it again
        words = ".".join(map(str, jetpack.tensorrt))
        return Answer("DLA", "note", f"{board.dla_cores} cores, which TensorRT {words} does not reach")
    return Answer("DLA", "ok", f"{board.dla_cores} cores (build --dla 0 --gpu-fallback)")


def speed_answers(root: Path) -> Iterator[Answer]:
    """Tell what decides how fast it runs: memory, power mode, clocks."""
    memory = memory_here(root)
    on_jetson = l4t_here(root) is not None or board_here(root) is not None
    if memory is not None:
        text = f"{memory.total_mib} MiB, {memory.available_mib} free, {memory.swap_free_mib} MiB of swap free"
        short = on_jetson and memory.total_mib < _SMALL_MIB and not _has_swap_file(root)
        if short:
            text += "; no swap but zram: building a large model may end for want of memory"
        yield Answer("memory", "warning" if short else "ok", text, _SWAP if short else None)
    if on_jetson:
        yield _power_mode(root)
        yield from _clocks(root)


def _has_swap_file(root: Path) -> bool:
    lines = _text(root / "proc/swaps").splitlines()[1:]
    return any(not line.startswith("/dev/zram") for line in lines)


def _power_mode(root: Path) -> Answer:
    status = re.search(r"pmode:0*(\d+)", _text(root / _POWER_STATUS))
    models = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", _text(root / _POWER_MODELS)))
    if status is None or status[1] not in models:
        return Answer("power mode", "note", "nvpmodel's files do not tell it", "sudo nvpmodel -q")
    name = models[status[1]]
    fastest = next((key for key, value in models.items() if value.startswith("MAXN")), None)
    if fastest is None or name.startswith("MAXN"):
        return Answer("power mode", "ok", name)
    return Answer(
        "power mode", "warning", f"{name}; {models[fastest]} is faster", f"sudo nvpmodel -m {fastest}"
    )


def _clocks(root: Path) -> Iterator[Answer]:
    folders = sorted((root / "sys/class/devfreq").glob("*"))
    gpus = [folder for folder in folders if re.search(r"gpu|ga10b|gv11b|gp10b", folder.name)]
    for folder in gpus[:1]:
        now, least, most = (_number(folder / name) for name in ("cur_freq", "min_freq", "max_freq"))
        if not most:
            continue
        text = (
            f"GPU {now // _MHZ} of {most // _MHZ} MHz ({_text(folder / 'governor') or 'governor not told'})"
        )
        held = least == most
        text += "" if held else "; it falls when the GPU waits, and the first frames are slow"
        yield Answer("clocks", "ok" if held else "note", text, None if held else "sudo jetson_clocks")
    if not gpus:
        yield Answer("clocks", "note", "the GPU's clock is not in /sys/class/devfreq")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:  # absent on other machines, or not to be read by everybody
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0
