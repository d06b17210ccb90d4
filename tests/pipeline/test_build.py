"""One calibration serves a backend: the INT8 engine, its sidecar, and the truth about its speed."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.errors import CalibrationError, ConfigError, StaleScalesError
from edgeyolo.files import sha256_of
from edgeyolo.machine import has_vnni
from edgeyolo.pipeline.build import BuildConfig, Speed, build_engine
from edgeyolo.pipeline.calibrate import calibrate
from edgeyolo.pipeline.calibration import CalibrateConfig
from edgeyolo.qdq.placement import exact_int8
from edgeyolo.runtime import Detector
from edgeyolo.sidecar import read_sidecar
from tests.calibrate.pictures import folder_of, scene
from tests.calibrate.tiny_detector import write_detector
from tests.command import edgeyolo

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``m.onnx`` and, for it, ``out/``."""
    folder = tmp_path_factory.mktemp("calibrated")
    model = write_detector(folder / "m.onnx")
    images = str(folder_of(folder / "images", 8))
    calibrate(
        CalibrateConfig(model=model, images=images, output=folder / "out", method="mse", target_agreement=0)
    )
    return folder


@pytest.mark.parametrize("given", ["out", "out/scales.json"])
def test_scales_become_an_engine_that_finds_the_same_boxes(
    calibrated: Path, tmp_path: Path, given: str
) -> None:
    model = calibrated / "m.onnx"
    said: list[str] = []
    config = BuildConfig(
        model=model,
        output=tmp_path / "int8.engine",
        backend="onnxruntime",
        precision="int8",
        calibration=calibrated / given,
    )
    info = build_engine(config, report=said.append)
    assert info == read_sidecar(tmp_path / "int8.engine")
    assert info.precision == "int8"
    assert info.made_from == {
        "onnx": sha256_of(model),
        "scales": sha256_of(calibrated / "out" / "scales.json"),
    }
    assert f"--calibration {calibrated / given}" in info.command
    assert info.extra["speed_at_build"].keys() == {"int8_ms", "fp32_ms"}
    assert any("INT8 is" in line for line in said)
    assert any(
        line.startswith("INT8 on onnxruntime: 2 of 4 layers, ") for line in said
    )  # not the first, not the head
    build_engine(BuildConfig(model=model, output=tmp_path / "fp32.engine"))
    with Detector(tmp_path / "int8.engine") as int8, Detector(tmp_path / "fp32.engine") as fp32:
        image = scene(99)
        one, other = int8(image), fp32(image)
    assert abs(len(one) - len(other)) <= 0.2 * len(other)
    assert len(other) > 5


def test_integer_kernels_are_used(calibrated: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    config = BuildConfig(
        model=calibrated / "m.onnx", output=tmp_path / "e", precision="int8", calibration=calibrated / "out"
    )
    build_engine(config)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "e"), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert ops.count("QLinearConv") == 2  # of four layers, not the one that reads the picture and the head


def test_scales_of_another_model_or_preprocess_are_refused_by_field(calibrated: Path, tmp_path: Path) -> None:
    other = write_detector(tmp_path / "other.onnx", poison=0.1)
    config = BuildConfig(
        model=other, output=tmp_path / "e.engine", precision="int8", calibration=calibrated / "out"
    )
    with pytest.raises(StaleScalesError, match="model_sha256"):
        build_engine(config)
    scales = json.loads((calibrated / "out" / "scales.json").read_text())
    scales["provenance"]["preprocess_sha256"] = "00" * 32
    (tmp_path / "scales.json").write_text(json.dumps(scales))
    with pytest.raises(StaleScalesError, match="preprocess"):
        build_engine(
            BuildConfig(
                model=calibrated / "m.onnx",
                output=tmp_path / "e.engine",
                precision="int8",
                calibration=tmp_path / "scales.json",
            )
        )
    (tmp_path / "scales.json").write_bytes((calibrated / "out" / "scales.json").read_bytes())
    (tmp_path / "manifest.txt").write_text("00" * 32 + "  a.png\n")
    with pytest.raises(StaleScalesError, match="manifest_sha256"):
        build_engine(
            BuildConfig(
                model=calibrated / "m.onnx",
                output=tmp_path / "e.engine",
                precision="int8",
                calibration=tmp_path,
            )
        )
    assert not (tmp_path / "e.engine").exists()


