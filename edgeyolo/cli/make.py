"""``edgeyolo make``: a recipe becomes an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(make)


def make(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Such as engines/orin-nano/*.toml.")],
    force: Annotated[bool, typer.Option("--force", help="Carry out every stage.")] = False,
) -> None:
    """Carry out all stages of a recipe; what is current is skipped."""
    from edgeyolo.config import read_recipe
    from edgeyolo.pipeline.make import make as make_recipe

    made = make_recipe(read_recipe(recipe), report=lambda line: typer.echo(line, err=True), force=force)
    typer.echo(
        f"{made.engine}: made {', '.join(made.done) or 'nothing'}; current {', '.join(made.skipped) or '-'}"
    )
    typer.echo(f"next: {made.command}", err=True)
