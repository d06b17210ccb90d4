"""``edgeyolo doctor``: what is here, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "problem": "PROBLEM"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The answers as JSON.")] = False,
    root: Annotated[Path, typer.Option(help="Look at this file system.", hidden=True)] = Path("/"),
) -> None:
    """Look at board, GPU, packages, cameras and power mode; exit code 1 where something does not work."""
    import dataclasses
    import json

    from edgeyolo.pipeline.doctor import examine, has_problem

    answers = examine(root)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(answer) for answer in answers], indent=2))
    else:
        width = max(len(answer.about) for answer in answers)
        for answer in answers:
            typer.echo(f"{_MARKS[answer.level]} {answer.about:<{width}}  {answer.text}")
            if answer.remedy:
                typer.echo(f"{'':8}{'':{width}}  try: {answer.remedy}")
    raise typer.Exit(1 if has_problem(answers) else 0)
