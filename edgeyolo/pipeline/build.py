"""What ``edgeyolo build`` does: a float model, or a float model and its scales, become an engine.

Owns the join of scales and backend: the Q/DQ graph that a backend wants is made from ``scales.json`` here, so
one calibration serves every backend. Refuses to ship INT8 in silence where it is slower than FP32: both are
measured, and the sidecar keeps the numbers.
"""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from edgeyolo.build import BackendChoice, build
from edgeyolo.build.builder import choose_backend
from edgeyolo.errors import CalibrationError, ConfigError, StaleScalesError
from edgeyolo.files import sha256_of
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.qdq import int8_model
from edgeyolo.runtime import Engine, open_engine
from edgeyolo.scales import Scales, read_scales
from edgeyolo.sidecar import EngineInfo
from edgeyolo.spec import ModelSpec, Precision

__all__ = ["BuildConfig", "Speed", "build_engine", "measure"]

_WARM_UP, _LEAST_RUNS, _MOST_RUNS = 2, 5, 50
_BUDGET_S = 3.0
_EQUAL = 1.05  # below this ratio two medians of a busy machine say nothing
SCALES_NAME, MANIFEST_NAME = "scales.json", "manifest.txt"


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What to build.

    Args:
        model: A float ONNX model; for int8 without `calibration` one that has Q/DQ nodes already.
        output: The engine file.
        backend: Who runs it.
        precision: What it computes in.
        calibration: What ``edgeyolo calibrate`` wrote: its folder, or the scales file in it.
    """

    model: Path
    output: Path
    backend: BackendChoice = "auto"
    precision: Precision = "fp32"
    calibration: Path | None = None

    def __post_init__(self) -> None:
        if self.calibration is not None and self.precision != "int8":
            raise ConfigError(
                f"--calibration goes with --precision int8, --precision {self.precision} found",
                hint="add --precision int8, or leave --calibration out",
            )


@dataclass(frozen=True)
class Speed:
    """Median milliseconds of one inference, both engines measured in turn."""

    int8_ms: float
    fp32_ms: float

    def __str__(self) -> str:
        faster, slower = sorted((self.int8_ms, self.fp32_ms))
        times = f"INT8 {self.int8_ms:.2f} ms, FP32 {self.fp32_ms:.2f} ms an inference: INT8 is"
        if slower < _EQUAL * faster:
            return f"{times} as fast as FP32 here, within {_EQUAL - 1:.0%}"
        if self.int8_ms < self.fp32_ms:
            return f"{times} {slower / faster:.2f} times faster here"
        return (
            f"{times} {slower / faster:.2f} times SLOWER here; use --precision fp32 on this machine, unless "
            "you only want to see INT8's results"
        )


def build_engine(config: BuildConfig, *, report: Callable[[str], None] | None = None) -> EngineInfo:
    """Build an engine, from scales where they are given.

    Args:
        config: What to build.
        report: Is told what was chosen, and why.

    Returns:
        What the sidecar says.

    Raises:
        CalibrationError: The scales cannot be read.
        StaleScalesError: They were made for another model or preprocess.
        EdgeYoloError: As `edgeyolo.build.build`.
    """
    say = report or (lambda _: None)
    if config.calibration is None:
        return build(
            config.model, config.output, backend=config.backend, precision=config.precision, report=report
        )
    scales_path = _scales_path(config.calibration)
    backend, _ = choose_backend(config.backend)
    with tempfile.TemporaryDirectory(prefix="edgeyolo-") as folder:
        graph = Path(folder, "int8.onnx")
        _write_int8(config.model, scales_path, graph, target=backend)
        words = ["edgeyolo", "build", str(config.model), "-o", str(config.output), "--backend", backend]
        words += ["--precision", "int8", "--calibration", str(config.calibration)]
        info = build(
            graph,
            config.output,
            backend=config.backend,
            precision="int8",
            made_from={"onnx": sha256_of(config.model), "scales": sha256_of(scales_path)},
            command=shlex.join(words),
            report=report,
        )
        fp32 = Path(folder, "fp32.engine")
        build(config.model, fp32, backend=backend, precision="fp32")
        speed = measure(config.output, fp32)
    say(str(speed))
    info = dataclasses.replace(info, extra={**info.extra, "speed_at_build": dataclasses.asdict(speed)})
    info.write(config.output)
    return info


def _scales_path(calibration: Path) -> Path:
    path = calibration / SCALES_NAME if calibration.is_dir() else calibration
    if not path.is_file():
        raise CalibrationError(
            f"{calibration}: a folder with {SCALES_NAME}, or such a file, expected",
            hint=f"edgeyolo calibrate MODEL.onnx IMAGES -o {calibration}",
        )
    return path


def _write_int8(model_path: Path, scales_path: Path, output: Path, *, target: str) -> None:
    model = read_onnx(model_path)
    scales = read_scales(scales_path)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    scales.check(model_sha256=sha256_of(model_path), preprocess=spec.preprocess if spec else None)
    _check_manifest(scales, scales_path.with_name(MANIFEST_NAME))
    write_onnx(int8_model(model, scales, "onnxruntime" if target == "onnxruntime" else "tensorrt"), output)


def _check_manifest(scales: Scales, manifest: Path) -> None:
    """Refuse scales beside a manifest that is not theirs: two calibrations were mixed in one folder."""
    expected = scales.provenance.manifest_sha256
    if not expected or not manifest.is_file():
        return
    found = sha256_of(manifest)
    if found != expected:
        raise StaleScalesError(
            f"{manifest}: these scales were made from another manifest: manifest_sha256 {expected[:12]}… "
            f"expected, {found[:12]}… found",
            hint="calibrate again, or keep scales.json apart from the other manifest",
        )


def measure(int8: Path, fp32: Path) -> Speed:
    """Measure two engines in turn, so that a machine that slows down slows both.

    Args:
        int8: One engine.
        fp32: The other.
    """
    with open_engine(int8) as one, open_engine(fp32) as other:
        for engine in (one, other):
            for _ in range(_WARM_UP):
                _run_ms(engine)
        times: list[tuple[float, float]] = []
        end = perf_counter() + _BUDGET_S
        while len(times) < _LEAST_RUNS or (len(times) < _MOST_RUNS and perf_counter() < end):
            times.append((_run_ms(one), _run_ms(other)))
    return Speed(median(a for a, _ in times), median(b for _, b in times))


def _run_ms(engine: Engine) -> float:
    start = perf_counter()
    engine.infer(0)
    return (perf_counter() - start) * 1e3
