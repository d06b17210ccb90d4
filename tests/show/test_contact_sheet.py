"""The contact sheet, and the small PNG that it is written as."""

from __future__ import annotations

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.frames import Frame, Result
from edgeyolo.show.contact_sheet import ContactSheetSink, match_truth
from edgeyolo.show.palette_png import write_palette_png

pytestmark = pytest.mark.needs("opencv")

WHITE, RED = (255, 255, 255), (60, 60, 255)


def detections(*rows):
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    ids = np.array([row[4] for row in rows], np.int64)
    scores = np.array([row[5] if len(row) > 5 else 1.0 for row in rows], np.float32)
    return Detections(boxes, scores, ids)


@pytest.mark.parametrize(
    ("found", "truth", "missed", "false"),
    [
        ([], [], (), ()),
        ([(0, 0, 10, 10, 1)], [], (), (0,)),
        ([], [(0, 0, 10, 10, 1)], (0,), ()),
        ([(0, 0, 10, 10, 1)], [(0, 0, 10, 10, 1)], (), ()),
        ([(0, 0, 10, 10, 2)], [(0, 0, 10, 10, 1)], (0,), (0,)),  # right place, wrong class
        ([(0, 0, 10, 5, 1)], [(0, 0, 10, 10, 1)], (), ()),  # IoU 0.5 is enough
        ([(0, 0, 10, 4, 1)], [(0, 0, 10, 10, 1)], (0,), (0,)),  # IoU 0.4 is not
        # One object found twice: the better score has it.
        ([(0, 0, 10, 10, 1, 0.3), (0, 0, 10, 9, 1, 0.9)], [(0, 0, 10, 10, 1)], (), (0,)),
        # Two objects near each other, found in the other order.
        ([(4, 0, 14, 10, 1, 0.9), (0, 0, 10, 10, 1, 0.8)], [(0, 0, 10, 10, 1), (4, 0, 14, 10, 1)], (), ()),
    ],
)
def test_found_and_truth_pair_up(found, truth, missed, false):
    matches = match_truth(detections(*found), detections(*truth))
    assert (matches.missed, matches.false) == (missed, false)


def test_the_sheet_shows_the_chosen_frames_and_marks_what_was_missed(tmp_path):
    import cv2

    path = tmp_path / "sheet.png"
    sink = ContactSheetSink(path, ("disc",), frames=[1, 3], columns=2, caption="two frames")
    truth = detections((100, 100, 200, 200, 0))
    for index in range(5):
        found = truth if index == 1 else Detections.empty()
        sink.write(Result(frame=frame(index, truth), output=found))
    sink.close()
    sheet = cv2.imread(str(path))
    left, right = sheet[:, : sheet.shape[1] // 2], sheet[:, sheet.shape[1] // 2 :]
    assert count(right, RED) > 20, "the second frame's object is marked as missed"
    assert count(left, RED) == 0
    assert count(left, WHITE) > 20
    path.unlink()
    sink.close()
    assert not path.exists(), "a second close writes nothing"


def test_a_run_without_chosen_frames_writes_nothing(tmp_path):
    sink = ContactSheetSink(tmp_path / "sheet.png", ("disc",), frames=[100])
    sink.write(Result(frame=frame(0, None), output=Detections.empty()))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def frame(index, truth):
    grey = np.full((480, 640, 3), 90, np.uint8)
    return Frame(image_bgr=grey, source="test", index=index, time_s=0.0, captured_at_s=0.0, truth=truth)


def count(image, colour):
    return int((np.abs(image.astype(int) - colour).max(axis=2) < 12).sum())


def test_few_colours_come_back_as_they_were(tmp_path):
    import cv2

    colours = np.array([[0, 0, 0], [255, 255, 255], [30, 60, 200], [200, 40, 90]], np.uint8)
    image = colours[np.random.default_rng(0).integers(0, 4, (37, 53))]
    write_palette_png(tmp_path / "few.png", image)
    back = cv2.imread(str(tmp_path / "few.png"))
    assert back.shape == image.shape
    # Within a step of the 5-bit grid and its dither.
    assert np.abs(back.astype(int) - image).max() <= 12


def test_many_colours_stay_close_and_the_file_small(tmp_path):
    import cv2

    x, y = np.meshgrid(np.linspace(0, 255, 320), np.linspace(0, 255, 240))
    image = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    image = cv2.add(image, np.random.default_rng(1).integers(0, 6, image.shape, np.uint8))
    write_palette_png(tmp_path / "small.png", image)
    cv2.imwrite(str(tmp_path / "full.png"), image)
    assert cv2.PSNR(cv2.imread(str(tmp_path / "small.png")), image) > 28
    assert (tmp_path / "small.png").stat().st_size < (tmp_path / "full.png").stat().st_size / 2
