"""Sinks: whole files, full disks, changing sizes, no display."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError, OutputError
from edgeyolo.frames import Result
from edgeyolo.show import (
    ImageFileSink,
    ImageFolderSink,
    JsonLinesSink,
    SummarySink,
)
from tests.full_disk import full_disk_after
from tests.show.results import NAMES, result, two_boxes

cv2 = pytest.importorskip("cv2")


def test_json_lines_on_a_full_disk_end_with_a_whole_line(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl", NAMES)

    def write_many() -> None:
        for index in range(100):
            sink.write(result(index, output=two_boxes()))

    with full_disk_after(1000), pytest.raises(OutputError, match="cannot write"):
        write_many()
    sink.close()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(lines) >= 2
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


def test_json_lines_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        JsonLinesSink(tmp_path / "file" / "out.jsonl", NAMES)


def test_pictures_keep_their_names(tmp_path: Path) -> None:
    sink = ImageFolderSink(tmp_path / "out")
    for path in ("a/x.jpg", "b/x.jpg", "a/y.PNG"):
        sink.write(result(path=path, grey=90))
    sink.write(result(7))
    sink.close()
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["clip-000007.jpg", "x-2.jpg", "x.jpg", "y.PNG"]
    assert cv2.imread(str(tmp_path / "out" / "y.PNG")).tolist() == np.full((48, 64, 3), 90).tolist()


def test_a_source_picture_is_never_overwritten(tmp_path: Path) -> None:
    original = tmp_path / "x.jpg"
    original.write_bytes(b"precious")
    for sink in (ImageFolderSink(tmp_path), ImageFileSink(original)):
        with pytest.raises(ConfigError, match="a picture of the source"):
            sink.write(result(path=str(original)))
    assert original.read_bytes() == b"precious"


def test_a_picture_on_a_full_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = Result(
        frame=result().frame,
        output=Detections.empty(),
        picture_bgr=rng.integers(0, 256, (99, 99, 3), np.uint8),
    )
    with full_disk_after(1000), pytest.raises(OutputError, match="cannot write") as caught:
        ImageFileSink(tmp_path / "x.png").write(noisy)
    assert caught.value.hint == "free space, or write somewhere else"  # `run` has no -o
    assert not list(tmp_path.iterdir())


def test_the_summary_counts_by_class() -> None:
    sink = SummarySink(NAMES)
    sink.write(result(output=two_boxes()))
    twice = Detections(np.zeros((2, 4), np.float32), np.array([0.5, 0.4], np.float32), np.array([0, 0]))
    sink.write(result(output=twice))
    sink.write(result())
    header, *rows = sink.lines()
    assert header.split() == ["class", "found", "frames", "most", "at", "once", "best", "score"]
    assert [row.split() for row in rows] == [["car", "3", "2", "2", "0.50"], ["café", "1", "1", "1", "0.90"]]
    assert sink.frames == 3


def test_the_summary_of_nothing() -> None:
    assert list(SummarySink(NAMES).lines()) == ["nothing found in 0 frames"]
