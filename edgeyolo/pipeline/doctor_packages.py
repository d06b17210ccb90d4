"""What the packages here are and whether they load, for ``edgeyolo doctor``: TensorRT, PyCUDA, OpenCV, ONNX.

Owns the questions and the remedies. A package that no command needs on this machine is a note, not a problem.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeyolo.errors import MissingDependencyError
from edgeyolo.gpu import find_gpu
from edgeyolo.jetson import jetpack_here, l4t_here
from edgeyolo.machine import version_tuple
from edgeyolo.optional import require
from edgeyolo.pipeline.doctor import Answer

__all__ = ["gpu_answers", "package_answers"]

_WHY = "by this check"
_PIP_NAMES = ("tensorrt", "tensorrt-cu11", "tensorrt-cu12", "tensorrt-cu13")
_SYSTEM_PYTHON = "python3 -m venv --system-site-packages .venv"


def gpu_answers(root: Path) -> Iterator[Answer]:
    """Tell GPU, CUDA, TensorRT and PyCUDA."""
    gpu, found = find_gpu()
    jetson = l4t_here(root) is not None
    yield Answer(
        "GPU",
        "ok" if gpu else "problem" if jetson else "note",
        found,
        "reinstall nvidia-l4t-cuda: sudo apt install --reinstall nvidia-l4t-cuda"
        if jetson and not gpu
        else None,
    )
    yield _cuda_toolkit(root)
    yield _tensorrt(root, wanted=gpu is not None)
    yield _pycuda(wanted=gpu is not None)


def _cuda_toolkit(root: Path) -> Answer:
    try:
        versions = json.loads((root / "usr/local/cuda/version.json").read_text())
        return Answer("CUDA", "ok", f"toolkit {versions['cuda']['version']}")
    except (OSError, ValueError, KeyError, TypeError):
        return Answer("CUDA", "note", "no toolkit in /usr/local/cuda: needed to build PyCUDA, not to run")


def _tensorrt(root: Path, *, wanted: bool) -> Answer:
    system, by_pip, jetpack = _system_tensorrt(root), _pip_tensorrt(), jetpack_here(root)
    try:
        trt = require("tensorrt", why=_WHY)
    except MissingDependencyError as exc:
        if system and not _sees_system_packages():
            text = f"the system's {system[0]} is hidden from this environment"
            return Answer("TensorRT", "problem", text, _SYSTEM_PYTHON)
        level: Any = "problem" if wanted and jetpack is not None else "note"
        return Answer("TensorRT", level, exc.message, exc.hint if wanted else None)
    text = f"{trt.__version__} from {Path(str(getattr(trt, '__file__', '?'))).parent}"
    if by_pip and system:
        return Answer(
            "TensorRT",
            "problem",
            f"{text}; pip's {by_pip} hides the system's {system[0]}, which is the one for this board",
            f"pip uninstall {by_pip}",
        )
    if jetpack is not None and not jetpack.has(version_tuple(trt.__version__, 3)):
        expected = ".".join(map(str, jetpack.tensorrt))
        return Answer("TensorRT", "warning", f"{text}; JetPack {jetpack.versions} has {expected}")
    return Answer("TensorRT", "ok", text)


def _system_tensorrt(root: Path) -> list[str]:
    """Give the names of TensorRT packages that the system's package manager installed."""
    found = (root / "usr/lib").glob("python3*/dist-packages/tensorrt-*.dist-info")
    return sorted(path.name.removesuffix(".dist-info") for path in found)


def _pip_tensorrt() -> str | None:
    """Give the name of a TensorRT that pip installed outside the system's folders."""
    for name in _PIP_NAMES:
        try:
            where = str(metadata.distribution(name).locate_file(""))
        except metadata.PackageNotFoundError:
            continue
        if "dist-packages" not in where:
            return name
    return None


def _sees_system_packages() -> bool:
    if sys.prefix == sys.base_prefix:
        return True
    try:
        text = Path(sys.prefix, "pyvenv.cfg").read_text()
    except OSError:
        return True
    return re.search(r"include-system-site-packages\s*=\s*true", text) is not None


def _pycuda(*, wanted: bool) -> Answer:
    try:
        require("pycuda", why="to run TensorRT engines")
        driver = require("pycuda.driver", why="to run TensorRT engines")
    except MissingDependencyError as exc:
        return Answer("PyCUDA", "problem" if wanted else "note", exc.message, exc.hint if wanted else None)
    except Exception as exc:  # noqa: BLE001 - its import asks the driver, and fails in its own ways
        return Answer("PyCUDA", "problem", f"it does not load: {exc}", "pip install --force-reinstall pycuda")
    version = ".".join(map(str, driver.get_version()))
    return Answer("PyCUDA", "ok", f"loads, built with CUDA {version}")


def package_answers(root: Path) -> Iterator[Answer]:
    """Tell NumPy, OpenCV, ONNX and ONNX Runtime."""
    numpy = require("numpy", why=_WHY)
    yield _numpy(numpy)
    yield _opencv(numpy)
    for name, what in (
        ("onnx", "convert, simplify, calibrate and build"),
        ("onnxruntime", "calibrate, and to run engines without a GPU"),
        ("onnxsim", "simplify"),
        ("av", "write videos"),
        ("uvicorn", "the page of a run, run --web"),
    ):
        try:
            module = require(name, why=f"for {what}")
            yield Answer(name, "ok", str(getattr(module, "__version__", "version not told")))
        except MissingDependencyError as exc:
            yield Answer(name, "note", f"{exc.message} ({what})", exc.hint)


def _numpy(numpy: Any) -> Answer:
    """Ask TensorRT for NumPy's types: up to 8.5.2 it uses one that NumPy 1.24 took away."""
    text = str(numpy.__version__)
    try:
        trt = require("tensorrt", why=_WHY)
        trt.nptype(trt.bool)
    except MissingDependencyError:
        pass  # told above
    except AttributeError as exc:
        version = getattr(trt, "__version__", "of stubs alone")
        text += f": TensorRT {version} fails with it ({exc}); EdgeYOLO does not use that, others do"
        return Answer("NumPy", "warning", text, "pip install 'numpy<1.24'")
    return Answer("NumPy", "ok", text)


def _opencv(numpy: Any) -> Answer:
    try:
        cv2 = require("cv2", why="to read pictures and cameras")
    except MissingDependencyError as exc:
        # JetPack's OpenCV was built against NumPy 1: under NumPy 2 its import ends with "multiarray".
        old = "multiarray" in exc.message and version_tuple(numpy.__version__) >= (2, 0)
        return Answer("OpenCV", "problem", exc.message, "pip install 'numpy<2'" if old else exc.hint)
    by_system = "dist-packages" in str(cv2.__file__)
    return Answer("OpenCV", "ok", f"{cv2.__version__} from {'the system' if by_system else 'pip'}")
