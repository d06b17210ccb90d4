"""JSON lines: the keys that come only with something to say, rotation, a full disk under a live camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.detections import Classification
from edgeyolo.show import JsonLinesSink
from tests.full_disk import full_disk_after
from tests.show.results import NAMES, event, result, two_boxes


def _lines(path: Path) -> list[dict[str, object]]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def _frames(path: Path) -> list[object]:
    return [line["frame"] for line in _lines(path)]


def test_json_lines_keep_the_run_contract(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "new" / "out.jsonl", NAMES)
    sink.write(result(3, output=two_boxes(), age_ms=12.5))
    (first,) = _lines(tmp_path / "new" / "out.jsonl")  # flushed before the next
    sink.write(result(4))
    sink.close()
    sink.close()
    assert first == {
        "source": "clip.mp4",
        "frame": 3,
        "time_s": 0.12,
        "width": 64,
        "height": 48,
        "latency_ms": 3.75,
        "detections": [
            {"class_id": 1, "label": "café", "score": 0.9, "box": [1.0, 2.5, 30.12, 40.0]},
            {"class_id": 0, "label": "car", "score": 0.3, "box": [0.0, 0.0, 5.0, 5.0]},
        ],
    }
    assert _lines(tmp_path / "new" / "out.jsonl")[1]["detections"] == []


def test_keys_that_are_there_only_with_something_to_say(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl", NAMES, with_camera=True, live={"door"})
    crossing = event(camera="door", kind="cross", direction="a-b", counts={"a-b": 3, "b-a": 1})
    leaving = event(camera="door", kind="leave", seconds=2.5, lost=True)
    sink.write(
        result(
            7,
            camera="door",
            output=two_boxes(track_ids=(12, 4)),
            age_ms=81.2504,
            detected=False,
            events=(crossing, leaving),
        )
    )
    sink.write(result(8, camera="clip", age_ms=9.0))
    sink.close()
    first, second = _lines(tmp_path / "out.jsonl")
    assert first["camera"] == "door"
    assert first["age_ms"] == 81.25
    assert first["detected"] is False
    assert [found["track_id"] for found in first["detections"]] == [12, 4]  # type: ignore[attr-defined]
    common = {
        "where": "door",
        "camera": "door",
        "frame": 7,
        "time_s": 0.28,
        "unix_s": 1764000000.5,
        "track_id": 12,
        "class_id": 1,
        "label": "café",
        "score": 0.87654,
        "box": [1.0, 2.0, 3.0, 4.0],
    }
    assert first["events"] == [
        {"kind": "cross", **common, "direction": "a-b", "counts": {"a-b": 3, "b-a": 1}},
        {"kind": "leave", **common, "seconds": 2.5, "lost": True},
    ]
    assert second["camera"] == "clip"
    assert not second.keys() & {"age_ms", "detected", "events", "path"}


def test_a_line_of_a_classifier(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = JsonLinesSink("-", NAMES)
    sink.write(result(output=Classification(np.array([0.75], np.float32), np.array([1])), path="a/b.jpg"))
    line = json.loads(capfdbinary.readouterr().out)  # flushed
    sink.close()
    assert line["classification"] == [{"class_id": 1, "label": "café", "score": 0.75}]
    assert line["path"] == "a/b.jpg"
    assert "detections" not in line


@given(limit=st.integers(1, 3000), keep=st.integers(1, 4), count=st.integers(0, 40))
def test_rotation_keeps_the_last_lines_in_order(
    limit: int, keep: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rotated") / "out.jsonl"
    sink = JsonLinesSink(path, NAMES, rotate_bytes=limit, keep=keep)
    for index in range(count):
        sink.write(result(index))
    sink.close()
    files = [Path(f"{path}.{number}") for number in range(keep, 0, -1)] + [path]
    assert sorted(path.parent.iterdir()) == sorted(file for file in files if file.exists())
    kept = [frame for file in files if file.exists() for frame in _frames(file)]
    assert kept == list(range(count - len(kept), count))
    assert len(kept) == count or all(file.exists() for file in files)
    for file in filter(Path.exists, files):
        assert file.stat().st_size <= limit or len(_lines(file)) == 1


def test_a_restart_loses_no_line_where_files_rotate(tmp_path: Path) -> None:
    for start in (0, 10):
        sink = JsonLinesSink(tmp_path / "out.jsonl", NAMES, rotate_bytes=10_000)
        sink.write(result(start))
        sink.close()
    assert _frames(tmp_path / "out.jsonl") == [10]
    assert _frames(tmp_path / "out.jsonl.1") == [0]


def test_a_full_disk_loses_lines_of_a_live_camera_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl", NAMES, live={"0"})
    with full_disk_after(1000):
        for index in range(100):
            sink.write(result(index, output=two_boxes()))
    assert sink.dropped > 50
    sink.write(result(100))
    sink.close()
    frames = _frames(tmp_path / "out.jsonl")
    assert frames == [*range(100 - sink.dropped), 100]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"cannot write {tmp_path / 'out.jsonl'}",
        str(tmp_path / "out.jsonl"),
    ]
