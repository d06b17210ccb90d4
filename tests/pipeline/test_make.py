"""``edgeyolo make``: every stage once, nothing twice, on after an interruption."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.config import read_recipe
from edgeyolo.errors import ConfigError
from edgeyolo.files import sha256_of
from edgeyolo.pipeline import make as stages
from edgeyolo.pipeline.make import Made, make
from edgeyolo.sidecar import read_sidecar
from tests.command import COMMAND, edgeyolo
from tests.small_nets import BACKBONE, HEADS

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim", "opencv")

RECIPE = """[model]
cfg = "net.cfg"
random_weights = 1
{model}
[calibrate]
images = "pictures"
method = "minmax"
[build]
backend = "onnxruntime"
precision = "{precision}"
{build}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import cv2

    filters, section = HEADS["yolo"]
    (tmp_path / "net.cfg").write_text(BACKBONE.format(filters=filters, activation="leaky") + section)
    (tmp_path / "pictures").mkdir()
    for index in range(4):
        picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), picture)
    return tmp_path


def run(folder: Path, *, precision: str = "int8", model: str = "", build: str = "", **options: Any) -> Made:
    (folder / "r.toml").write_text(RECIPE.format(precision=precision, model=model, build=build))
    return make(read_recipe(folder / "r.toml"), **options)


ALL = ("convert", "simplify", "calibrate", "build")


def test_all_stages_once(folder: Path) -> None:
    said: list[str] = []
    made = run(folder, report=said.append)
    assert (made.done, made.skipped) == (ALL, ())
    assert made.command.startswith(f"edgeyolo run {made.engine} test://")
    info = read_sidecar(made.engine)
    assert info.precision == "int8"
    assert info.made_from["recipe"] == sha256_of(folder / "r.toml")
    assert info.command == f"edgeyolo make {folder / 'r.toml'}"
    before = made.engine.stat().st_mtime_ns
    again = run(folder)
    assert (again.done, again.skipped) == ((), ALL)
    assert made.engine.stat().st_mtime_ns == before
    assert run(folder, force=True).done == ALL


def test_only_what_depends_on_a_change_is_made_again(folder: Path) -> None:
    run(folder)
    assert run(folder, precision="fp32").done == ("build",)
    assert run(folder).done == ("build",)
    (folder / "pictures/0.png").unlink()
    # Scales of other pictures are other scales.
    assert run(folder).done == ("calibrate", "build")
    assert run(folder, model='size = "96"').done == ALL


def test_what_was_changed_by_hand_or_removed_is_made_again(folder: Path) -> None:
    made = run(folder, precision="fp32")
    assert made.done == ("convert", "simplify", "build")
    made.engine.write_bytes(b"something else")
    assert run(folder, precision="fp32").done == ("build",)
    (folder / "r/model.simple.onnx").unlink()
    assert run(folder, precision="fp32").done == ("simplify",)
    (folder / "r/make.json").write_text("{")
    assert run(folder, precision="fp32").done == ("convert", "simplify", "build")


def test_on_after_an_interruption(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "calibrate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    assert json.loads((folder / "r/make.json").read_text()).keys() == {"convert", "simplify"}
    made = run(folder)
    assert (made.done, made.skipped) == (("calibrate", "build"), ("convert", "simplify"))


@pytest.mark.parametrize("stage", ALL)
def test_on_after_kill_9(folder: Path, stage: str) -> None:
    """Killed as soon as it says that it begins a stage, then run again: whole, and no leftovers."""
    (folder / "r.toml").write_text(RECIPE.format(precision="int8", model="", build=""))
    words = [*COMMAND, "make", str(folder / "r.toml")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"{stage}: "):
                process.kill()
                break
    assert process.wait(60) == -signal.SIGKILL
    (folder / "r" / ".model.half.onnx").write_bytes(b"what a kill in the middle of writing leaves")
    made = make(read_recipe(folder / "r.toml"))
    first = ALL.index(stage)
    assert (made.skipped, made.done) in [
        (ALL[:first], ALL[first:]),
        (ALL[: first + 1], ALL[first + 1 :]),  # it was faster than the signal
    ]
    assert [path.name for path in (folder / "r").glob(".*")] == [".make.lock"]
    assert read_sidecar(made.engine).precision == "int8"


def test_two_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*_: Any, **__: Any) -> None:
        with pytest.raises(ConfigError, match="another edgeyolo make is at work here"):
            run(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "simplify", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        run(folder)


def test_a_folder_for_trtexec(folder: Path) -> None:
    made = run(folder, build='trtexec = "8.5"\nimplicit = true')
    assert made.done == ALL
    board = folder / "r/board"
    assert {"model.onnx", "build.sh", "calibration.cache"} <= {path.name for path in board.iterdir()}
    assert (board / "calibration.cache").read_text().startswith("TRT-8502-")
    assert "run build.sh there" in made.command
    assert run(folder, build='trtexec = "8.5"\nimplicit = true').skipped == ALL
    (board / "calibration.cache").unlink()
    assert run(folder, build='trtexec = "8.5"\nimplicit = true').done == ("build",)


def test_a_file_that_a_recipe_names_and_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.names: no such file"):
        run(folder, model='names = "absent.names"')


def test_the_command(folder: Path) -> None:
    (folder / "r.toml").write_text(RECIPE.format(precision="fp32", model="", build=""))
    done = edgeyolo("make", folder / "r.toml")
    assert done.returncode == 0, done.stderr
    assert "made convert, simplify, build" in done.stdout
    wrong = edgeyolo("make", folder / "absent.toml")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
