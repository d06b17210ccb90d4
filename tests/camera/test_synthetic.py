"""``test://``: what its truth says is what its pixels show, on any machine, at any time."""

from __future__ import annotations

import hashlib
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.camera import open_source
from edgeyolo.camera.outlines import NAMES, placed_outline, unit_outline
from edgeyolo.camera.scene import MIN_VISIBLE, SyntheticScene, render_scene
from edgeyolo.camera.synthetic import SyntheticSource
from edgeyolo.errors import EdgeYoloError, SourceOpenError

pytestmark = pytest.mark.needs("opencv")

SEEDS = range(100, 112)

# The truth of seed 7, as made on x86-64 with NumPy 2.4 and OpenCV 5.0.
SEED_7 = {
    "names": ["cross", "heart", "triangle", "star", "triangle", "star", "moon"],
    "xyxy": [
        [271.8, 348.7, 358.8, 438.7],
        [333.3, 134.9, 414.3, 210.2],
        [497.2, 250.9, 544.5, 314.8],
        [527.2, 0.0, 579.1, 39.6],
        [547.6, 340.3, 595.6, 384.3],
        [121.1, 232.2, 143.4, 254.8],
        [182.5, 92.4, 200.9, 110.9],
    ],
}


def pixels_inside(contours, wh):
    """Say of each pixel whether its centre is inside, by counting crossings of a ray: no library."""
    x, y = np.meshgrid(np.arange(wh[0]) + 0.5, np.arange(wh[1]) + 0.5)
    inside = np.zeros(x.shape, bool)
    for contour in contours:
        for (x0, y0), (x1, y1) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
            if y0 != y1:
                crosses = (y0 > y) != (y1 > y)
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def bounds(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def truth_from_outlines(scene, time_s):
    """Apply the documented rule with counted pixels: (class, box, visible fraction) of every object."""
    outlines = scene.outlines(time_s)
    masks = [pixels_inside(contours, scene.wh) for _, contours in outlines]
    rows = []
    for number, (class_id, contours) in enumerate(outlines):
        visible = masks[number] & ~np.any([*masks[number + 1 :], np.zeros_like(masks[0])], axis=0)
        if visible.any():
            area = sum(shoelace(contour) * (1 if i == 0 else -1) for i, contour in enumerate(contours))
            rows.append((class_id, bounds(visible), visible.sum() / area))
    return rows


def shoelace(contour):
    x, y = contour.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


@pytest.mark.parametrize("time_s", [0.0, 2.5])
@pytest.mark.parametrize("seed", SEEDS)
def test_truth_is_the_box_of_the_visible_pixels(seed, time_s):
    scene = SyntheticScene(seed, (320, 240))
    _, truth = scene.render(time_s)
    found = {(c, tuple(box)) for c, box in zip(truth.class_ids.tolist(), truth.xyxy.tolist(), strict=True)}
    for class_id, box, fraction in truth_from_outlines(scene, time_s):
        near = {
            row
            for row in found
            # An outline ends within its last pixel, up to one pixel inside of what whole pixels say, and a
            # thin tip covers no pixel centre at all.
            if row[0] == class_id and np.abs(np.subtract(row[1], box)).max() <= 2.0
        }
        if fraction > MIN_VISIBLE + 0.08:
            assert near, f"{NAMES[class_id]} at {box}, {fraction:.0%} visible, is not in the truth"
        if fraction < MIN_VISIBLE - 0.08:
            assert not near, f"{NAMES[class_id]} at {box}, only {fraction:.0%} visible, is in the truth"
        found -= near
    assert not found, "truth without an object"


def test_truth_boxes_of_free_objects_are_sub_pixel():
    for seed in range(30):
        scene = SyntheticScene(seed, (640, 480), objects=1)
        _, truth = scene.render(0.0)
        ((class_id, contours),) = scene.outlines(0.0)
        box = np.concatenate([contours[0].min(axis=0), contours[0].max(axis=0)])
        if (box[:2] >= 0).all() and (box[2:] <= scene.wh).all():
            assert truth.class_ids.tolist() == [class_id]
            np.testing.assert_allclose(truth.xyxy[0], box, atol=1e-4)


def test_pixels_change_where_the_box_says():
    """The same scene without its object: what differs begins at the box (shadows fall to the lower right)."""
    later = []  # how far inside of the box's left and upper side, and outside of the others, changes are seen
    for seed in range(40):
        scene, empty = (SyntheticScene(seed, (640, 480), objects=n) for n in (1, 0))
        (image, truth), (background, nothing) = scene.render(0.0), empty.render(0.0)
        assert len(nothing) == 0
        if len(truth) == 0 or (truth.xyxy[0, :2] < 3).any() or (truth.xyxy[0, 2:] > [637, 477]).any():
            continue
        # Noise is the same in both.
        changed = np.abs(image.astype(int) - background).max(axis=2) > 10
        later.append(np.subtract(bounds(changed), truth.xyxy[0]))
    later = np.array(later)
    assert len(later) >= 15
    assert later[:, :2].min() >= -3, "a blurred edge reaches two pixels out, no more"
    # A thin tip of a colour like that behind it is seen late.
    assert (np.abs(later[:, :2]) <= 2.5).mean() >= 0.9
    assert (later[:, 2:] >= -2.5).mean() >= 0.9


def test_boxes_are_inside_the_picture_and_of_the_promised_size():
    longest, classes = [], set()
    for seed in range(200, 320):
        scene = SyntheticScene(seed, (640, 480))
        for class_id, contours in scene.outlines(0.0):
            longest.append(np.ptp(contours[0], axis=0).max())
            classes.add(class_id)
    for seed in SEEDS:
        _, truth = render_scene(seed, (320, 240))
        assert truth.xyxy.dtype == np.float32
        assert (truth.xyxy[:, :2] < truth.xyxy[:, 2:]).all()
        assert truth.xyxy.min(initial=0) >= 0
        assert (truth.xyxy[:, 2:] <= [320, 240]).all()
        assert (truth.scores == 1).all()
    assert classes == set(range(len(NAMES)))
    assert min(longest) >= 12
    assert max(longest) <= 200
    assert min(longest) < 16, "small objects are missing"
    assert max(longest) > 150, "large objects are missing"


def test_objects_move_smoothly():
    scene = SyntheticScene(5, (640, 480))
    paths = np.array([[c[0].mean(axis=0) for _, c in scene.outlines(i / 30)] for i in range(120)])
    steps = np.linalg.norm(np.diff(paths, axis=0), axis=2)
    turns = np.linalg.norm(np.diff(paths, n=2, axis=0), axis=2)
    assert steps.max() < 8, "no object jumps"
    assert turns.max() < 1, "no object jerks"
    assert (steps.sum(axis=0) > 10).all(), "every object moves"


def test_a_seed_means_one_scene():
    for seed in (0, 1, 12345678901):
        image, truth = render_scene(seed)
        again, truth_again = render_scene(seed)
        assert np.array_equal(image, again)
        assert np.array_equal(truth.xyxy, truth_again.xyxy)
    assert not np.array_equal(render_scene(0)[0], render_scene(1)[0])


def test_a_time_does_not_depend_on_the_times_before():
    scene = SyntheticScene(9, (320, 240))
    played = [scene.render(i / 30)[0] for i in range(4)]
    assert np.array_equal(played[3], SyntheticScene(9, (320, 240)).render(3 / 30)[0])


def test_seed_7_is_the_same_scene_on_every_machine():
    _, truth = render_scene(7)
    assert [NAMES[i] for i in truth.class_ids] == SEED_7["names"]
    np.testing.assert_allclose(truth.xyxy, SEED_7["xyxy"], atol=0.06)  # written down with one digit


@pytest.mark.parametrize("name", NAMES)
def test_unit_outlines_fill_a_unit_box(name):
    points = np.concatenate(unit_outline(name))
    low, high = points.min(axis=0), points.max(axis=0)
    np.testing.assert_allclose(low + high, 0, atol=1e-12)
    assert (high - low).max() == pytest.approx(1)
    assert (high - low).min() > 0.5


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("disc", np.pi / 4),
        ("ring", np.pi / 4 * (1 - 0.55**2)),
        ("square", 1.0),
        ("triangle", np.sqrt(3) / 4),
        ("cross", 1 - 4 * 0.35**2),
    ],
)
def test_areas_are_those_of_the_textbook(name, area):
    contours = placed_outline(name, centre_xy=(150, 150), size=200, aspect=1.1, angle=0.3)
    counted = pixels_inside(contours, (300, 300)).sum() / 200**2
    assert counted == pytest.approx(area, rel=0.01)


