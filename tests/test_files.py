"""An output file appears whole or not at all."""

import hashlib
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeyolo.errors import ModelError, OutputError
from edgeyolo.files import sha256_of, whole_file, whole_folder, write_text


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(target) as temporary:
        temporary.write_text(f"new, but only ha{1 / 0}")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.onnx"
    with whole_file(target) as temporary:
        temporary.write_bytes(b"x")
        assert not target.exists()
        assert temporary.suffix == ".onnx"
    assert target.read_bytes() == b"x"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_text(tmp_path / "f" / "a.txt", "x")


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    # A file-size limit gives the same OSError as a full disk; in a child, as it is per process.
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from edgeyolo.files import write_bytes\n"
        "from edgeyolo.errors import OutputError\n"
        "try:\n    write_bytes(sys.argv[1], b'x' * 100_000)\n"
        "except OutputError as error:\n    print(error)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)  # the platform has the limit
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.bin")], capture_output=True, text=True, check=True
    )
    assert "cannot write" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_stage_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not ours"), whole_file(tmp_path / "a"):
        raise ModelError("not ours")
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a"):
        open("/no/such/input")  # noqa: SIM115


def test_sha256_is_hashlibs(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_a_folder_gets_all_its_files_at_the_end_and_keeps_others(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "a").write_text("old")
    (out / "mine").write_text("mine")
    with whole_folder(out) as temporary:
        (temporary / "a").write_text("new")
        (temporary / "b").write_text("new")
        assert contents(out) == {"a": "old", "mine": "mine"}
    assert contents(out) == {"a": "new", "b": "new", "mine": "mine"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def fill(out: Path, error: BaseException | None = None) -> None:
    with whole_folder(out) as temporary:
        for name in "abc":
            (temporary / name).write_text("new")
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), OSError(28, "full")])
def test_a_folder_is_as_it_was_after_an_error(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises((type(error), OutputError)):
        fill(tmp_path / "out", error)
    assert list(tmp_path.iterdir()) == []


def test_a_move_that_fails_undoes_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move = Path.replace

    def full(self: Path, target: Path) -> Path:
        if self.name == "c" and self.parent.name == "new":
            raise OSError(28, "No space left on device", str(self))
        return move(self, target)

    monkeypatch.setattr(Path, "replace", full)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(OutputError, match="No space left"):
        fill(tmp_path / "out")
    assert contents(tmp_path / "out") == {"a": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_new_folder_comes_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, moves = Path.rename, []

    def seen(self: Path, target: Path) -> Path:
        moves.append((sorted(path.name for path in self.iterdir()), target.exists()))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", seen)
    monkeypatch.setattr(Path, "replace", None)
    with whole_folder(tmp_path / "out") as folder:
        for name in ("a", "b"):
            (folder / name).touch()
    assert moves == [(["a", "b"], False)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]


def test_an_error_names_the_file_and_not_its_temporary_place(tmp_path: Path) -> None:
    def fill_wrongly() -> None:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "a").touch()
            write_text(folder / "a" / "b", "")

    with pytest.raises(OutputError, match=f"^cannot write {tmp_path}/out/a/b: "):
        fill_wrongly()


def test_a_folder_cannot_be_made_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="a file found"), whole_folder(tmp_path / "f"):
        pass
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "g"):
        open("/no/such/input")  # noqa: SIM115
    assert not (tmp_path / "g").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_place_where_nothing_can_be_made_is_an_output_error() -> None:
    place = Path("/proc/out")  # root may write anywhere else
    for opened in (whole_file, whole_folder):
        with pytest.raises(OutputError, match="cannot write /proc/out"), opened(place):
            pass
