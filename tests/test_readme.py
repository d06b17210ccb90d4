"""What the documents say is true: commands parse, links lead somewhere, versions and exit codes agree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import edgeyolo
import edgeyolo.errors
from edgeyolo.cli.main import app
from tests.parts import PROJECT

DOCUMENTS = sorted(
    path for path in [*PROJECT.glob("*.md"), *PROJECT.glob("*/*.md")] if ".venv" not in path.parts
)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CALL = re.compile(r"\$\((edgeyolo [^)]*)\)")


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def _shell_lines() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        for block in BLOCK.findall(path.read_text(encoding="utf-8")):
            yield from ((_name(path), line.strip()) for line in block.replace("\\\n", " ").splitlines())


def _edgeyolo_calls() -> Iterator[tuple[str, str]]:
    """Give every call, those inside ``$( )`` on their own."""
    for where, line in _shell_lines():
        yield from ((where, inner) for inner in CALL.findall(line))
        if line.startswith("edgeyolo "):
            yield where, CALL.sub("SUBSTITUTED", line)


def test_there_is_something_to_check() -> None:
    assert {"run", "build", "convert", "fetch"} <= {call.split()[1] for _, call in _edgeyolo_calls()}
    assert len(DOCUMENTS) > 5


@pytest.mark.parametrize(("where", "call"), [*_edgeyolo_calls()])
def test_every_command_in_the_documents_parses(where: str, call: str) -> None:
    command, *arguments = shlex.split(call, comments=True)[1:]
    group = typer.main.get_command(app)
    assert command in group.commands, where  # type: ignore[attr-defined]
    # Raises UsageError on an unknown option, a missing or surplus argument, a value of the wrong type.
    group.commands[command].make_context(command, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "target", sorted({t for _, line in _shell_lines() for t in re.findall(r"(?<!yolo )\bmake (\w+)", line)})
)
def test_every_make_target_in_the_documents_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]
    missing = [link for link in links if not (path.parent / link.split("#")[0]).exists()]
    assert not missing


def test_the_design_names_only_parts_that_exist() -> None:
    design = (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:edgeyolo|tests|tools)/[\w./]+)`", design))
    assert len(paths) > 4
    assert not [path for path in paths if not (PROJECT / path).exists()]


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    design = (PROJECT / "docs" / "design.md").read_text(encoding="utf-8")
    said = {
        name: int(code)
        for code, names in re.findall(r"^\| (\d+) \|[^|]*\|([^|]*)\|$", design, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert said == {name: getattr(edgeyolo.errors, name).exit_code for name in said}
    families = {cls.__name__ for cls in edgeyolo.errors.EdgeYoloError.__subclasses__()}
    assert families <= said.keys()


def test_one_version_everywhere() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'\nversion = "{edgeyolo.__version__}"\n' in pyproject
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] == edgeyolo.__version__