def test_a_uri_gives_what_it_says():
    source = open_source("test://?width=96&height=64&fps=12.5&frames=5&seed=3&objects=2&cut=2")
    assert isinstance(source, SyntheticSource)
    frames = list(source)
    assert (source.frame_count, source.fps, source.live) == (5, 12.5, False)
    assert [frame.index for frame in frames] == list(range(5))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
    assert all(frame.image_bgr.shape == (64, 96, 3) for frame in frames)
    assert all(frame.source == source.name and frame.captured_at_s <= time.monotonic() for frame in frames)
    # Every second frame begins another scene, that of the next seed.
    for index, (seed, time_s) in enumerate([(3, 0), (3, 0.08), (4, 0), (4, 0.08), (5, 0)]):
        image, truth = SyntheticScene(seed, (96, 64), objects=2).render(time_s)
        assert np.array_equal(frames[index].image_bgr, image)
        assert np.array_equal(frames[index].truth.xyxy, truth.xyxy)
    assert [digest(f) for f in source] == [digest(f) for f in frames], "a second iteration is the same"
    source.close()
    source.close()


def digest(frame):
    return hashlib.sha256(frame.image_bgr.tobytes()).hexdigest()


def test_the_name_is_a_uri_that_means_the_same():
    source = SyntheticSource(width=96, height=64, fps=12.5, frames=0, seed=3, objects=0, cut=9)
    assert SyntheticSource.from_uri(source.name) == source
    assert SyntheticSource().name == "test://"
    assert source.frame_count is None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("test://?widht=640", "did you mean width?"),
        (
            "test://?banana=1",
            "one of width, height, fps, frames, seed, objects, cut, live expected, 'banana' found",
        ),
        ("test://?seed=1&seed=2", "seed is given twice"),
        ("test://?width=", "width: a whole number expected, '' found"),
        ("test://?width=6.5", "width: a whole number expected, '6.5' found"),
        ("test://?width=-640", "width: a whole number expected, '-640' found"),
        ("test://?seed=\u0663", "seed: a whole number expected"),
        ("test://?fps=fast", "fps: a number expected, 'fast' found"),
        ("test://?fps=nan", "fps: a number expected"),
        ("test://?fps=0", "fps from 1 to 1000 expected, 0.0 found"),
        ("test://?width=63", "width from 64 to 7680 expected, 63 found"),
        ("test://?height=99999", "height from 64 to 4320 expected, 99999 found"),
        ("test://?objects=201", "objects from 0 to 200 expected"),
        ("test://?seed=99999999999999999999", "seed from 0 to"),
        ("test://lobby?seed=1", "test:// or test://?key=value&... expected"),
        ("test://#seed=1", "test:// or test://?key=value&... expected"),
    ],
)
def test_a_wrong_uri_is_refused_with_its_reason(uri, says):
    with pytest.raises(SourceOpenError) as caught:
        SyntheticSource.from_uri(uri)
    assert says in str(caught.value)
    assert uri.partition("?")[0].partition("#")[0] in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_uri_breaks_the_reader(text):
    try:
        source = SyntheticSource.from_uri("test://" + text)
    except EdgeYoloError:
        return
    assert SyntheticSource.from_uri(source.name) == source


