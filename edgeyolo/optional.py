"""The one door for packages that a command may or may not need.

Owns the text a user sees when such a package is missing: which package, for what, and the command that
brings it. Refuses to install anything by itself.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from edgeyolo.errors import MissingDependencyError

__all__ = ["require"]

_EXTRA_OF = {
    "onnx": "host",
    "onnxsim": "host",
    "onnxruntime": "host",
    "cv2": "host",
    "av": "host",
    "pooch": "host",
    "tomli": "host",
    "paho": "mqtt",
    "pycuda": "device",
    "faster_coco_eval": "eval",
    "tensorrt_rtx": "check",
    "uvicorn": "web",
    "prometheus_client": "web",
    "gi": "gstreamer",
}
_JETPACK = (
    "JetPack provides it: make the environment with `python3 -m venv --system-site-packages .venv` "
    "(`apt list --installed | grep {apt}` tells whether it is there)"
)


def require(name: str, *, why: str) -> ModuleType:
    """Import an optional package or say how to get it.

    Args:
        name: Importable name, dotted where a submodule is meant, such as ``"onnx.helper"``.
        why: What needs it, as it reads after "is needed", such as ``"to read an ONNX file"``.

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: The package is absent, or present and one of its libraries does not load.

    Examples:
        >>> require("json", why="to print JSON").__name__
        'json'
        >>> require("no_such_package", why="to show this")
        Traceback (most recent call last):
        ...
        edgeyolo.errors.MissingDependencyError: the package 'no_such_package' is needed to show this, ...
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        found = f"not installed ({exc})"
        raise MissingDependencyError(
            f"the package {name.split('.')[0]!r} is needed {why}, and is {found}", hint=_hint(name)
        ) from exc
    except ImportError as exc:
        if isinstance(exc.__cause__, KeyboardInterrupt):
            # Ctrl-C while a C extension initialises comes out of it as an ImportError.
            raise KeyboardInterrupt from exc
        raise MissingDependencyError(
            f"the package {name.split('.')[0]!r} is needed {why}; it is installed but does not load: {exc}",
            hint=_load_hint(str(exc)) or _hint(name),
        ) from exc


_GI = (
    "sudo apt-get install python3-gi gir1.2-gst-plugins-base-1.0 and an environment with "
    "--system-site-packages; or libgirepository1.0-dev libcairo2-dev pkg-config gcc python3-dev, and "
)


def _hint(name: str) -> str:
    root = name.split(".")[0]
    if root == "tensorrt":
        return _JETPACK.format(apt="tensorrt")
    extra = _EXTRA_OF.get(root)
    command = f"pip install 'edgeyolo[{extra}]'" if extra else f"pip install {root}"
    return _GI + command if root == "gi" else command


def _load_hint(message: str) -> str | None:
    """Name the Debian package behind a shared library that the loader did not find."""
    for library, package in {"libGL.so.1": "libgl1", "libgthread-2.0": "libglib2.0-0"}.items():
        if library in message:
            return (
                f"apt-get install {package}   (or, on a server: pip uninstall opencv-python "
                "&& pip install opencv-python-headless)"
            )
    return None
