"""Calibration sees the very bytes that the detector feeds its engine."""

import dataclasses
import gc
import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.calibrate.feed import Feed
from edgeyolo.calibrate.gather import gather
from edgeyolo.errors import SourceError
from edgeyolo.runtime.detector import Detector
from edgeyolo.spec import Preprocess
from edgeyolo.vision.images import read_image
from tests.calibrate.pictures import folder_of, scene, video, write
from tests.test_spec import SPEC

pytestmark = pytest.mark.needs("opencv")

WH = (64, 32)


class RecordingEngine:
    """An engine that finds nothing and remembers what it was fed."""

    slots = 1
    batch = 1

    def __init__(self, preprocess: Preprocess) -> None:
        spec = dataclasses.replace(SPEC, preprocess=preprocess, input_wh=WH, task="detect", outputs="decoded")
        self.info: Any = type("Info", (), {"spec": spec})
        channels = 1 if preprocess.channels == "gray" else 3
        self._input = np.full((1, channels, WH[1], WH[0]), np.nan, np.float32)
        self.seen: list[bytes] = []

    def input(self, slot: int) -> Any:
        return self._input

    def infer(self, slot: int, *, batch: int | None = None) -> Mapping[str, Any]:
        self.seen.append(self._input.tobytes())
        classes = len(self.info.spec.names)
        return {"boxes": np.zeros((1, 1, 4), np.float32), "scores": np.zeros((1, 1, classes), np.float32)}

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(),
        Preprocess(resize="letterbox_top_left", channels="bgr", scale=1.0, pad_value=114),
        Preprocess(resize="stretch", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
        Preprocess(resize="center_crop", channels="gray", mean=(0.5,), std=(0.5,)),
    ],
    ids=lambda preprocess: preprocess.resize,
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_feed_gives_the_bytes_that_run_feeds(tmp_path: Path, preprocess: Preprocess, batch: int) -> None:
    for n, wh in enumerate([(64, 32), (100, 30), (31, 77), (64, 64), (5, 9)]):
        write(tmp_path / f"{n}.png", scene(n, (max(wh[0], 12), max(wh[1], 12))))
    manifest = gather(str(tmp_path)).manifest
    engine: Any = RecordingEngine(preprocess)
    detector = Detector(engine)
    for item in manifest.items:
        detector(read_image(manifest.file_of(item)))
    feed = Feed(manifest, preprocess, WH, batch=batch)
    batches = list(feed)
    assert [len(tensor) for tensor in batches] == {1: [1] * 5, 3: [3, 2]}[batch]
    assert len(feed) == len(batches)
    assert [tensor.tobytes() for tensor in np.concatenate(batches)] == engine.seen
    assert len({*engine.seen}) == 5  # five distinct pictures, not one picture five times


def test_a_feed_can_be_read_twice_and_gives_the_same(tmp_path: Path) -> None:
    feed = Feed(gather(str(folder_of(tmp_path, 5))).manifest, Preprocess(), WH, batch=2)
    assert [t.tobytes() for t in feed] == [t.tobytes() for t in feed]


def test_frames_of_a_video_are_the_right_ones(tmp_path: Path) -> None:
    manifest = gather(str(video(tmp_path / "v.avi", 25)), every=8).manifest
    means = [float(t.mean()) * 2 * 255 / 8 for t in Feed(manifest, Preprocess(resize="stretch"), WH)]
    assert np.round(means).tolist() == [0, 8, 16, 24]


def test_at_most_the_batches_ahead_are_alive(tmp_path: Path) -> None:
    feed = Feed(gather(str(folder_of(tmp_path, 30))).manifest, Preprocess(), WH, ahead=2)
    shape = (1, 3, WH[1], WH[0])
    most = 0
    for _ in feed:
        alive = [a for a in gc.get_objects() if isinstance(a, np.ndarray) and a.shape == shape]
        most = max(most, len(alive))
    assert most <= 4


def test_an_error_in_the_thread_reaches_the_reader(tmp_path: Path) -> None:
    manifest = gather(str(folder_of(tmp_path, 5))).manifest
    (tmp_path / "003.png").unlink()
    batches = iter(Feed(manifest, Preprocess(), WH))
    assert len(list(itertools.islice(batches, 3))) == 3
    with pytest.raises(SourceError, match=r"003\.png: cannot be read"):
        next(batches)


def test_a_reader_that_stops_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    feed = Feed(gather(str(folder_of(tmp_path, 20))).manifest, Preprocess(), WH, ahead=1)
    for _ in feed:
        break
    gc.collect()
    assert threading.active_count() == before
