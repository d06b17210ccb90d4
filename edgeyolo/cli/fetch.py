"""``edgeyolo fetch``: known weights into the user's cache."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeyolo.fetch.catalogue import RemoteFile
    from edgeyolo.fetch.download import Progress

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fetch")(_fetch)


def _fetch(
    name: Annotated[str | None, typer.Argument(help="A name of --list, such as yolov3-tiny.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(envvar="EDGEYOLO_CACHE", help="Folder to keep it in.  [default: the user's cache]"),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show what can be fetched, and stop.")] = False,
) -> None:
    """Download known weights, proved by sha256; print where they are.

    An interrupted download continues. `edgeyolo convert yolov3 $(edgeyolo fetch yolov3) -o yolov3.onnx` and
    `edgeyolo convert $(edgeyolo fetch yolo-fastest-1.1-xl) -o m.onnx` work.
    """
    from edgeyolo.errors import ConfigError
    from edgeyolo.fetch.catalogue import CATALOGUE, known_model
    from edgeyolo.fetch.download import default_cache, fetch

    if show_list:
        for known, model in CATALOGUE.items():
            print(f"{known:22} {model.size_mib:7.1f} MiB   {model.title}")
        return
    if name is None:
        raise ConfigError("fetch: the name of a model expected, none found", hint="edgeyolo fetch --list")
    with _progress_shown() as progress:
        paths = fetch(known_model(name), cache or default_cache(), progress=progress)
    for path in paths:
        print(path)


@contextlib.contextmanager
def _progress_shown() -> Iterator[Progress]:
    """Draw a bar on a terminal; say the address of the file once otherwise."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(file: RemoteFile, here: int, whole: int | None) -> None:
            if file.name not in tasks:
                tasks[file.name] = bars.add_task(file.name)
                if not console.is_terminal:
                    print(f"fetching {file.name}, {file.size_mib:g} MiB", file=sys.stderr)
            bars.update(tasks[file.name], completed=here, total=whole)

        yield show
