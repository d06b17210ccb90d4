"""Recipes: one TOML file that says how a model becomes an engine on a board, from its weights on.

Owns the sections, their reading, and the refusal of what they do not know: a key that is misspelt is an error
that names the near one. Refuses to carry a recipe out (`edgeyolo.pipeline.make`).
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeyolo.boards import board_named, require_dla, require_precision
from edgeyolo.errors import ConfigError
from edgeyolo.files import sha256_of
from edgeyolo.optional import require
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

Section = TypeVar("Section")


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
    data = _toml(path)
    _known(data, _SECTIONS, where=f"{path}: section")
    if "model" not in data:
        raise ConfigError(
            f"{path}: a section [model] expected, none found", hint="engines/README.md shows one"
        )
    try:
        sections: dict[str, Any] = {
            name: _section(_SECTIONS[name], name, value) for name, value in data.items()
        }
        recipe = Recipe(path=path, sha256=sha256_of(path), **sections)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.message}", hint=exc.hint) from exc
    if recipe.build.precision == "int8" and recipe.calibrate is None and recipe.model.onnx is None:
        raise ConfigError(f"{path}: precision int8 needs a section [calibrate] with images")
    return recipe


def _toml(path: Path) -> dict[str, Any]:
    try:
        toml = require("tomllib", why="to read a recipe")
    except ImportError:  # Python 3.10
        toml = require("tomli", why="to read a recipe")
    try:
        data: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be read: {exc.strerror or exc}", hint="ls engines/*/*.toml"
        ) from exc
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path}: TOML expected: {exc}") from exc
    return data


def _section(kind: type[Section], name: str, value: Any) -> Section:
    if not isinstance(value, dict):
        raise ConfigError(f"[{name}]: a section expected, {value!r} found")
    hints = get_type_hints(kind)
    _known(value, hints, where=f"[{name}] key")
    for key, item in value.items():
        _check_type(f"[{name}] {key}", item, hints[key])
    required = {
        f.name for f in dataclasses.fields(kind)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }  # fmt: skip
    if missing := sorted(required - value.keys()):
        raise ConfigError(f"[{name}]: key {missing[0]!r} expected, none found")
    return kind(**value)


def _known(found: dict[str, Any], known: dict[str, Any], *, where: str) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"{where} {key!r} is not known" + (f"; {near[0]!r} is" if near else ""),
                hint=f"one of {', '.join(known)}",
            )


def _check_type(where: str, value: Any, hint: Any) -> None:
    """Check a TOML value against a field's type: plain types, literals, and either of them or nothing."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for choice in choices:
        if get_origin(choice) is Literal:
            if value in get_args(choice):
                return
        elif type(value) is choice or (choice is float and type(value) is int):
            return
    words = []
    for choice in choices:
        if get_origin(choice) is Literal:
            words += [repr(item) for item in get_args(choice)]
        elif choice is not type(None):
            words.append({"str": "text", "int": "a whole number", "bool": "true or false"}.get(
                choice.__name__, "a number"
            ))  # fmt: skip
    raise ConfigError(f"{where}: {' or '.join(words)} expected, {value!r} found")
