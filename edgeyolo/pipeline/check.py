"""``check`` on a model of any origin: a detector is checked in the form that ``build`` makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from edgeyolo.boards import Board
from edgeyolo.build.check import CheckReport, check
from edgeyolo.pipeline.adapt import AdaptOptions, contract_form

__all__ = ["check_any"]


def check_any(
    model: Path, options: AdaptOptions, *, board: Board | None, report: Callable[[str], None]
) -> CheckReport:
    """Check an ONNX file.

    Args:
        model: Any ONNX file; what is no detector is checked as it is.
        options: What the user says of a detector of another origin; given, it must be one.
        board: Whose rules.
        report: Is told what was recognised, and why.

    Raises:
        ConfigError: Options that do not fit.
        GraphError: The file cannot be read.
        MissingDependencyError: TensorRT-RTX or onnx is not installed.
    """
    with contract_form(model, options, report, must=bool(options.words())) as ready:
        return dataclasses.replace(check(ready, board=board), model=str(model))
