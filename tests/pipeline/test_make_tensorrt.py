"""The recipes of each board, with a small net in place of their model, on the TensorRT that the board has."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgeyolo.boards import board_named
from edgeyolo.build import tensorrt_builder
from edgeyolo.config import read_recipe
from edgeyolo.gpu import Gpu
from edgeyolo.pipeline.make import make
from edgeyolo.sidecar import read_sidecar
from tests.parts import PROJECT
from tests.sim.tensorrt import BOARDS
from tests.sim.tensorrt.fixtures import tensorrt
from tests.small_nets import BACKBONE, HEADS

__all__ = ["tensorrt"]

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim", "opencv")

MODELS = ("yolov3", "yolov3-tiny", "yolov4-tiny")
GENERATIONS = {
    "orin-nano": ("8.6", "10.3", "10.16"), "orin-nx": ("10.3",), "agx-orin": ("8.6", "10.16"),
    "thor": ("10.13", "10.16"), "xavier-nx": ("10.3",),
}  # fmt: skip
CASES = [(board, generation) for board, found in GENERATIONS.items() for generation in found]


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


def small(board: str, model: str, folder: Path) -> Path:
    """Write a board's recipe with another model and other pictures, and all else as it is."""
    text = (PROJECT / "engines" / board / f"{model}.toml").read_text()
    text, count = re.subn(r"(?s)\[model\]\n.*?\n\n", '[model]\ncfg = "net.cfg"\nrandom_weights = 1\n\n', text)
    text, images = re.subn(r'images = "[^"]*"', 'images = "pictures"', text)
    assert (count, images) == (1, 1)
    text = text.replace("[calibrate]\n", '[calibrate]\nmethod = "minmax"\n')
    path = folder / f"{board}-{model}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("board", "tensorrt"), CASES, indirect=["tensorrt"])
def test_a_boards_recipe_builds(
    board: str, tensorrt: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = board_named(board)
    gpu = Gpu(
        name=facts.title, sm=facts.sm, memory_mib=facts.memory_gib << 10, integrated=True, cuda=(12, 6),
        multiprocessors=8,
    )  # fmt: skip
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: (gpu, f"{gpu.name} answers"))
    if board in BOARDS:
        tensorrt.__simulation__.board = BOARDS[board]
    model = MODELS[CASES.index((board, tensorrt.__simulation__.generation)) % len(MODELS)]
    made = make(read_recipe(small(board, model, folder)))
    assert made.done == ("convert", "simplify", "calibrate", "build")
    if read_recipe(PROJECT / "engines" / board / f"{model}.toml").build.trtexec is not None:
        assert (made.engine.parent / "build.sh").is_file()
        return
    info = read_sidecar(made.engine)
    assert info.precision == "int8"
    assert info.machine["gpu"] == facts.title
    assert {"onnx", "scales", "recipe"} <= info.made_from.keys()
    assert any("int8" in kind for kind in info.extra["precision_by_layer"].values())


@pytest.mark.parametrize("board", GENERATIONS)
def test_a_boards_recipes_differ_in_their_model_alone(board: str) -> None:
    sections = [read_recipe(PROJECT / "engines" / board / f"{model}.toml") for model in MODELS]
    assert [recipe.model.fetch for recipe in sections] == list(MODELS)
    assert all(recipe.build == sections[0].build for recipe in sections)
    assert all(recipe.calibrate == sections[0].calibrate for recipe in sections)
