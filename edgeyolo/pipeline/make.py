"""What ``edgeyolo make`` does: all stages of a recipe; skips what is current, resumes what was interrupted.

Owns the order of the stages and the record of what each was made from (``make.json`` beside the results,
written after every stage). A stage is current when its options and the hashes of its inputs are those of the
record and its outputs are the files that it wrote then.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgeyolo
from edgeyolo.build import Batches, TensorRTOptions, choose_backend
from edgeyolo.config import Recipe
from edgeyolo.darknet.convert import ConvertOptions, convert
from edgeyolo.errors import ConfigError
from edgeyolo.fetch.catalogue import known_model
from edgeyolo.fetch.download import default_cache, fetch
from edgeyolo.files import sha256_of, write_text
from edgeyolo.graph.simplify import simplify
from edgeyolo.graph.suppress import nms_from_options
from edgeyolo.pipeline.adapt import adapt, is_contract_form, options_from_text, reasoning
from edgeyolo.pipeline.build import BuildConfig, build_engine
from edgeyolo.pipeline.calibrate import calibrate
from edgeyolo.pipeline.calibration import CalibrateConfig
from edgeyolo.pipeline.make_folder import own_folder
from edgeyolo.pipeline.trtexec import folder_files, write_trtexec_folder

__all__ = ["Made", "make"]

_RECORD = "make.json"
_Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What came of a recipe.

    Args:
        engine: The engine file.
        done: Stages that were carried out.
        skipped: Stages that were current.
        command: The next command, from ``[run]``.
    """

    engine: Path
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    command: str


def make(recipe: Recipe, *, report: _Say | None = None, force: bool = False) -> Made:
    """Carry out a recipe.

    Args:
        recipe: What to do; the results go to its folder.
        report: Is told what each stage does or why it is skipped.
        force: Carry out every stage.

    Raises:
        ConfigError: Another run is at work in its folder.
        EdgeYoloError: As the stage that failed; what the stages before it made is kept.
    """
    with own_folder(recipe.folder):
        run = _Run(recipe, report or (lambda _: None), force)
        model = run.model()
        if recipe.graph.simplify:
            model = run.simplified(model)
        calibration = run.calibrated(model) if _needs_scales(recipe) else None
        engine = run.built(model, calibration)
    return Made(engine, tuple(run.done), tuple(run.skipped), _next(recipe, engine))


def _next(recipe: Recipe, engine: Path) -> str:
    if recipe.build.trtexec is not None:
        return f"copy {engine.parent} to the board and run build.sh there"
    words = ["edgeyolo", "run", str(engine), recipe.run.source]
    words += ["--conf", str(recipe.run.conf), "--iou", str(recipe.run.iou)]
    return shlex.join(words)


def _needs_scales(recipe: Recipe) -> bool:
    return recipe.build.precision == "int8" and recipe.calibrate is not None


