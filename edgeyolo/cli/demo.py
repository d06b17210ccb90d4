"""``edgeyolo demo``: the whole way on this machine, with nothing to download."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeyolo.pipeline.demo import DemoReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for results.")] = Path(
        "out/demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert, build, run and measure a small detector here; nothing to download."""
    import json

    from edgeyolo.pipeline.demo import demo as run_demo

    report = run_demo(output, say=lambda line: print(line, file=sys.stderr))
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _print_report(report)


def _print_report(report: DemoReport) -> None:
    from edgeyolo.optional import require

    console = require("rich.console", why="to print tables").Console()
    console.print()
    console.print(_accuracy_table(report))
    console.print(_speed_table(report))
    for line in _paths(report):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _accuracy_table(report: DemoReport) -> Any:
    from edgeyolo.optional import require

    first = report.variants[0].accuracy
    table = require("rich.table", why="to print tables").Table(
        title=f"Accuracy on {first.images} unseen scenes", title_justify="left"
    )
    table.add_column("class")
    table.add_column("objects", justify="right")
    for each in report.variants:
        table.add_column(f"{each.variant.label} AP50", justify="right")
        table.add_column("AP", justify="right")
    for row, entry in enumerate(first.classes):
        scores = [each.accuracy.classes[row] for each in report.variants]
        cells = [f"{value:.3f}" for score in scores for value in (score.ap50, score.ap)]
        table.add_row(entry.name, str(entry.boxes), *cells, end_section=row == len(first.classes) - 1)
    means = [f"{value:.3f}" for each in report.variants for value in (each.accuracy.ap50, each.accuracy.ap)]
    table.add_row("all (mAP)", str(first.boxes), *means, style="bold")
    return table


def _speed_table(report: DemoReport) -> Any:
    from edgeyolo.optional import require

    table = require("rich.table", why="to print tables").Table(
        title="Speed, milliseconds a frame", title_justify="left"
    )
    table.add_column("stage")
    for each in report.variants:
        table.add_column(f"{each.variant.label} p50", justify="right")
        table.add_column("p99", justify="right")
    stages = list(report.variants[0].stage_ms)
    for stage in stages:
        cells = [f"{ms:.2f}" for each in report.variants for ms in each.stage_ms[stage].values()]
        table.add_row(stage, *cells, end_section=stage == stages[-1])
    rates = [cell for each in report.variants for cell in (f"{each.speed.fps:.0f} FPS", "")]
    table.add_row("overlapped", *rates, style="bold")
    return table


def _paths(report: DemoReport) -> Iterator[str]:
    """Say what was made, and what to try next."""
    for each in report.variants:
        yield f"contact sheet  {each.contact_sheet}"
        yield f"video          {each.video}"
        yield f"JSON lines     {each.jsonl}"
        yield f"engine         {each.variant.engine}"
    yield f"INT8 report    {report.calibration_page}"
    engine, scenes, truth = (
        shlex.quote(str(path))
        for path in (report.variants[0].variant.engine, report.scenes, report.annotations)
    )
    yield f"\nDone in {report.seconds:.0f} s. Try next:"
    yield f"  edgeyolo run {engine} 'test://?seed=7&width=1280&height=720' --save seed7.mp4"
    yield f"  edgeyolo evaluate {engine} --images {scenes} --annotations {truth}"
    yield f"  edgeyolo bench {engine}"
    yield f"  edgeyolo inspect {engine}"
    yield "  edgeyolo fetch yolov3-tiny    (then convert, simplify, build and run it on a video of yours)"
