"""Darknet itself as a reference: Debian's libdarknet.so, one subprocess a prediction.

The library calls exit() on a bad cfg, prints to both streams and crashes on some networks, so it never runs
inside pytest. Layouts are those of /usr/lib/darknet/include/darknet.h (2018-09-14, built without CUDA).
Run as a script it is the worker: ``libdarknet.py CFG WEIGHTS INPUT.npy OUTPUT.npz output|CLASSES``.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

LIBRARY = Path("/usr/lib/darknet/libdarknet.so")
CFG_DIR = Path("/usr/share/darknet/cfg")

Array = npt.NDArray[np.float32]


class _Detection(ctypes.Structure):
    _fields_ = (
        ("cxcywh", ctypes.c_float * 4),
        ("classes", ctypes.c_int),
        ("prob", ctypes.POINTER(ctypes.c_float)),
        ("mask", ctypes.POINTER(ctypes.c_float)),
        ("objectness", ctypes.c_float),
        ("sort_class", ctypes.c_int),
    )


class LibdarknetError(RuntimeError):
    """libdarknet refused the network or crashed; the text is the end of what it printed."""


def available() -> bool:
    return LIBRARY.exists()


def cfg_for(cfg: Path | str, folder: Path, *, input_wh: tuple[int, int] | None = None) -> Path:
    """Copy a cfg with ``batch=1`` and, where given, another input size."""
    text = Path(cfg).read_text()
    head, bracket, rest = text.partition("\n[")  # the [net] section only
    # In [net] the last mention of a key wins in neither parser: libdarknet takes the first.
    values = {"batch": 1, "subdivisions": 1}
    if input_wh is not None:
        values |= {"width": input_wh[0], "height": input_wh[1]}
        head = re.sub(r"(?m)^\s*(max_crop|min_crop)\s*=.*$", "", head)
    for key, value in values.items():
        head = re.sub(rf"(?m)^\s*{key}\s*=.*$", "", head) + f"\n{key}={value}\n"
    copy = folder / f"{Path(cfg).stem}.cfg"
    copy.write_text(head + bracket + rest)
    return copy


def boxes_and_scores(cfg: Path, weights: Path, tensor: Array, classes: int) -> tuple[Array, Array]:
    """Run a detector on one ``(C, H, W)`` tensor: every box ``xyxy_net`` ``(N, 4)``, scores ``(N, C)``.

    The order is Darknet's: heads in cfg order; cells, then anchors of a cell for [yolo] and [detection];
    anchors, then cells for [region].
    """
    found = _run(cfg, weights, tensor, str(classes))
    return found["boxes"], found["scores"]


def output(cfg: Path, weights: Path, tensor: Array) -> Array:
    """Run a network on one ``(C, H, W)`` tensor and give the flat output of its last layer but cost."""
    return _run(cfg, weights, tensor, "output")["output"]


def _run(cfg: Path, weights: Path, tensor: Array, what: str) -> dict[str, Array]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "input.npy"), Path(folder, "output.npz")
        np.save(source, np.ascontiguousarray(tensor, np.float32))
        done = subprocess.run(
            [sys.executable, __file__, str(cfg), str(weights), str(source), str(target), what],
            env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            timeout=300,
            check=False,
        )
        if done.returncode != 0 or not target.exists():
            last = (done.stderr + done.stdout).strip().splitlines()[-3:]
            raise LibdarknetError(f"exit {done.returncode}: {' | '.join(last)}")
        with np.load(target) as arrays:
            return dict(arrays)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    library.load_network.restype = ctypes.c_void_p
    library.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    library.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.network_predict.restype = ctypes.POINTER(ctypes.c_float)
    library.network_predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    for name in ("network_width", "network_height", "network_outputs"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.get_network_boxes.restype = ctypes.POINTER(_Detection)
    library.get_network_boxes.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_float,
        ctypes.c_float,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_int),
    ]
    return library


def _boxes(library: ctypes.CDLL, network: int, classes: int) -> dict[str, Array]:
    width, height = library.network_width(network), library.network_height(network)
    count = ctypes.c_int(0)
    # A threshold of -1 keeps every box; [yolo] leaves a box out at `objectness <= threshold`.
    found = library.get_network_boxes(network, width, height, -1.0, 0.5, None, 0, ctypes.byref(count))
    cxcywh = np.array([found[i].cxcywh[:] for i in range(count.value)], np.float64).reshape(-1, 4)
    # get_region_detections leaves `classes` of a detection at 0, so the caller says how many there are.
    scores = [np.ctypeslib.as_array(found[i].prob, (classes,)).copy() for i in range(count.value)]
    half = cxcywh[:, 2:] / 2
    xyxy = np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)
    return {"boxes": xyxy.astype(np.float32), "scores": np.array(scores, np.float32)}


def _worker(cfg: str, weights: str, source: str, target: str, what: str) -> None:
    library = _library()
    network = library.load_network(cfg.encode(), weights.encode(), 0)
    library.set_batch_network(network, 1)
    tensor = np.ascontiguousarray(np.load(source), np.float32)
    flat = library.network_predict(network, tensor.ctypes.data)
    if what != "output":
        arrays = _boxes(library, network, int(what))
    else:
        arrays = {"output": np.ctypeslib.as_array(flat, (library.network_outputs(network),)).copy()}
    np.savez(target, **arrays)
    sys.stdout.flush()
    os._exit(0)  # the library's own clean-up is what crashes on some networks


if __name__ == "__main__":
    _worker(*sys.argv[1:])
