"""Bad pictures are found, good ones are not accused."""

from pathlib import Path

import numpy as np
import pytest

from edgeyolo.calibrate.check import Checked, advice_on_count, check, movement
from edgeyolo.calibrate.gather import Gathered, gather
from edgeyolo.calibrate.manifest import Item, Manifest
from edgeyolo.errors import CalibrationError, EmptyManifestError
from tests.calibrate.pictures import folder_of, scene, video, write

pytestmark = pytest.mark.needs("opencv")


def checked(root: Path, limit: int | None = None) -> Checked:
    return check(gather(str(root)), limit=limit)


def kinds(result: Checked) -> dict[str, str]:
    return {finding.name: finding.kind for finding in result.findings}


def test_every_kind_of_bad_picture_is_found_and_only_the_bad_ones(tmp_path: Path) -> None:
    import cv2

    root = folder_of(tmp_path, 6)
    tones = np.random.default_rng(50).integers(0, 255, (12, 16, 3), np.uint8)
    large = cv2.resize(tones, (640, 480), interpolation=cv2.INTER_NEAREST)
    write(root / "large.png", large)
    (root / "copy.png").write_bytes((root / "large.png").read_bytes())
    write(root / "small.jpg", cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA))
    write(root / "night.png", (scene(51) * 0.1).astype(np.uint8))
    write(root / "grey.png", np.full((48, 64, 3), 127, np.uint8))
    write(root / "fog.png", cv2.GaussianBlur(scene(52, (640, 480)), None, 6))
    (root / "cut.png").write_bytes((root / "large.png").read_bytes()[:2000])
    (root / "zero.png").write_bytes(b"")
    (root / "page.jpg").write_bytes(b"<!DOCTYPE html>")
    result = checked(root)
    assert kinds(result) == {
        "large.png": "duplicate",  # copy.png comes first
        "small.jpg": "near_duplicate",
        "night.png": "dark",
        "grey.png": "flat",
        "fog.png": "blurred",
        "cut.png": "unreadable",
        "zero.png": "unreadable",
        "page.jpg": "unreadable",
    }
    kept = {item.name for item in result.manifest.items}
    assert kept == {f"{n:03d}.png" for n in range(6)} | {
        "copy.png",
        "small.jpg",
        "night.png",
        "grey.png",
        "fog.png",
    }
    texts = {finding.name: finding.text for finding in result.findings}
    assert texts["large.png"] == "a copy of copy.png"
    assert texts["small.jpg"].startswith("looks like copy.png")
    assert "empty (0 bytes)" in texts["zero.png"]
    assert str(root) not in texts["cut.png"]  # the report may be shown to others


def test_the_limit_is_filled_with_readable_pictures_and_does_not_depend_on_the_bad(tmp_path: Path) -> None:
    root = folder_of(tmp_path, 20)
    wanted = checked(root, limit=8).manifest
    assert len(wanted) == 8
    for n in range(30):
        (root / f"bad{n}.png").write_bytes(b"bad %d" % n)
    assert checked(root, limit=8).manifest == wanted
    assert len(checked(root, limit=100).manifest) == 20


def test_photographs_are_not_accused(shared_data: Path) -> None:
    result = check(gather(str(shared_data / "coco" / "instances_train2017.json")), limit=60)
    assert len(result.manifest) == 60
    assert result.findings == ()


def test_frames_of_a_still_video_are_near_copies(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "still.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(5):
        writer.write(scene(1))
    writer.release()
    result = check(gather(str(path), every=1))
    assert result.count("near_duplicate") == 4
    assert result.count("duplicate") == 0


def test_a_video_that_ends_early_lists_the_frames(tmp_path: Path) -> None:
    gathered = gather(str(video(tmp_path / "v.avi", 30)), every=10)
    first = gathered.manifest.items[0]
    manifest = Manifest.of(tmp_path, (*gathered.manifest.items, Item("v.avi", 99, first.sha256)))
    unreadable = [f for f in check(Gathered(manifest, (), "v")).findings if f.kind == "unreadable"]
    assert [finding.name for finding in unreadable] == ["v.avi#99"]
    assert unreadable[0].text == "the video ends after 30 frames"


def test_nothing_readable_and_nothing_to_see_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(EmptyManifestError, match=r"none of 1 pictures can be read\n  a\.png"):
        checked(tmp_path)
    for n in range(3):
        write(tmp_path / f"black{n}.png", np.full((10 + n, 10, 3), 0, np.uint8))
    with pytest.raises(CalibrationError, match="nothing to see in any of 3 pictures"):
        checked(tmp_path)
    with pytest.raises(CalibrationError, match="--limit: 1 or more"):
        checked(tmp_path, limit=0)


def test_progress_is_told(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(
        gather(str(folder_of(tmp_path, 4))), limit=3, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_too_few_is_said_and_far_too_few_refused() -> None:
    assert advice_on_count(64, "auto") is None
    assert "1 picture:" in str(advice_on_count(1, "minmax"))
    with pytest.raises(CalibrationError, match="--method auto holds some back"):
        advice_on_count(1, "auto")


def test_movement_by_hand() -> None:
    a, b = movement([(8, {"x": 1.0, "y": 2.0, "dead": 0.0}), (16, {"x": 1.5, "y": 2.0}), (32, {"x": 1.5})])
    assert (a.images_from, a.images_to, a.median, a.most) == (8, 16, 0.25, "x")
    assert a.p95 == pytest.approx(0.475)
    assert (b.median, b.p95) == (0.0, 0.0)
    assert movement([(8, {"x": 1.0})]) == ()
