"""Sources by URI: what is opened, in which order, and what is said where nothing can be."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.camera import open_source
from edgeyolo.errors import SourceError, SourceOpenError

cv2 = pytest.importorskip("cv2")


def _write_images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image = np.full((8, 10, 3), number, np.uint8)
        good, data = cv2.imencode(Path(name).suffix.lower(), image)
        assert good
        (folder / name).write_bytes(data)


def write_video(path: Path, count: int, *, fps: float = 10.0, wh: tuple[int, int] = (64, 48)) -> Path:
    """Write a video whose frame k is grey, brighter with k."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, wh)
    for index in range(count):
        writer.write(np.full((wh[1], wh[0], 3), 10 + 4 * index, np.uint8))
    writer.release()
    return path


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    _write_images(tmp_path, "img10.png", "img9.PNG", "IMG1.bmp", "a.webp", "b.TIFF", "c.Jpeg")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "deep").mkdir()
    _write_images(tmp_path / "deep", "z.png")
    source = open_source(str(tmp_path))
    assert source.frame_count == 6
    assert source.fps is None
    assert not source.live
    frames = list(source)
    names = [Path(frame.path or "").name for frame in frames]
    assert names == ["a.webp", "b.TIFF", "c.Jpeg", "IMG1.bmp", "img9.PNG", "img10.png"]
    assert [frame.index for frame in frames] == list(range(6))
    assert {frame.source for frame in frames} == {str(tmp_path)}
    assert len(list(source)) == 6  # a second iteration reads them again


def test_a_glob(tmp_path: Path) -> None:
    _write_images(tmp_path, "x2.png", "x11.png", "y1.png")
    frames = list(open_source(str(tmp_path / "x*.png")))
    assert [Path(frame.path or "").name for frame in frames] == ["x2.png", "x11.png"]


def test_a_file_whose_name_looks_like_a_glob_or_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_images(tmp_path, "a[1].png")
    assert len(list(open_source(str(tmp_path / "a[1].png")))) == 1
    _write_images(tmp_path / "0", "a.png")
    monkeypatch.chdir(tmp_path)
    assert len(list(open_source("0"))) == 1


def test_file_uri(tmp_path: Path) -> None:
    _write_images(tmp_path, "a.png")
    assert len(list(open_source(f"file://{tmp_path}/a.png"))) == 1


def test_unreadable_images_are_said_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write_images(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with caplog.at_level(logging.WARNING):
        frames = list(open_source(str(tmp_path)))
    assert [frame.index for frame in frames] == [0, 1]
    assert "b.png" in caplog.text
    assert "1 of 3 images were skipped" in caplog.text


def test_one_unreadable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(SourceError, match="empty"):
        list(open_source(str(tmp_path / "b.png")))
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="none of its 2 images"):
        list(open_source(str(tmp_path)))


def test_a_video_gives_every_frame_with_its_time(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.avi", 20)))
    assert source.fps == pytest.approx(10)
    assert source.frame_count == 20
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 10, atol=1e-3)
    np.testing.assert_allclose([frame.image_bgr.mean() for frame in frames], 10 + 4 * np.arange(20), atol=2)
    assert [frame.index for frame in source] == list(range(20))  # a second iteration decodes it again
    source.close()
    source.close()


def test_a_video_left_early_begins_again(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.avi", 5)))
    frames = iter(source)
    next(frames)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert next(iter(source)).index == 0


def test_a_cut_video_says_where_it_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "v.avi", 60, wh=(320, 240))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(open_source(str(path)))
    assert 0 < len(frames) < 60
    assert f"ended after {len(frames)} of about 60 frames" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("v.mp4", b"", "empty file"),
        ("v.mp4", b"\0" * 5000, "cannot open it as a video"),
        ("v_0001.mp4", b"not a video at all", "cannot open it as a video"),
        ("v.mkv", b"<!DOCTYPE html><html>", "text page"),
        ("v", b"\x1a\x45\xdf\xa3", "cannot open it as a video"),
    ],
)
def test_what_is_no_video(name: str, content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceOpenError, match=text) as raised:
        open_source(str(tmp_path / name))
    assert name in raised.value.message


def test_a_video_cut_before_its_index(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SourceOpenError, match="damaged, cut"):
        open_source(str(path))


def test_a_wrong_path_proposes_the_near_name(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "car-detection.mp4").write_bytes(b"x")
    for wrong, near in (
        (tmp_path / "videos" / "car_detection.mp4", tmp_path / "videos" / "car-detection.mp4"),
        (tmp_path / "video" / "car-detection.mp4", tmp_path / "videos"),
    ):
        with pytest.raises(SourceOpenError, match="no such file") as raised:
            open_source(str(wrong))
        assert raised.value.hint == f"did you mean {near}"


@pytest.mark.parametrize("uri", ["", "ftp://user:secret@host/v.mp4", "webrtc://host"])
def test_kinds_that_are_not_here(uri: str) -> None:
    with pytest.raises(SourceOpenError, match="an image, a folder or a glob of images") as raised:
        open_source(uri)
    assert "secret" not in raised.value.message + str(raised.value.hint)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("0", "0"),
        ("12?fps=30", "12"),
        ("v4l2:///dev/video1", "v4l2:///dev/video1"),
        ("rtsp://user:secret@camera/1", "rtsp://camera/1"),
        ("http://host/x.m3u8?width=640", "http://host/x.m3u8"),
    ],
)
def test_a_camera_is_opened_when_it_is_read(uri: str, name: str) -> None:
    source = open_source(uri)
    assert (source.name, source.live, source.frame_count) == (name, True, None)
    source.close()


def test_a_file_whose_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("0.png", np.zeros((4, 4, 3), np.uint8))
    Path("0.png").rename("0")
    assert not open_source("0").live


def test_folders_and_globs_without_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceOpenError, match=r"files of the kinds \.txt found"):
        open_source(str(tmp_path))
    with pytest.raises(SourceOpenError, match="1 other file"):
        open_source(str(tmp_path / "*.txt"))
    with pytest.raises(SourceOpenError, match="no file matches"):
        open_source(str(tmp_path / "*.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceOpenError, match="no files found"):
        open_source(str(tmp_path / "empty"))


def test_a_real_video(shared_data: Path) -> None:
    source = open_source(str(shared_data / "video" / "car-detection.mp4"))
    times = [frame.time_s for frame in source]
    assert len(times) == source.frame_count == 377
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(376 / 12.5, abs=0.1)
