"""NVIDIA's bindings wheels, for the test that compares them with ``surface/*.json``.

They are fetched by pip, once, into ``$EDGEYOLO_TENSORRT_WHEELS`` or the user's cache folder.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.sim.tensorrt import probe

PROJECT = Path(__file__).resolve().parents[3]

__all__ = ["answers_of_wheel", "missing", "missing_wheel", "surface_of_wheel"]


def missing() -> str | None:
    """Say why no comparison can be made, None where one can; fetches a wheel that is not there yet."""
    if shutil.which("cc") is None:
        return "no C compiler for the stub that NVIDIA's bindings import on"
    return missing_wheel("10.3")


def missing_wheel(generation: str) -> str | None:
    """Say why a generation cannot be compared: 8.6.1 has wheels up to Python 3.11."""
    tool = _tool()
    try:
        tool.wheel_of(generation, _folder())
    except (subprocess.CalledProcessError, OSError, IndexError):
        return f"pip finds no {tool.WHEELS[generation]} for this Python"
    return None


def surface_of_wheel(generation: str) -> dict[str, Any]:
    """Give a generation's surface as its wheel shows it now."""
    tool = _tool()
    found: dict[str, Any] = json.loads(
        tool.text_of(tool.surface(generation, tool.wheel_of(generation, _folder())))
    )
    return found


def answers_of_wheel(generation: str) -> list[str]:
    """Give NVIDIA's answers to `probe.QUESTIONS`."""
    tool = _tool()
    program = "import json, probe, tensorrt_bindings as trt; print(json.dumps(probe.answers(trt)))"
    wheel = tool.wheel_of(generation, _folder())
    found: list[str] = json.loads(tool.run_on_wheel(generation, wheel, program, Path(probe.__file__)))
    return found


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("EDGEYOLO_TENSORRT_WHEELS") or cache / "edgeyolo" / "tensorrt-bindings")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tool() -> ModuleType:
    path = PROJECT / "tools" / "dump_tensorrt_surface.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
