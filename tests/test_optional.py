"""A missing package is named, with what needs it and the command that brings it."""

import sys
import textwrap
from pathlib import Path

import pytest

from edgeyolo.errors import MissingDependencyError
from edgeyolo.optional import require


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onnx.helper", "pip install 'edgeyolo[host]'"),
        ("pycuda", "pip install 'edgeyolo[device]'"),
        ("faster_coco_eval", "pip install 'edgeyolo[eval]'"),
        ("tensorrt", "--system-site-packages"),
    ],
)
def test_an_absent_package(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name.split(".")[0], None)
    monkeypatch.delitem(sys.modules, name, raising=False) if "." in name else None
    with pytest.raises(MissingDependencyError, match="is needed to test this") as caught:
        require(name, why="to test this")
    assert caught.value.exit_code == 3
    assert hint in (caught.value.hint or "")


def test_a_library_that_does_not_load_is_told_from_an_absent_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_gl.py").write_text(
        textwrap.dedent("""
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"does not load: libGL\.so\.1") as caught:
        require("needs_gl", why="to test this")
    assert "libgl1" in (caught.value.hint or "")


def test_an_interrupt_inside_an_extension_stays_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("importlib.import_module", interrupted)
    with pytest.raises(KeyboardInterrupt):
        require("onnxruntime", why="to see")