def test_the_command(calibrated: Path, tmp_path: Path) -> None:
    words = ["build", calibrated / "m.onnx", "-o", tmp_path / "e.engine", "--precision", "int8"]
    done = edgeyolo(*words, "--calibration", calibrated / "out")
    assert done.returncode == 0, done.stderr
    assert "int8" in done.stdout
    assert "INT8 is" in done.stderr
    assert edgeyolo(*words, "--calibration", tmp_path / "none").returncode == 2
    quantised = ["build", calibrated / "out" / "model.int8.onnx", "-o", tmp_path / "q.engine"]
    alone = edgeyolo(*quantised, "--precision", "int8")
    assert alone.returncode == 0, alone.stderr
    assert "INT8 was not measured against FP32" in alone.stderr
    wrong = edgeyolo(
        "build", calibrated / "m.onnx", "-o", tmp_path / "f.engine", "--calibration", calibrated / "out"
    )
    assert wrong.returncode == 2
    assert "--precision int8" in wrong.stderr


def test_mistakes_and_words() -> None:
    with pytest.raises(ConfigError, match="goes with --precision int8"):
        BuildConfig(model=Path("m"), output=Path("e"), calibration=Path("out"))
    with pytest.raises(CalibrationError, match=r"a folder with scales\.json"):
        build_engine(
            BuildConfig(model=Path("m"), output=Path("e"), precision="int8", calibration=Path("/nowhere"))
        )
    assert "1.50 times faster" in str(Speed(int8_ms=2.0, fp32_ms=3.0))
    assert "as fast as FP32 here" in str(Speed(int8_ms=3.1, fp32_ms=3.0))
    slow = str(Speed(int8_ms=3.0, fp32_ms=1.5))
    assert "2.00 times SLOWER" in slow
    assert "--precision fp32" in slow


_INFER = """
import sys, numpy as np
from edgeyolo.runtime import open_engine
with open_engine(sys.argv[1]) as engine:
    engine.input(0)[:] = np.random.default_rng(0).random(engine.input(0).shape, np.float32)
    np.savez(sys.argv[2], **engine.infer(0))
"""


@pytest.mark.needs("qemu")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86 alone")
def test_a_processor_without_vnni_gives_the_same_int8(calibrated: Path, tmp_path: Path) -> None:
    # Its fast kernels saturate; qemu's Haswell is one such processor.
    engine = tmp_path / "int8.engine"
    config = BuildConfig(
        model=calibrated / "m.onnx",
        output=engine,
        backend="onnxruntime",
        precision="int8",
        calibration=calibrated / "out",
    )
    build_engine(config)
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    assert emulator is not None
    # An emulator starts no virtual environment: it gets the interpreter itself, and where packages lie.
    python, paths = os.path.realpath(sys.executable), os.pathsep.join(path for path in sys.path if path)
    found = []
    for name, before in (("here", []), ("haswell", [emulator, "-cpu", "Haswell"])):
        words = [*before, python, "-c", _INFER, str(engine), str(tmp_path / name)]
        subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, check=True, capture_output=True)
        found.append(np.load(tmp_path / f"{name}.npz"))
    for name in found[0]:
        assert found[1][name] == pytest.approx(found[0][name], abs=1e-4)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86 alone")
def test_vnni_is_told_as_the_kernel_tells_it() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert has_vnni() == ("avx512_vnni" in flags)
    assert bool(exact_int8()) != has_vnni()
