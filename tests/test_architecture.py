"""The house as docs/design.md draws it: who may import whom, and where a module may grow to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import PROJECT

PACKAGE = PROJECT / "edgeyolo"
MODULES = sorted(PACKAGE.rglob("*.py"))

BASE = {
    "boards", "class_names", "config", "detections", "errors", "files", "frames", "gpu", "gstreamer",
    "jetson", "live", "machine", "optional", "qdq", "rules", "scales", "sections", "sidecar", "spec",
    "tensorrt_api", "vision",
}  # fmt: skip
STAGES = {
    "adapt", "build", "calibrate", "camera", "darknet", "evaluate", "events", "fetch", "graph", "runtime",
    "show",
}  # fmt: skip
TOP = {"cli", "pipeline"}
BANNED_NAMES = {"utils", "common", "helpers", "misc", "util"}
MAX_LINES = 400
DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    """Give the part of the house: ``edgeyolo.darknet.cfg`` is in ``darknet``; the package itself is ''."""
    return [*module.split("."), ""][1]


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give line and dotted name of every import, those inside functions and TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "edgeyolo":
                yield from ((node.lineno, f"edgeyolo.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def _violations(path: Path) -> Iterator[str]:
    here = _room(_name(path))
    for line, target in _imports(path):
        if target.split(".")[0] in {"tests", "tools"}:
            yield f"{line}: imports {target}"
        if target.split(".")[0] == "pycuda" and _name(path) != "edgeyolo.runtime.cuda":
            yield f"{line}: pycuda outside edgeyolo.runtime.cuda"
        if target.split(".")[0] != "edgeyolo":
            continue
        there = _room(target)
        if there in {here, "", "__version__"} | BASE:
            continue
        if there == "cli":
            yield f"{line}: nothing imports the command line, this imports {target}"
        elif here in BASE:
            yield f"{line}: BASE imports BASE only, this imports {target}"
        elif here in STAGES:
            yield f"{line}: stage {here} imports {target}; stages meet in files or in BASE types"


def test_every_room_of_the_package_is_known() -> None:
    rooms = {_room(_name(path)) for path in MODULES} - {""}
    assert rooms <= BASE | STAGES | TOP


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_down_and_stages_are_siblings(path: Path) -> None:
    assert not list(_violations(path))


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("graph/a.py", "from edgeyolo.darknet.cfg import read_cfg", "stage graph imports"),
        ("graph/a.py", "def f():\n    from edgeyolo import darknet", "stage graph imports"),
        ("vision/a.py", "import edgeyolo.runtime", "BASE imports BASE only"),
        ("pipeline/a.py", "from edgeyolo.cli.main import app", "nothing imports the command line"),
        ("runtime/a.py", "import pycuda.driver", "pycuda outside"),
        ("runtime/a.py", "from tools import train_demo", "imports tools"),
    ],
)
def test_the_rule_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, line: str, expected: str
) -> None:
    monkeypatch.setattr("tests.test_architecture.PROJECT", tmp_path)
    path = tmp_path / "edgeyolo" / module
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n", encoding="utf-8")
    (found,) = _violations(path)
    assert expected in found


@pytest.mark.parametrize("path", [p for p in MODULES if _room(_name(p)) == "cli"], ids=_name)
def test_a_command_calls_the_pipeline_or_one_stage(path: Path) -> None:
    rooms = {_room(target) for line, target in _imports(path) if line not in _lines_for_types_only(path)}
    assert len(rooms & (STAGES | {"pipeline"})) <= 1


def _lines_for_types_only(path: Path) -> set[int]:
    return {
        line
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_has_a_telling_name_and_fits_in_one_sitting(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=_name)
def test_all_names_every_public_function_and_class(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module says what it owns and what it refuses to own"
    public = {
        node.name for node in tree.body if isinstance(node, DEFINITION) and not node.name.startswith("_")
    }
    # A command is public by typer's register, and its function bears the command's name.
    assert public <= _all(tree) or (_room(_name(path)) == "cli" and _all(tree) == {"register"})


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_all_names_nothing_that_is_not_there(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.name] if isinstance(node, DEFINITION)
            else [alias.asname or alias.name for alias in node.names] if isinstance(node, ast.ImportFrom)
            else [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            else []
        )
    }  # fmt: skip
    assert _all(tree) <= defined


def _all(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()
