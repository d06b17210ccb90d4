"""The ``edgeyolo`` command: all commands in one list, and the one place where errors become exit codes.

Owns parsing, exit codes and what goes to which stream (results to stdout, progress and log to stderr).
Nothing imports it. Each command's module under ``edgeyolo.cli`` imports its stage inside the function.
"""

from __future__ import annotations

import os
import sys

import typer

from edgeyolo.cli import build, convert, demo, evaluate, fetch, inspect, run, simplify
from edgeyolo.errors import EdgeYoloError

__all__ = ["app", "main"]

app = typer.Typer(
    name="edgeyolo",
    help="From YOLO weights to a live camera on Jetson-class hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (demo, fetch, convert, simplify, build, run, evaluate, inspect):
    _module.register(app)


def main() -> None:
    """Run the command line and turn what happens into an exit code.

    Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 a package or device is missing, 130 interrupted.
    """
    try:
        app()
    except EdgeYoloError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of stdout went away (`edgeyolo ... | head`): not an error, and nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
