"""Progress on stderr: what is left is told from what was fast, not from what was waited for."""

from __future__ import annotations

import pytest

from edgeyolo.pipeline import steps as module
from edgeyolo.pipeline.steps import Steps


def test_the_first_item_says_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    steps = Steps(shown=True)
    steps.begin("evaluating", 100)
    for count, now in ((1, 60.0), (2, 61.0), (11, 70.0)):  # noqa: B007 - `now` is the clock
        steps(count)
    steps.end()
    said = capsys.readouterr().err.splitlines()
    assert said == ["evaluating ...", "evaluating 1/100", "evaluating 11/100, ETA 89 s", "evaluating: 70.0 s"]
