"""A manifest is what sha256sum writes and checks, always in one order, with one fingerprint."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.calibrate.manifest import Item, Manifest, is_manifest, read_manifest
from edgeyolo.errors import CalibrationError

A, B = "aa" * 32, "bb" * 32


def item_of(folder: Path, name: str, content: bytes) -> Item:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Item(name, -1, hashlib.sha256(content).hexdigest())


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_checks_what_was_written_and_reads_alike(tmp_path: Path) -> None:
    names = ["a.png", "sub folder/ü 写.jpg", "back\\slash.png", "new\nline.png", "hash#1.png", "*.png"]
    manifest = Manifest.of(tmp_path, [item_of(tmp_path, name, name.encode()) for name in names])
    manifest.write(tmp_path / "manifest.txt")
    check = ["sha256sum", "--check", "--strict", "manifest.txt"]
    subprocess.run(check, cwd=tmp_path, check=True, capture_output=True)
    theirs = subprocess.run(["sha256sum", *names], cwd=tmp_path, check=True, capture_output=True).stdout
    (tmp_path / "theirs.txt").write_bytes(theirs)
    assert read_manifest(tmp_path / "theirs.txt") == manifest
    (tmp_path / "a.png").write_bytes(b"changed")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode != 0


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    manifest = Manifest.of(tmp_path, [Item(name, -1, A)])
    manifest.write(tmp_path / "m.txt")
    assert b"caf\xe9.png" in (tmp_path / "m.txt").read_bytes()
    assert read_manifest(tmp_path / "m.txt").items == manifest.items


def test_frames_are_numbers_not_text(tmp_path: Path) -> None:
    manifest = Manifest.of(tmp_path, [Item("v.mp4", frame, A) for frame in (100, 20, 3)])
    assert [item.name for item in manifest.items] == ["v.mp4#3", "v.mp4#20", "v.mp4#100"]
    manifest.write(tmp_path / "m.txt")
    assert read_manifest(tmp_path / "m.txt") == manifest


def test_the_fingerprint_depends_on_content_and_names_and_nothing_else(tmp_path: Path) -> None:
    items = [Item("a.png", -1, A), Item("b.png", -1, B)]
    one = Manifest.of(tmp_path, items)
    assert Manifest.of(Path("/elsewhere"), reversed(items)).fingerprint == one.fingerprint
    assert Manifest.of(tmp_path, [Item("a.png", -1, B), Item("b.png", -1, B)]).fingerprint != one.fingerprint
    assert one.fingerprint == hashlib.sha256(f"{A}  a.png\n{B}  b.png\n".encode()).hexdigest()


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_subsets_contain_each_other_and_are_not_the_first_files(count: int, small: int, large: int) -> None:
    items = [Item(f"{n:03d}.png", -1, hashlib.sha256(bytes([n])).hexdigest()) for n in range(count)]
    manifest = Manifest.of(Path(), items)
    small, large = sorted((small, large))
    assert set(manifest.subset(small).items) <= set(manifest.subset(large).items)
    assert len(manifest.subset(small)) == min(small, count)
    assert manifest.subset(small).items == tuple(sorted(manifest.subset(small).items))


def test_a_subset_is_spread_over_the_list() -> None:
    items = [Item("v.mp4", frame, A) for frame in range(0, 3000, 10)]
    chosen = [item.frame for item in Manifest.of(Path(), items).subset(30).items]
    thirds = [sum(low <= frame < low + 1000 for frame in chosen) for low in (0, 1000, 2000)]
    assert min(thirds) >= 4  # 30 random picks leave a third with fewer than 4 once in 600 times


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aa  a.png\n", ":1: 64 hexadecimal digits"),
        (f"# why\n{A}  a.png\n{A} a.png\n", ":3: 64 hexadecimal digits"),
        (f"{A}  /etc/passwd\n", "inside the folder"),
        (f"{A}  x/../../a.png\n", "inside the folder"),
    ],
)
def test_a_wrong_line_is_named_by_number(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.txt"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message):
        read_manifest(path)


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_manifest(tmp_path / "none.txt")


def test_a_list_of_paths_is_no_manifest() -> None:
    assert is_manifest(f"# comment\n{A}  a.png\n")
    assert not is_manifest("images/a.png\n")
    assert not is_manifest("")
