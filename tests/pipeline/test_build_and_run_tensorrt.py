"""The whole way for TensorRT: ``edgeyolo build``, then ``edgeyolo run``, on every generation's API.

The real pycuda on the simulated driver, the simulated TensorRT, ONNX Runtime as the reference.
"""

from __future__ import annotations

import gc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import Batches, TensorRTOptions, build
from edgeyolo.errors import SourceError
from edgeyolo.pipeline.build import BuildConfig, GraphNms, build_engine
from edgeyolo.runtime import Detector, open_engine
from edgeyolo.runtime.cuda import Device
from edgeyolo.sidecar import EngineInfo, read_sidecar
from tests.pipeline.test_build_tensorrt import calibrated
from tests.sim.cuda.simulator import Simulator
from tests.sim.tensorrt.fixtures import tensorrt
from tests.small_nets import HEADS, converted

__all__ = ["tensorrt"]

pytestmark = [
    pytest.mark.needs("cudasim", "onnx", "onnxruntime"),
    pytest.mark.parametrize("cuda", ["lazy"], indirect=True),
]
on_jetpack_6 = pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)


def build_on_gpu(config: BuildConfig) -> EngineInfo:
    """Build with the primary context current, as CUDA's runtime, which TensorRT is written on, makes it."""
    device = Device("test")
    try:
        with device:
            return build_engine(config)
    finally:
        device.close()


def infer(path: Path, pixels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    with open_engine(path) as engine:
        engine.input(0)[: len(pixels)] = pixels
        return {name: np.array(value) for name, value in engine.infer(0).items()}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_was_built_runs_and_finds_the_same(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, precision: Any
) -> None:
    model = converted(tmp_path, "yolo")
    scales = calibrated(model, tmp_path / "scales") if precision == "int8" else None
    config = BuildConfig(
        model=model,
        output=tmp_path / "gpu.engine",
        backend="tensorrt",
        precision=precision,
        calibration=scales,
    )
    build_on_gpu(config)
    build(model, tmp_path / "cpu.engine", backend="onnxruntime")
    pixels = np.random.default_rng(5).random((1, 3, 64, 64), np.float32)
    expected, found = infer(tmp_path / "cpu.engine", pixels), infer(tmp_path / "gpu.engine", pixels)
    # The simulator computes what the graph says: FP32 exactly, FP16 rounded, INT8 in steps of 4/127.
    allowed = {"fp32": 1e-5, "fp16": 1e-2, "int8": 0.5}[precision]
    for name, value in expected.items():
        spread = float(value.std())
        assert np.sqrt(np.mean((found[name] - value) ** 2)) <= allowed * spread, name


@on_jetpack_6
@pytest.mark.parametrize("head", HEADS)
def test_every_head(cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, head: str) -> None:
    model = converted(tmp_path, head, "--batch", "dynamic")
    options = TensorRTOptions(batches=Batches(1, 1, 2))
    build_on_gpu(
        BuildConfig(model=model, output=tmp_path / "gpu.engine", backend="tensorrt", tensorrt=options)
    )
    assert read_sidecar(tmp_path / "gpu.engine").machine["gpu"]
    build(model, tmp_path / "cpu.engine", backend="onnxruntime")
    pixels = np.random.default_rng(6).random((1, 3, 64, 64), np.float32)
    expected, found = infer(tmp_path / "cpu.engine", pixels), infer(tmp_path / "gpu.engine", pixels)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_suppression_in_the_engine_finds_what_the_hosts_finds(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, precision: Any
) -> None:
    model = converted(tmp_path, "yolo")
    for name, nms in (("host", None), ("graph", GraphNms())):
        build_on_gpu(
            BuildConfig(
                model=model,
                output=tmp_path / f"{name}.engine",
                backend="tensorrt",
                precision=precision,
                nms=nms,
            )
        )
    picture = np.random.default_rng(7).integers(0, 256, (64, 64, 3), np.uint8)
    with (
        Detector(tmp_path / "host.engine", conf=0.2) as host,
        Detector(tmp_path / "graph.engine", conf=0.2) as graph,
    ):
        expected, found = host(picture), graph(picture)
    assert len(expected) > 10
    assert np.array_equal(found.xyxy, expected.xyxy)
    assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal(found.class_ids, expected.class_ids)
    assert read_sidecar(tmp_path / "graph.engine").extra["nms"] == {"iou": 0.45, "conf": 0.01}


def pictures(folder: Path, count: int) -> Path:
    import cv2

    folder.mkdir()
    for index in range(count):
        picture = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


@pytest.mark.parametrize("tensorrt", ["8.6", "10.3"], indirect=True)
@pytest.mark.parametrize(("batch", "count", "batches"), [("1", 5, 5), ("2", 5, 2), ("dynamic", 11, 1)])
def test_calibration_on_the_device(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, batch: str, count: int, batches: int
) -> None:
    model = converted(tmp_path, "yolo", "--batch", batch)
    config = BuildConfig(
        model=model, output=tmp_path / "m.engine", backend="tensorrt", precision="int8",
        calibrate_on_device=str(pictures(tmp_path / "pictures", count)),
    )  # fmt: skip
    info = build_on_gpu(config)
    assert info.extra["calibration"] == {"batches": batches}
    scales = tensorrt.__simulation__.builds[-1]["scales"]
    assert scales["images"] == pytest.approx(1 / 127, rel=0.02)  # white noise, 0..1
    gc.collect()


@on_jetpack_6
def test_a_picture_that_goes_away_ends_the_build(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeyolo.vision.preprocess import Preprocessor

    def gone(self: Any, image: Any, out: Any) -> None:
        raise SourceError("3.png went away")

    model, folder = converted(tmp_path, "yolo"), pictures(tmp_path / "pictures", 4)
    monkeypatch.setattr(Preprocessor, "__call__", gone)
    config = BuildConfig(
        model=model, output=tmp_path / "m.engine", backend="tensorrt", precision="int8",
        calibrate_on_device=str(folder),
    )  # fmt: skip
    with pytest.raises(SourceError, match="went away"):
        build_on_gpu(config)
    assert not list(tmp_path.glob("m.engine*"))
    gc.collect()
