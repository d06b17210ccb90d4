"""A real RTSP camera, killed and frozen while the frame loop reads it, comes back, and nothing stays behind.

A few rounds; ``tools/rtsp_reconnect.py`` does twenty, and more where asked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeyolo.build import build
from tests import tiny_models
from tools.rtsp_reconnect import reconnect

pytestmark = pytest.mark.needs("rtsp-server", "onnx", "onnxruntime", "opencv")

ROUNDS = 5


def test_every_fault_is_recovered_from_and_leaves_nothing(tmp_path: Path) -> None:
    build(tiny_models.write_detector(tmp_path / "m.onnx", batch=None), tmp_path / "m.engine")
    rounds = reconnect(tmp_path / "m.engine", rounds=ROUNDS, seed=4)
    assert len(rounds) == ROUNDS
    assert {each.how for each in rounds} == {"killed", "frozen"}
    first, last = rounds[0], rounds[-1]
    assert last.threads <= first.threads + 1  # one that is just leaving
    assert last.handles <= first.handles + 2
    assert last.rss_mib < first.rss_mib + 40
