"""The ``edgeyolo`` command: all commands in one list, and the one place where errors become exit codes.

Owns parsing, exit codes and what goes to which stream (results to stdout, progress and log to stderr).
Nothing imports it. Each command's module under ``edgeyolo.cli`` imports its stage inside the function.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from edgeyolo import __version__
from edgeyolo.cli import (
    adapt,
    bench,
    build,
    calibrate,
    check,
    compare,
    convert,
    demo,
    doctor,
    evaluate,
    fetch,
    inspect,
    make,
    run,
    simplify,
    tune_preprocess,
)
from edgeyolo.errors import EdgeYoloError
from edgeyolo.pipeline.signals import signals_as_interrupt

__all__ = ["app", "main"]

app = typer.Typer(
    name="edgeyolo",
    help="From YOLO weights to a live camera on Jetson-class hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order of the road, which is that of `edgeyolo --help`.
_ROAD = (
    demo, doctor, fetch, convert, adapt, tune_preprocess, simplify, calibrate, check, build, run, evaluate,
    compare, bench, inspect, make,
)  # fmt: skip
for _command in _ROAD:
    _command.register(app)
_INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgeyolo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """From YOLO weights to a live camera on Jetson-class hardware."""


def main() -> None:
    """Run the command line and turn what happens into an exit code.

    Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 a package or device is missing, 130 interrupted.
    """
    try:
        with signals_as_interrupt():
            app()
    except EdgeYoloError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        _leave_threads_alone(_INTERRUPTED)
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        _leave_threads_alone(end.code)
        raise
    except BrokenPipeError:
        # The reader of stdout went away (`edgeyolo ... | head`): not an error, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _leave_threads_alone(code: object) -> None:
    """End the process at once where Ctrl-C came again and again, and a thread still is in an engine.

    Ending the interpreter under such a thread runs the engine's destructors, and they abort. By now all files
    are closed.
    """
    if code == _INTERRUPTED and threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_INTERRUPTED)
