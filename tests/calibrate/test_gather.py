"""Every way to say "my pictures" leads to the same manifest."""

import json
import os
from pathlib import Path

import pytest

from edgeyolo.calibrate.gather import gather
from edgeyolo.errors import CalibrationError, EmptyManifestError, SourceError
from tests.calibrate.pictures import folder_of, scene, video, write

pytestmark = pytest.mark.needs("opencv")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five pictures in two levels, in capitals too, among files that are no pictures."""
    root = folder_of(tmp_path / "images", 3)
    write(root / "deep" / "er" / "D.PNG", scene(3))
    write(root / "deep" / "e.JPEG", scene(4))
    (root / "notes.txt").write_text("hello")
    (root / "._000.png").write_bytes(b"macOS")
    write(root / ".hidden" / "x.png", scene(9))
    return root


NAMES = ["000.png", "001.png", "002.png", "deep/e.JPEG", "deep/er/D.PNG"]


def names(source: object, every: int | None = None) -> list[str]:
    return [item.name for item in gather(str(source), every=every).manifest.items]


def test_folder_glob_list_and_coco_give_one_manifest(images: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("\ufeff# mine\n" + "\r\n".join(f"images/{name}" for name in reversed(NAMES)) + "\r\n")
    absolute = tmp_path / "absolute.txt"
    absolute.write_text("\n".join(str(images / name) for name in NAMES))
    coco = tmp_path / "annotations" / "instances_images.json"
    coco.parent.mkdir()
    coco.write_text(json.dumps({"images": [{"file_name": name, "id": 1} for name in NAMES]}))
    wanted = gather(str(images)).manifest
    assert [item.name for item in wanted.items] == NAMES
    for source in (f"{images}/**/*", listed, absolute, coco):
        found = gather(str(source)).manifest
        assert (found.items, found.fingerprint) == (wanted.items, wanted.fingerprint)
        assert found.root.resolve() == images.resolve()


@pytest.mark.parametrize("place", ["images", "train2017", "images/train2017", "."])
def test_coco_pictures_are_found_where_datasets_keep_them(tmp_path: Path, place: str) -> None:
    folder_of(tmp_path / place, 2)
    path = tmp_path / "instances_train2017.json"
    path.write_text(json.dumps({"images": [{"file_name": "000.png"}, {"file_name": "gone.png"}]}))
    gathered = gather(str(path))
    assert [item.name for item in gathered.manifest.items] == ["000.png"]
    assert [(finding.kind, finding.name) for finding in gathered.findings] == [("missing", "gone.png")]


def test_a_list_from_the_working_folder_as_darknet_writes_them(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("images/000.png\nimages/gone.png\n")
    gathered = gather("lists/train.txt")
    assert gathered.manifest.root == images
    assert [item.name for item in gathered.manifest.items] == ["000.png"]
    assert [finding.kind for finding in gathered.findings] == ["missing"]


def test_a_manifest_is_taken_again_and_a_changed_file_refused(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = gather(str(images)).manifest
    manifest.write(images / "manifest.txt")
    assert gather(str(images / "manifest.txt")).manifest.items == manifest.items
    manifest.write(tmp_path / "manifest.txt")
    monkeypatch.chdir(images)  # the way of `sha256sum -c`
    assert gather(str(tmp_path / "manifest.txt")).manifest.fingerprint == manifest.fingerprint
    write(images / "001.png", scene(77))
    with pytest.raises(CalibrationError, match=r"001\.png: sha256 .* expected .* has changed"):
        gather(str(images / "manifest.txt"))


def test_a_video_gives_every_nth_frame(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", frames=25, fps=10)
    assert names(path) == ["v.avi#0", "v.avi#10", "v.avi#20"]
    assert names(path, every=8) == ["v.avi#0", "v.avi#8", "v.avi#16", "v.avi#24"]
    manifest = gather(str(path), every=8).manifest
    manifest.write(tmp_path / "m.txt")
    assert gather(str(tmp_path / "m.txt")).manifest.fingerprint == manifest.fingerprint


def test_one_picture_is_a_source(images: Path) -> None:
    assert names(images / "000.png") == ["000.png"]


def test_a_folder_that_links_to_itself_ends(images: Path) -> None:
    (images / "deep" / "loop").symlink_to(images)
    assert names(images) == NAMES


def test_nothing_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "empty/*.png", "empty/**/*.jpg"):
        with pytest.raises(EmptyManifestError, match="no readable picture"):
            gather(str(tmp_path / source))
    with pytest.raises(CalibrationError, match="nothing of that name"):
        gather(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "a COCO file"),
        ("a.json", b"[]", "a COCO file"),
        ("a.json", b'{"images": [{"id": 1}]}', "a COCO file"),
        ("a.json", b'{"images": [{"file_name": "gone.jpg"}]}', "in none of"),
        ("a.json", b'{"images": []}', "no readable picture"),
        ("a.bin", b"\x7fELF\0\0", "a binary file"),
        ("a.txt", b"gone.png\n" * 999 + b"a\0.png\n", "a binary file"),
        ("a.txt", b"", "no readable picture"),
        ("a.txt", b"gone.png\n", "gone.png: no such file"),
    ],
)
def test_a_source_that_is_none_is_said(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=message):
        gather(str(tmp_path / name))


def test_a_name_that_no_file_can_have_is_a_finding(images: Path) -> None:
    path = images / "coco.json"
    path.write_text(json.dumps({"images": [{"file_name": "000.png"}, {"file_name": "a\0.png"}]}))
    found = gather(str(path))
    assert [item.name for item in found.manifest.items] == ["000.png"]
    assert [finding.kind for finding in found.findings] == ["unreadable"]


def test_what_is_missing_does_not_move_the_root_of_the_others(images: Path, tmp_path: Path) -> None:
    there = sorted(images.glob("*.png"))[:2]
    (tmp_path / "list.txt").write_text("\n".join(map(str, [*there, "/no/such.png"])))
    found = gather(str(tmp_path / "list.txt"))
    assert [item.path for item in found.manifest.items] == [path.name for path in there]
    assert [(finding.kind, finding.name) for finding in found.findings] == [("missing", "/no/such.png")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_a_finding_and_nobody_waits_for_its_writer(images: Path) -> None:
    os.mkfifo(images / "pipe.png")
    found = gather(str(images))
    assert [finding.name for finding in found.findings] == ["pipe.png"]
    assert found.manifest.items
    with pytest.raises(CalibrationError, match=r"pipe.png: .* expected, a pipe or a device found"):
        gather(str(images / "pipe.png"))


def test_a_video_that_is_none_and_a_step_of_zero(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match="cannot open it as a video"):
        gather(str(tmp_path / "v.mp4"))
    with pytest.raises(CalibrationError, match="--every: 1 or more"):
        gather(str(tmp_path / "v.mp4"), every=0)