class _Run:
    """The stages of one recipe."""

    def __init__(self, recipe: Recipe, say: _Say, force: bool) -> None:
        self._recipe, self._say, self._force = recipe, say, force
        self._folder = recipe.folder
        self._record = self._read_record()
        self.done: list[str] = []
        self.skipped: list[str] = []

    def model(self) -> Path:
        """Give the ONNX file: the recipe's own, or converted from Darknet's."""
        section = self._recipe.model
        if section.onnx is not None:
            return self._adapted(self._recipe.resolved(section.onnx))
        cfg, weights = self._darknet()
        names = None if section.names is None else self._recipe.resolved(section.names)
        options = ConvertOptions(
            input_wh=section.input_wh,
            batch=section.batch or None,
            outputs=section.outputs,
            names=names,
            random_seed=section.random_weights,
        )
        output = self._folder / "model.onnx"
        inputs = {"cfg": cfg, "weights": weights, "names": names}
        self._stage(
            "convert",
            _jsonable(dataclasses.asdict(options)),
            inputs,
            (output,),
            lambda: convert(cfg, weights, output, options, report=self._say),
        )
        return output

    def _adapted(self, source: Path) -> Path:
        """Give the model itself where it keeps the graph contract, else what is made of it."""
        section = self._recipe.model
        names = None if section.names is None else self._recipe.resolved(section.names)
        options = options_from_text(
            family=section.family,
            anchors=section.anchors,
            names=names,
            preprocess=section.preprocess,
            size=section.size,
            strip_nms=section.strip_nms,
        )
        if not source.is_file():
            raise ConfigError(f"{source}: no such file", hint="names in a recipe are relative to its folder")
        if is_contract_form(source, options):
            return source
        output = self._folder / "model.onnx"

        def work() -> None:
            for line in reasoning(source, adapt(source, output, options)):
                self._say(line)

        inputs = {"onnx": source, "names": names}
        self._stage("adapt", _jsonable(dataclasses.asdict(options)), inputs, (output,), work)
        return output

    def _darknet(self) -> tuple[Path | str, Path | None]:
        section = self._recipe.model
        cfg: Path | str = section.cfg or ""
        if section.cfg is not None and self._recipe.resolved(section.cfg).is_file():
            cfg = self._recipe.resolved(section.cfg)
        if section.fetch is None:
            return cfg, None if section.weights is None else self._recipe.resolved(section.weights)
        self._say(f"fetch {section.fetch}")
        paths = fetch(known_model(section.fetch), default_cache())
        by_suffix = {path.suffix: path for path in paths}
        if ".weights" not in by_suffix or not (cfg or ".cfg" in by_suffix):
            raise ConfigError(f"[model] fetch: {section.fetch!r} has no weights, or no cfg and none is given")
        return cfg or by_suffix[".cfg"], by_suffix[".weights"]

    def simplified(self, model: Path) -> Path:
        """Give the simplified model."""
        output = self._folder / "model.simple.onnx"
        self._stage("simplify", {}, {"onnx": model}, (output,), lambda: simplify(model, output))
        return output

    def calibrated(self, model: Path) -> Path:
        """Give the folder with the model's scales."""
        section, folder = self._recipe.calibrate, self._folder / "calibration"
        assert section is not None
        beside = self._recipe.resolved(section.images)
        images = str(beside) if beside.exists() else section.images
        config = CalibrateConfig(
            model=model,
            images=images,
            output=folder,
            method=section.method,
            limit=section.limit,
            progress=True,
        )
        options = {"method": section.method, "limit": section.limit, "images": _listing(beside)}
        outputs = (folder / "scales.json", folder / "manifest.txt")
        self._stage("calibrate", options, {"onnx": model}, outputs, lambda: calibrate(config))
        return folder

    def built(self, model: Path, calibration: Path | None) -> Path:
        """Give the engine."""
        section = self._recipe.build
        engine = self._folder / "model.engine"
        config = BuildConfig(
            model=model,
            output=engine,
            backend=section.backend,
            precision=section.precision,
            calibration=calibration,
            implicit=section.implicit,
            recipe=self._recipe.path,
            nms=nms_from_options(section.nms, iou=section.nms_iou, conf=section.nms_conf),
            tensorrt=TensorRTOptions(
                batches=None if section.batches is None else Batches.parse(section.batches),
                workspace_mib=section.workspace_mib,
                optimization_level=section.optimization_level,
                sparse=section.sparse,
                version_compatible=section.version_compatible,
                dla_core=section.dla,
                gpu_fallback=section.gpu_fallback,
            ),
        )
        if section.trtexec is not None:
            return self._for_trtexec(config, section.trtexec)
        backend, why = choose_backend(section.backend)
        options = {**dataclasses.asdict(section), "backend": backend, "device": why}
        inputs = {"onnx": model, "scales": None if calibration is None else calibration / "scales.json"}
        sidecar = engine.with_name(engine.name + ".json")
        self._stage(
            "build", options, inputs, (engine, sidecar), lambda: build_engine(config, report=self._say)
        )
        return engine

    def _for_trtexec(self, config: BuildConfig, version: str) -> Path:
        """Give the engine that trtexec will make in the folder that is written here."""
        folder = self._folder / "board"
        config = dataclasses.replace(config, output=folder, backend="tensorrt")
        scales = None if config.calibration is None else config.calibration / "scales.json"
        self._stage(
            "build",
            dataclasses.asdict(self._recipe.build),
            {"onnx": config.model, "scales": scales},
            tuple(folder / name for name in folder_files(config)),
            lambda: write_trtexec_folder(config, version, report=self._say),
        )
        return folder / "model.engine"

    def _stage(
        self,
        name: str,
        options: dict[str, Any],
        inputs: Mapping[str, Path | str | None],
        outputs: tuple[Path, ...],
        work: Callable[[], object],
    ) -> None:
        """Carry out a stage, or skip it where it is current."""
        found = {role: _fingerprint(source) for role, source in inputs.items() if source}
        made_from = {"edgeyolo": edgeyolo.__version__, "options": options, "inputs": found}
        why = "asked for" if self._force else self._why_not_current(name, made_from, outputs)
        if why is None:
            self._say(f"{name}: current")
            self.skipped.append(name)
            return
        self._say(f"{name}: {why}")
        work()
        self._record[name] = {**made_from, "outputs": {path.name: sha256_of(path) for path in outputs}}
        write_text(self._folder / _RECORD, json.dumps(self._record, indent=2) + "\n")
        self.done.append(name)

    def _why_not_current(self, name: str, made_from: dict[str, Any], outputs: tuple[Path, ...]) -> str | None:
        """Say why a stage must be carried out; None where it need not be."""
        record = self._record.get(name)
        if record is None:
            return "not made yet"
        for part, value in made_from.items():
            if record.get(part) != value:
                return f"other {part} than when it was made"
        for path in outputs:
            if not path.is_file():
                return f"{path.name} is not there"
            if sha256_of(path) != record["outputs"].get(path.name):
                return f"{path.name} was changed"
        return None

    def _read_record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))
            return record if isinstance(record, dict) else {}
        except (OSError, ValueError):  # absent, or cut by hand: everything is made again
            return {}


def _fingerprint(source: Path | str) -> str:
    """Give a file's hash, or the name of what is built in."""
    path = Path(source)
    if isinstance(source, str) and not path.is_file():
        return source
    if not path.is_file():
        raise ConfigError(f"{path}: no such file", hint="names in a recipe are relative to its folder")
    return sha256_of(path)


def _listing(source: Path) -> str:
    """Give a hash of names, sizes and times of the pictures: one more, less or other is noticed."""
    digest = hashlib.sha256()
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    for path in files:
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _jsonable(options: dict[str, Any]) -> dict[str, Any]:
    """Give options as JSON has them, so that they compare equal with what was read back."""
    found: dict[str, Any] = json.loads(json.dumps(options, default=str))
    return found