def test_a_live_one_keeps_the_time_of_the_clock():
    source = SyntheticSource.from_uri("test://?width=64&height=64&fps=50&frames=0&live=1&objects=2")
    assert source.live
    frames = iter(source)
    first, second = next(frames), next(frames)
    assert (first.index, second.captured_at_s - first.captured_at_s) == (
        0,
        pytest.approx(0.02 * second.index),
    )
    while time.monotonic() < first.captured_at_s + 0.5:
        threading.Event().wait(0.05)
    late = next(frames)
    assert late.index >= 25  # those that nobody took are gone, and counted
    assert late.time_s == pytest.approx(late.index / 50)
    assert late.captured_at_s == pytest.approx(first.captured_at_s + late.time_s)
    recorded = SyntheticSource(width=64, height=64, fps=50, frames=late.index + 1, objects=2)
    *_, same = recorded
    assert np.array_equal(same.image_bgr, late.image_bgr)
    source.close()
    assert [*frames] == []


def test_a_live_one_ends_where_it_was_asked_to():
    indices = [frame.index for frame in SyntheticSource(width=64, height=64, fps=1000, frames=20, live=True)]
    assert indices[0] == 0
    assert indices == sorted(set(indices))
    assert indices[-1] < 20


def test_closing_ends_the_wait_for_a_live_frame():
    source = SyntheticSource(width=64, height=64, fps=1, frames=0, live=True)
    frames = iter(source)
    next(frames)
    threading.Timer(0.1, source.close).start()
    assert [*frames] == []
