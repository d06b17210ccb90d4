"""Recipes: one TOML file that says how a model becomes an engine on a board, from its weights on.

Owns the sections and what goes together in them; the strict reading is `edgeyolo.sections`. Refuses to carry
a recipe out (`edgeyolo.pipeline.make`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeyolo.boards import board_named, require_dla, require_precision
from edgeyolo.errors import ConfigError
from edgeyolo.files import sha256_of
from edgeyolo.sections import read_toml, refuse_unknown, section
from edgeyolo.spec import Precision

__all__ = [
    "BuildSection",
    "CalibrateSection",
    "GraphSection",
    "ModelSection",
    "Recipe",
    "RunSection",
    "read_recipe",
]


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """``[model]``: where it comes from.

    Args:
        cfg: A Darknet cfg file, or the name of a built-in architecture.
        weights: Its weights file.
        fetch: A name of ``edgeyolo fetch --list``, in place of `weights`.
        random_weights: Seed of made-up weights, in place of `weights`.
        onnx: An ONNX file, in place of all of these; one of another origin is adapted.
        family: Its layout where its structure misleads, as ``edgeyolo adapt --family``.
        anchors: Its anchors, as ``--anchors``.
        preprocess: What its pictures need, as ``--preprocess``.
        strip_nms: Cut the suppression that it does itself.
        names: File of class names.
        size: Network input, ``"416"`` or ``"640x384"``.
        batch: Pictures at once; 0 leaves it open.
        outputs: ``decoded`` or ``raw``.
    """

    cfg: str | None = None
    weights: str | None = None
    fetch: str | None = None
    random_weights: int | None = None
    onnx: str | None = None
    family: str | None = None
    anchors: str | None = None
    preprocess: str | None = None
    strip_nms: bool = False
    names: str | None = None
    size: str | None = None
    batch: int = 1
    outputs: Literal["decoded", "raw"] = "decoded"

    def __post_init__(self) -> None:
        given = [n for n in ("weights", "fetch", "random_weights", "onnx") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ConfigError(
                "[model]: one of weights, fetch, random_weights and onnx expected, "
                f"{' and '.join(given) or 'none'} found"
            )
        if (self.cfg is None) != (self.onnx is not None) and self.fetch is None:
            raise ConfigError("[model]: cfg goes with weights, and not with onnx")
        for key in ("family", "anchors", "preprocess", "strip_nms"):
            if getattr(self, key) and self.onnx is None:
                raise ConfigError(f"[model] {key}: it goes with onnx, a model of another origin")
        if self.size is not None and not all(part.isdecimal() for part in self.size.split("x")):
            raise ConfigError(f'[model] size: "N" or "WxH" expected, {self.size!r} found')

    @property
    def input_wh(self) -> tuple[int, int] | None:
        """Width and height of the network input; None is the cfg's."""
        if self.size is None:
            return None
        numbers = [int(part) for part in self.size.split("x")]
        return numbers[0], numbers[-1]


@dataclass(frozen=True, kw_only=True)
class GraphSection:
    """``[graph]``: what is done to it."""

    simplify: bool = True


@dataclass(frozen=True, kw_only=True)
class CalibrateSection:
    """``[calibrate]``: with which pictures, how.

    Args:
        images: What ``edgeyolo calibrate`` takes: a folder, a list, a manifest, a video.
        method: ``auto``, ``entropy``, ``mse``, ``percentile`` or ``minmax``.
        limit: Most pictures.
    """

    images: str
    method: Literal["auto", "entropy", "mse", "percentile", "minmax"] = "auto"
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class BuildSection:
    """``[build]``: for which board and backend.

    Args:
        board: The board the recipe is for; what it cannot do is refused when the recipe is read.
        backend: ``auto``, ``tensorrt`` or ``onnxruntime``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        implicit: Scales as a calibration cache (TensorRT up to 10, DLA).
        batches: ``"MIN,OPT,MAX"`` for an open batch.
        workspace_mib: Most memory a tactic may use.
        optimization_level: 0 to 5.
        dla: DLA core.
        gpu_fallback: What it cannot run goes to the GPU.
        sparse: 2:4 sparse kernels.
        version_compatible: The plan loads in later versions of TensorRT, too.
        nms: ``host``, or ``graph``: the engine suppresses boxes itself.
        nms_iou: Overlap of two boxes of one object, with ``nms = "graph"``.
        nms_conf: Least score that takes part, with ``nms = "graph"``.
        trtexec: Write a folder for trtexec of this version in place of an engine.
    """

    board: str | None = None
    backend: Literal["auto", "tensorrt", "onnxruntime"] = "auto"
    precision: Precision = "fp32"
    implicit: bool = False
    batches: str | None = None
    workspace_mib: int | None = None
    optimization_level: int | None = None
    dla: int | None = None
    gpu_fallback: bool = False
    sparse: bool = False
    version_compatible: bool = False
    nms: Literal["host", "graph"] = "host"
    nms_iou: float | None = None
    nms_conf: float | None = None
    trtexec: str | None = None

    def __post_init__(self) -> None:
        if self.board is None:
            return
        board = board_named(self.board)
        require_precision(board.sm, self.precision, where=board.title)
        if self.dla is not None:
            require_dla(board.dla_cores, self.dla, precision=self.precision, where=board.title)


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """``[run]``: what ``edgeyolo make`` proposes as the next command."""

    source: str = "test://"
    conf: float = 0.25
    iou: float = 0.45


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe and where it came from.

    Args:
        path: The file; relative names in it are relative to its folder.
        sha256: Of the file.
        model: ``[model]``.
        graph: ``[graph]``.
        calibrate: ``[calibrate]``; None where there is none.
        build: ``[build]``.
        run: ``[run]``.
    """

    path: Path
    sha256: str
    model: ModelSection
    graph: GraphSection = field(default_factory=GraphSection)
    calibrate: CalibrateSection | None = None
    build: BuildSection = field(default_factory=BuildSection)
    run: RunSection = field(default_factory=RunSection)

    @property
    def folder(self) -> Path:
        """Where the results go: a folder beside the recipe with its name."""
        return self.path.with_suffix("")

    def resolved(self, name: str) -> Path:
        """Give the path of a file that the recipe names."""
        return self.path.parent / name


_SECTIONS: dict[str, type] = {
    "model": ModelSection,
    "graph": GraphSection,
    "calibrate": CalibrateSection,
    "build": BuildSection,
    "run": RunSection,
}


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: It is absent or no TOML, a key is unknown, or a value is wrong; the message says which.
        PrecisionError: Its board cannot deliver its precision.
        MissingDependencyError: Python 3.10 without the package tomli.
    """
    path = Path(path)
    data = read_toml(path, why="to read a recipe", hint="ls engines/*/*.toml")
    refuse_unknown(data, _SECTIONS, where=f"{path}: section")
    if "model" not in data:
        raise ConfigError(
            f"{path}: a section [model] expected, none found", hint="engines/README.md shows one"
        )
    try:
        sections: dict[str, Any] = {
            name: section(_SECTIONS[name], f"[{name}]", value) for name, value in data.items()
        }
        recipe = Recipe(path=path, sha256=sha256_of(path), **sections)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.message}", hint=exc.hint) from exc
    if recipe.build.precision == "int8" and recipe.calibrate is None and recipe.model.onnx is None:
        raise ConfigError(f"{path}: precision int8 needs a section [calibrate] with images")
    return recipe
