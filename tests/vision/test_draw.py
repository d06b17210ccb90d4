"""What is on the picture after drawing, looked at as pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeyolo.detections import Classification, Detections
from edgeyolo.vision.draw import Painter, class_colour_bgr

cv2 = pytest.importorskip("cv2")
GREY = 90
NAMES = tuple(f"class {i}" for i in range(80))
SIZES = [(1080, 1920), (2160, 3840), (432, 768), (64, 64), (1920, 1080)]


def canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def one(box: list[float], *, class_id: int = 0, score: float = 0.87) -> Detections:
    return Detections(np.array([box], np.float32), np.array([score], np.float32), np.array([class_id]))


def touched(image: np.ndarray) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 around every pixel that was drawn."""
    ys, xs = np.nonzero((image != GREY).any(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("size", SIZES)
def test_the_outline_lies_on_the_box_and_its_inside_stays(size) -> None:
    height, width = size
    image = canvas(height, width)
    box = [width // 8, height // 2, width * 7 // 8, height - 4]
    Painter(("",)).draw(image, one(box))
    x0, y0, x1, y1 = box
    colour = class_colour_bgr(0)
    for y, x in ((y0, x0), (y1 - 1, x0), (y0, x1 - 1), (y1 - 1, x1 - 1), (y1 - 1, (x0 + x1) // 2)):
        assert tuple(image[y, x].tolist()) == colour
    assert touched(image)[0] == x0
    assert touched(image)[2:] == (x1, y1)
    assert (image[(y0 + y1) // 2, (x0 + x1) // 2] == GREY).all()


def test_lines_and_letters_grow_with_the_picture() -> None:
    lines, letters = [], []
    for short in (240, 480, 1080, 2160):
        image = canvas(short, short * 2)
        Painter(NAMES).draw(image, one([short / 2, short / 2, short, short - 1]))
        column = (image[short * 3 // 4, : short * 2] != GREY).any(axis=1)
        lines.append(int(column[: short * 3 // 4].sum()))
        letters.append(short // 2 - touched(image)[1])
    assert lines == sorted(lines)
    assert lines[0] == 1
    assert lines[2] == 3
    assert letters == sorted(letters)
    assert letters[0] >= 10  # readable on the smallest
    assert 20 <= letters[2] <= 40


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corner", list(itertools.product((0, 1), (0, 1))))
def test_a_label_stays_whole_inside_the_picture(size, corner) -> None:
    def letters(image: np.ndarray) -> int:
        return int(((image != GREY) & (image != class_colour_bgr(0))).any(axis=2).sum())

    height, width = size
    side = 12
    x0, y0 = corner[0] * (width - side), corner[1] * (height - side)
    image = canvas(height, width)
    Painter(("c",)).draw(image, one([x0, y0, x0 + side, y0 + side]))
    # The same label where nothing is in its way, in a picture whose short side is as long.
    short = min(size)
    free = canvas(short, 5000)
    Painter(("c",)).draw(free, one([2000, short / 2, 2000 + side, short / 2 + side]))
    assert letters(image) == letters(free) > 0


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, 10, 10],
        [-9, 5, 900, 20],
        [5, 5, 5, 5],
        [99, 79, 100, 80],
        [100, 80, 100, 80],
        [3, 3, 3.4, 70],
    ],
)
@pytest.mark.parametrize("size", [(80, 100), (1, 1), (3, 200), (200, 3)])
def test_no_box_and_no_size_is_too_odd(box, size) -> None:
    image = canvas(*size)
    Painter(("a rather long name of a class",)).draw(image, one(box))
    assert (image != GREY).any()


def test_colours_are_stable_and_tell_neighbours_apart() -> None:
    colours = [class_colour_bgr(i) for i in range(80)]
    # Fixed for ever: a user's legend and old pictures stay true.
    assert colours[:3] == [(25, 25, 255), (178, 65, 18), (140, 255, 207)]
    assert len(set(colours)) == 80
    lab = cv2.cvtColor(np.array([colours], np.float32) / 255, cv2.COLOR_BGR2Lab)[0]
    distance = np.linalg.norm(lab[:, None] - lab, axis=2) + 999 * np.eye(80)
    assert distance[:10, :10].min() > 40
    assert distance[:20, :20].min() > 25


def test_letters_stand_out_from_every_plate() -> None:
    def luminance(bgr) -> float:
        """Relative luminance of WCAG 2.1, which defines contrast."""
        linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in bgr]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    for class_id in range(80):
        image = canvas(1200, 1200)
        Painter(("M",) * 80).draw(image, one([100, 200, 300, 390], class_id=class_id))
        plate = image[touched(image)[1] : 200, 100:160].reshape(-1, 3)
        ink = (0, 0, 0) if (plate == 0).all(axis=1).any() else (255, 255, 255)
        assert (plate == ink).all(axis=1).any()
        lighter, darker = sorted((luminance(class_colour_bgr(class_id)), luminance(ink)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 3, class_id  # WCAG's least for large text


def test_the_best_box_is_on_top_and_labels_are_above_lines() -> None:
    boxes = np.array([[20, 50, 120, 150], [20, 50, 120, 150]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([4, 1]))
    image = canvas(200, 200)
    Painter(NAMES).draw(image, found)
    assert tuple(image[149, 60].tolist()) == class_colour_bgr(4)


def test_nothing_found_changes_nothing() -> None:
    image = canvas(50, 60)
    Painter(NAMES).draw(image, Detections.empty())
    Painter(NAMES).draw(image, Classification(np.empty(0, np.float32), np.empty(0, np.int64)))
    assert (image == GREY).all()


def test_classes_are_listed_from_the_upper_left_corner() -> None:
    heights = []
    for count in (1, 2, 5):
        image = canvas(480, 640)
        scores = np.linspace(0.9, 0.1, count).astype(np.float32)
        Painter(NAMES).draw(image, Classification(scores, np.arange(count)))
        assert touched(image)[:2] == (0, 0)
        heights.append(touched(image)[3])
        assert tuple(image[0, 0].tolist()) == class_colour_bgr(0)
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)
    assert heights[2] == pytest.approx(5 * heights[0], abs=5)


def test_a_list_that_does_not_fit_is_cut() -> None:
    image = canvas(40, 60)
    Painter(NAMES).draw(image, Classification(np.linspace(0.9, 0.1, 9).astype(np.float32), np.arange(9)))
    assert (image != GREY).any()


@pytest.mark.parametrize("name", ["café", "日本", "Ünïcödé", "tab\there", "line\nbreak", "", "🚗"])
def test_any_name_can_be_drawn(name) -> None:
    image = canvas(200, 300)
    Painter((name,)).draw(image, one([50, 60, 200, 150]))
    assert touched(image)[1] < 60


def test_a_class_beyond_the_names_is_drawn_by_its_number() -> None:
    known, unknown = canvas(200, 300), canvas(200, 300)
    Painter(()).draw(unknown, one([50, 60, 200, 150], class_id=17))
    Painter(("x",) * 17 + ("#17",)).draw(known, one([50, 60, 200, 150], class_id=17))
    np.testing.assert_array_equal(known, unknown)


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (10, 10, 1)])
def test_other_pictures_are_refused(shape) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) expected"):
        Painter(()).draw(np.zeros(shape, np.uint8), Detections.empty())


def test_drawing_twice_gives_the_same_pixels() -> None:
    first, second = canvas(300, 300), canvas(300, 300)
    Painter(NAMES).draw(first, one([50, 60, 200, 150]))
    Painter(NAMES).draw(second, one([50, 60, 200, 150]))
    np.testing.assert_array_equal(first, second)
