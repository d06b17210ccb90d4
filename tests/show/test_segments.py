"""The ledger of a recording: which files are ours, and which are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.show.segments import Segments


def make(segments: Segments, stamp: str, size: int) -> Path:
    path = segments.begin(stamp)
    path.write_bytes(bytes(size))
    return path


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    room=st.integers(1, 200),
    restart=st.integers(0, 12),
)
def test_the_newest_stay_as_far_as_there_is_room(
    sizes: list[int], room: int, restart: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    segments, made = Segments(folder / "out.mp4", max_bytes=room), []
    for index, size in enumerate(sizes):
        if index == restart:
            segments = Segments(folder / "out.mp4", max_bytes=room)
        made.append(make(segments, f"{index:02d}", size))
        segments.keep_within()
    kept = [path.exists() for path in made]
    assert kept[-1]
    assert kept == sorted(kept)  # the oldest are gone, none from the middle
    total = sum(size for size, there in zip(sizes, kept, strict=True) if there)
    assert total <= max(room, sizes[-1])
    if not all(kept):
        last_gone = len(kept) - 1 - kept[::-1].index(False)
        assert sum(sizes[last_gone:]) > room  # no more than needed


def test_a_ledger_that_was_edited_leads_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    precious = [tmp_path / "out-1.mp4", folder / "notes.txt", folder / "out-folder.mp4"]
    for path in precious[:2]:
        path.write_bytes(bytes(1000))
    precious[2].mkdir()
    (folder / ".out.mp4.segments").write_text(
        "../out-1.mp4\nnotes.txt\nout-folder.mp4\n/etc/passwd\n\nout-gone.mp4\n\xff\n"
    )
    segments = Segments(folder / "out.mp4", max_bytes=10)
    make(segments, "a", 20)
    newest = make(segments, "b", 20)
    segments.keep_within()
    assert all(path.exists() for path in precious)
    assert sorted(path.name for path in folder.glob("out-?.mp4")) == [newest.name]
    assert (folder / ".out.mp4.segments").read_text() == "out-b.mp4\n"


def test_two_of_one_moment_have_two_names(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "out.mp4")
    assert [make(segments, "x", 1).name for _ in range(3)] == ["out-x.mp4", "out-x-2.mp4", "out-x-3.mp4"]
