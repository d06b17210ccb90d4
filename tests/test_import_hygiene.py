"""Nothing heavy is imported before it is needed: a device lacks half of it, and `--help` must be instant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import PROJECT

HEAVY = (
    "cv2", "faster_coco_eval", "gi", "onnx", "onnxruntime", "onnxsim", "pooch", "prometheus_client", "pycuda",
    "requests", "tensorrt", "uvicorn",
)  # fmt: skip

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in {heavy!r}:
    sys.modules[name] = None
import edgeyolo
for module in pkgutil.walk_packages(edgeyolo.__path__, "edgeyolo."):
    importlib.import_module(module.name)
"""

HELP = """
import contextlib, io, json, sys
from edgeyolo.cli.main import main
sys.argv = ["edgeyolo"] + sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        main()
    except SystemExit as end:
        code = end.code
print(json.dumps({"code": code, "help": out.getvalue(), "modules": sorted(sys.modules)}))
"""


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, cwd=PROJECT, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _commands() -> list[str]:
    from edgeyolo.cli.main import app

    return sorted(
        command.name or (command.callback.__name__ if command.callback else "")
        for command in app.registered_commands
    )


def test_every_module_imports_without_the_optional_packages() -> None:
    _python(IMPORT_ALL.format(heavy=HEAVY))


@pytest.mark.parametrize("command", ["", *_commands()])
def test_help_loads_nothing_heavy(command: str) -> None:
    seen = json.loads(_python(HELP, *filter(None, [command, "--help"])))
    assert seen["code"] == 0
    assert f"Usage: edgeyolo {command}".rstrip() in seen["help"]
    assert not {"numpy", *HEAVY} & set(seen["modules"])


def test_interrupted_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from edgeyolo.cli.start import start; start()", "--help"],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
