"""What is here and what to do about it: the findings of ``edgeyolo doctor``.

Owns the order of the questions and the type of an answer. Each answer says what was found, and where it is
not as it should be, the command that mends it. Refuses to change anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Answer", "examine", "has_problem"]

Level = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True)
class Answer:
    """One thing that was looked at.

    Args:
        about: What: ``TensorRT``, ``power mode`` ...
        level: ``ok``; ``note``: fine, worth knowing; ``warning``: slower or less than it could be;
            ``problem``: something that a command needs does not work.
        text: What was found.
        remedy: What to do, where there is something to do.
    """

    about: str
    level: Level
    text: str
    remedy: str | None = None


def examine(root: Path = Path("/")) -> tuple[Answer, ...]:
    """Look at everything.

    Args:
        root: Root of the file system that is looked at; a test gives a tree of its own.

    Returns:
        Answers in the order in which a user reads them: machine, GPU, packages, cameras, speed.
    """
    from edgeyolo.pipeline.doctor_cameras import camera_answers
    from edgeyolo.pipeline.doctor_jetson import board_answers, speed_answers
    from edgeyolo.pipeline.doctor_packages import gpu_answers, package_answers

    return (
        *board_answers(root),
        *gpu_answers(root),
        *package_answers(root),
        *camera_answers(root),
        *speed_answers(root),
    )


def has_problem(answers: Iterable[Answer]) -> bool:
    """Tell whether something does not work.

    Examples:
        >>> has_problem([Answer("a", "ok", "x"), Answer("b", "warning", "y")])
        False
    """
    return any(answer.level == "problem" for answer in answers)
