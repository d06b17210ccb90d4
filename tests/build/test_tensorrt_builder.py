"""Building for TensorRT on every generation's API: what is asked of it, what is made of its answers."""

from __future__ import annotations

import errno
import gc
import io
import json
import re
import threading
import types
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import Batches, TensorRTOptions, build, tensorrt_builder, trt_timing_cache
from edgeyolo.build.trt_options import strongly_typed
from edgeyolo.build.trt_progress import Progress
from edgeyolo.errors import (
    BuildError,
    ConfigError,
    GraphError,
    MissingDependencyError,
    OutputError,
    ParseError,
    PrecisionError,
)
from edgeyolo.files import sha256_of
from edgeyolo.gpu import Gpu
from edgeyolo.machine import version_tuple
from edgeyolo.sidecar import read_sidecar
from tests.build.test_check import quantised
from tests.sim.tensorrt import BOARDS
from tests.sim.tensorrt.fixtures import tensorrt
from tests.small_nets import converted

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
__all__ = ["tensorrt"]

ORIN = Gpu(name="Orin", sm=(8, 7), memory_mib=7620, integrated=True, cuda=(12, 6), multiprocessors=8)
Build = Callable[..., Any]


def only(*generations: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("tensorrt", generations, indirect=True)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> Callable[..., Any]:
    """Give a function that builds `path` into m.engine and returns what the sidecar says."""
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: (ORIN, "Orin answers"))

    def make(path: Path, precision: Any = "fp32", **options: Any) -> Any:
        info = build(
            path,
            tmp_path / "m.engine",
            backend="tensorrt",
            precision=precision,
            tensorrt=TensorRTOptions(**options),
            report=said.append,
        )
        assert info == read_sidecar(tmp_path / "m.engine")
        return info

    return make


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return converted(tmp_path, "yolo")


def last(tensorrt: ModuleType) -> dict[str, Any]:
    """Give what the simulator knows of the last plan it made."""
    return dict(tensorrt.__simulation__.builds[-1])


def half_of(path: Path) -> Path:
    from edgeyolo.graph.fp16 import half_model

    onnx.save(half_model(onnx.load(path))[0], path.with_name("half.onnx"))
    return path.with_name("half.onnx")


def quantised_of(path: Path) -> Path:
    from edgeyolo.qdq import GraphView, int8_model, quant_plan
    from edgeyolo.scales import Provenance, Scales, TensorScale

    model = onnx.load(path)
    groups = quant_plan(GraphView(model)).groups
    tensors = {name: TensorScale(amax=4.0, method="largest") for group in groups for name in group}
    origin = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=1, method="")
    onnx.save(
        int8_model(model, Scales(provenance=origin, tensors=tensors), "tensorrt"), path.with_name("q.onnx")
    )
    return path.with_name("q.onnx")


def test_an_ordinary_build_warns_of_nothing(make: Build, model: Path, said: list[str]) -> None:
    make(model, "fp32")
    assert [line for line in said if "warn" in line.lower()] == []


def test_fp32(tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path) -> None:
    info = make(model)
    assert info.backend == "tensorrt"
    assert info.made_from == {"onnx": sha256_of(model)}
    assert info.versions["tensorrt"] == tensorrt.__version__
    assert (info.machine["gpu"], info.machine["sm"]) == ("Orin", "8.7")
    assert info.extra["strongly_typed"] == strongly_typed(version_tuple(tensorrt.__version__))
    assert set(info.extra["precision_by_layer"].values()) == {"fp32"}
    assert last(tensorrt)["strongly_typed"] == info.extra["strongly_typed"]
    plan = (tmp_path / "m.engine").read_bytes()
    logger = tensorrt.Logger()
    assert tensorrt.Runtime(logger).deserialize_cuda_engine(plan) is not None  # untouched


def test_fp16_is_a_flag_or_the_graphs_own(tensorrt: ModuleType, make: Build, model: Path) -> None:
    strong = strongly_typed(version_tuple(tensorrt.__version__))
    if strong:
        with pytest.raises(PrecisionError, match="takes types from the graph"):
            make(model, "fp16")
    info = make(half_of(model) if strong else model, "fp16", decode=frozenset())
    assert "fp16" in set(info.extra["precision_by_layer"].values())


def test_int8(tensorrt: ModuleType, make: Build, model: Path) -> None:
    strong = strongly_typed(version_tuple(tensorrt.__version__))
    path = quantised_of(model)
    info = make(half_of(path) if strong else path, "int8")
    kinds = info.extra["precision_by_layer"]
    assert sum("int8" in kind for kind in kinds.values()) >= 3
    with pytest.raises(PrecisionError, match="no tensor of the graph is quantised"):
        make(model, "int8")
    with pytest.raises(PrecisionError, match="the graph is quantized"):
        make(path, "fp32")


@only("8.6", "10.3")
def test_the_decode_stays_fp32_where_precision_is_a_flag(
    tensorrt: ModuleType, make: Build, model: Path
) -> None:
    from edgeyolo.graph.half_plan import half_plan

    decode = frozenset(half_plan(onnx.load(model)).decode)
    asked = []
    network = tensorrt.INetworkDefinition
    original = network.get_layer
    network.get_layer = lambda self, index: asked.append(original(self, index)) or asked[-1]
    info = make(model, "fp16", decode=decode)
    held = [layer for layer in asked if layer.precision_is_set]
    assert {layer.metadata for layer in held} == {f"[ONNX Layer: {name}]" for name in decode}
    assert len(held) > len(decode)  # a Split is several layers, and only the first has its name
    for layer in held:
        assert layer.precision == tensorrt.DataType.FLOAT
        types = [layer.get_output_type(index) for index in range(layer.num_outputs)]
        assert types == [tensorrt.DataType.FLOAT] * layer.num_outputs
        assert all(map(layer.output_type_is_set, range(layer.num_outputs)))
    told = info.extra["precision_by_layer"]
    assert {told[layer.name] for layer in held} == {"fp32"}
    assert set(told.values()) == {"fp16", "fp32"}


def cache(number: int) -> bytes:
    names = ["images", *(f"{index:03d}_{kind}" for index, kind in enumerate(["convolutional"] * 2))]
    return "\n".join(
        [f"TRT-{number}-EntropyCalibration2", *(f"{name}: 3c010a14" for name in names), ""]
    ).encode()


@only("8.6", "10.3", "10.13")
def test_implicit_int8_takes_our_cache_with_the_running_versions_number(
    tensorrt: ModuleType, make: Build, model: Path
) -> None:
    numbers = []
    info = make(model, "int8", implicit_cache=lambda number: numbers.append(number) or cache(number))
    assert last(tensorrt)["scales"]["images"] == pytest.approx(0.007875938)
    assert info.extra["calibration"] == {"batches": 0}
    assert info.extra["strongly_typed"] is False
    major, minor, patch = version_tuple(tensorrt.__version__, 3)
    assert numbers == [major * (10000 if major >= 10 else 1000) + minor * 100 + patch]


@only("10.3")
def test_a_cache_that_is_not_taken_fails(make: Build, model: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="did not take the calibration cache"):
        make(model, "int8", implicit_cache=lambda number: cache(8601))
    assert not (tmp_path / "m.engine").exists()


@only("11.4")
def test_implicit_int8_is_gone_in_11(make: Build, model: Path) -> None:
    with pytest.raises(PrecisionError, match="no implicit INT8"):
        make(model, "int8", implicit_cache=cache)


class Feed:
    """Pictures in the simulated device's memory."""

    batch = 1

    def __init__(self, trt: ModuleType, shape: tuple[int, ...], batches: int, fails_at: int = -1) -> None:
        self.batches, self._left, self._fails_at = batches, batches, fails_at
        self._device = trt.__simulation__.device
        self._size = int(np.prod(shape)) * 4
        self._address = self._device.allocate(self._size)

    def next(self) -> int | None:
        if self._left == self._fails_at:
            raise OSError("a picture went away")
        if self._left == 0:
            return None
        self._left -= 1
        picture = np.random.default_rng(self._left).random(self._size // 4, np.float32)
        self._device.view(1, self._address, self._size)[:] = picture.view(np.uint8)
        return self._address


@only("8.6", "10.3")
def test_calibration_on_the_device(tensorrt: ModuleType, make: Build, model: Path) -> None:
    info = make(model, "int8", device_feed=Feed(tensorrt, (1, 3, 64, 64), 3))
    assert info.extra["calibration"] == {"batches": 3}
    assert last(tensorrt)["scales"]["images"] == pytest.approx(1 / 127, rel=0.05)


@only("8.6", "10.3")
def test_an_error_while_calibrating_is_not_swallowed(tensorrt: ModuleType, make: Build, model: Path) -> None:
    with pytest.raises(OSError, match="went away"):
        make(model, "int8", device_feed=Feed(tensorrt, (1, 3, 64, 64), 3, fails_at=1))


@only("10.3")
def test_fewer_batches_than_promised_fail(tensorrt: ModuleType, make: Build, model: Path) -> None:
    feed = Feed(tensorrt, (1, 3, 64, 64), 2)
    feed.batches = 5
    with pytest.raises(BuildError, match=r"5 batches expected, TensorRT .* took 2"):
        make(model, "int8", device_feed=feed)


def test_an_open_batch_gets_its_profile(tensorrt: ModuleType, make: Build, tmp_path: Path) -> None:
    path = converted(tmp_path, "yolo", "--batch", "dynamic")
    info = make(path, batches=Batches(1, 2, 4))
    assert info.extra["profile"] == {"min": 1, "opt": 2, "max": 4}
    (profile,) = last(tensorrt)["profiles"]
    assert profile["images"] == ((1, 3, 64, 64), (2, 3, 64, 64), (4, 3, 64, 64))
    assert make(path).extra["profile"] == {"min": 1, "opt": 1, "max": 1}


@only("10.3")
def test_batches_of_a_fixed_model(make: Build, model: Path) -> None:
    assert make(model, batches=Batches(1, 1, 1)).extra["profile"] is None
    with pytest.raises(GraphError, match="fixed batch 1"):
        make(model, batches=Batches(1, 1, 4))
    for text in ("4,2,1", "0", "1,2", "one"):
        with pytest.raises(ConfigError):
            Batches.parse(text)


def test_a_second_build_finds_what_the_first_measured(
    tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path
) -> None:
    make(model)
    make(model)
    (file,) = tmp_path.glob("*.timing")
    assert tensorrt.__version__ in file.name
    assert "orin" in file.name
    hits = [text for _, text in tensorrt.__simulation__.messages if text.startswith("Timing cache: ")]
    assert hits[0].startswith("Timing cache: 0 of ")
    count = hits[0].split()[4]
    assert hits[1].startswith(f"Timing cache: {count} of ")


@only("10.3")
def test_two_builds_at_once_keep_what_both_measured(
    tensorrt: ModuleType, make: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the file before either writes it."""
    both_read, attach = threading.Barrier(2), trt_timing_cache.TimingCacheFile.attach

    def together(self: Any, config: Any) -> None:
        attach(self, config)
        both_read.wait(20)

    monkeypatch.setattr(trt_timing_cache.TimingCacheFile, "attach", together)
    paths = {}
    for head in ("yolo", "region"):
        (tmp_path / head).mkdir()
        paths[head] = converted(tmp_path / head, head)
    threads = [
        threading.Thread(
            target=build, args=(path, tmp_path / f"{head}.engine"), kwargs={"backend": "tensorrt"}
        )
        for head, path in paths.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (file,) = tmp_path.glob("*.timing")
    tactics = " ".join(json.loads(file.read_text())["tactics"])
    assert "005_yolo" in tactics
    assert "005_region" in tactics


@only("10.3")
def test_timing_caches_merge(tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path) -> None:
    make(model)
    (file,) = tmp_path.glob("*.timing")
    other = json.loads(file.read_text())
    other["tactics"] = ["from another build"]
    real = trt_timing_cache.TimingCacheFile.attach
    trt_timing_cache.TimingCacheFile.attach = lambda self, config: (
        real(self, config) or file.write_text(json.dumps(other))
    )
    try:
        make(model)
    finally:
        trt_timing_cache.TimingCacheFile.attach = real
    assert "from another build" in json.loads(file.read_text())["tactics"]
    assert len(json.loads(file.read_text())["tactics"]) > 5


@only("10.3")
@pytest.mark.parametrize(
    "content", [b"", b"not a cache", b'{"magic": "SIMTRT-TIMING", "version": [8, 6, 1]}']
)
def test_a_timing_cache_that_does_not_fit_never_fails_a_build(
    make: Build, model: Path, tmp_path: Path, said: list[str], content: bytes
) -> None:
    make(model)
    (file,) = tmp_path.glob("*.timing")
    file.write_bytes(content)
    make(model)
    assert any("timing cache" in line for line in said) == bool(content)  # TensorRT says so, or we do
    assert json.loads(file.read_text())["tactics"]


@only("10.3")
def test_no_timing_cache_where_none_is_wanted(make: Build, model: Path, tmp_path: Path) -> None:
    make(model, timing_cache=False)
    assert not list(tmp_path.glob("*.timing*"))


@only("8.6", "10.3")
def test_dla(tensorrt: ModuleType, make: Build, model: Path, said: list[str]) -> None:
    tensorrt.__simulation__.board = BOARDS["orin-nx"]
    with pytest.raises(BuildError, match=r"cannot run on DLA: .*yolo") as raised:
        make(model, "fp16", dla_core=0)
    assert "--gpu-fallback" in (raised.value.hint or "")
    info = make(model, "fp16", dla_core=1, gpu_fallback=True)
    assert info.extra["dla_core"] == 1
    assert any("yolo_exp" in name for name in info.extra["layers_off_dla"])
    assert {layer["device"] for layer in last(tensorrt)["layers"]} == {"DLA", "GPU"}
    with pytest.raises(ConfigError, match="has DLA cores 0 to 1"):
        make(model, "fp16", dla_core=2)
    with pytest.raises(PrecisionError, match="fp16 and int8 only"):
        make(model, dla_core=0)


@only("10.13", "11.4")
def test_releases_that_reach_no_dla_say_so(tensorrt: ModuleType, make: Build, model: Path) -> None:
    tensorrt.__simulation__.board = BOARDS["orin-nx"]
    with pytest.raises(ConfigError, match="has no DLA"):
        make(half_of(model), "fp16", dla_core=0)


def test_options_reach_the_builder(tensorrt: ModuleType, make: Build, model: Path) -> None:
    info = make(model, optimization_level=5, sparse=True, version_compatible=True, workspace_mib=333)
    assert (last(tensorrt)["optimization_level"], last(tensorrt)["version_compatible"]) == (5, True)
    assert info.extra["version_compatible"] is True
    assert info.extra["workspace_mib"] == 333


@only("10.3")
def test_the_workspace_is_a_part_of_what_is_free(make: Build, model: Path, said: list[str]) -> None:
    assert make(model).extra["workspace_mib"] >= 64
    assert any(line.startswith("workspace ") and "MiB free" in line for line in said)


@only("8.6", "10.13")
def test_a_workspace_too_small(tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path) -> None:
    tensorrt.__simulation__.workspace_needed = 600 << 20
    with pytest.raises(BuildError, match="no kernel fits into the workspace of 64 MiB") as raised:
        make(model, workspace_mib=64)
    assert "--workspace" in (raised.value.hint or "")
    assert not list(tmp_path.glob("m.engine*"))


@only("8.6", "10.3")
def test_a_precision_that_no_layer_got(
    tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_builder, "precision_by_layer", lambda *_, **__: {"a": "fp32", "b": ""})
    with pytest.raises(PrecisionError, match="computes no layer in it"):
        make(model, "fp16")
    assert not list(tmp_path.glob("m.engine*"))
    monkeypatch.setattr(tensorrt_builder, "precision_by_layer", lambda *_, **__: {"a": ""})
    assert make(model, "fp16").precision == "fp16"  # TensorRT does not tell


@pytest.mark.parametrize(
    "line",
    [
        "[defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)",
        "Requested amount of GPU memory (4294967296 bytes) could not be allocated. There may not be enough "
        "free memory for allocation to succeed.",
        "Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)",
        "NvMapMemAllocInternalTagged: 1075072515 error 12",
    ],
)
def test_out_of_memory_is_recognised(tensorrt: ModuleType, make: Build, model: Path, line: str) -> None:
    tensorrt.__simulation__.fail("Builder.build_serialized_network", ("ERROR", line))
    with pytest.raises(BuildError, match="memory ran out") as raised:
        make(model)
    assert "swap" in (raised.value.hint or "")


def test_no_plan_and_no_reason(tensorrt: ModuleType, make: Build, model: Path) -> None:
    tensorrt.__simulation__.fail("Builder.build_serialized_network")
    with pytest.raises(BuildError, match="gives no plan"):
        make(model)


@pytest.mark.parametrize(
    "call",
    [
        "Builder.create_network", "Builder.create_builder_config", "Builder.create_optimization_profile",
        "OnnxParser.parse", "IBuilderConfig.add_optimization_profile", "Runtime.deserialize_cuda_engine",
    ],
)  # fmt: skip
@only("8.6", "10.16", "11.4")
def test_every_call_that_can_fail(tensorrt: ModuleType, make: Build, tmp_path: Path, call: str) -> None:
    path = converted(tmp_path, "yolo", "--batch", "dynamic")
    tensorrt.__simulation__.fail(call, ("ERROR", "the reason"))
    with pytest.raises(BuildError, match="the reason"):
        make(path)
    assert not list(tmp_path.glob("m.engine*"))


@pytest.mark.parametrize(
    "call",
    [
        "IBuilderConfig.create_timing_cache", "IBuilderConfig.set_timing_cache",
        "IBuilderConfig.get_timing_cache", "ITimingCache.serialize", "ITimingCache.combine",
        "ICudaEngine.create_engine_inspector",
    ],
)  # fmt: skip
@only("10.3")
def test_what_a_build_survives(tensorrt: ModuleType, make: Build, model: Path, call: str) -> None:
    tensorrt.__simulation__.fail(call)
    assert make(model).backend == "tensorrt"


def test_a_parser_error_names_its_node(tensorrt: ModuleType, make: Build, model: Path) -> None:
    changed = onnx.load(model)
    changed.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(changed, model)
    with pytest.raises(ParseError, match=r"node 1 .*NoSuchOperator"):
        make(model)


def test_ctrl_c_ends_the_build(
    tensorrt: ModuleType, make: Build, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(tensorrt, "IProgressMonitor"):
        pytest.skip("8.6 has no monitor: Python is not asked before the build ends")

    def interrupted(self: Any, phase: str, step: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeyolo.build.trt_progress.Progress.step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(model)


def test_a_sign_of_life_while_it_builds(tensorrt: ModuleType) -> None:
    heard = threading.Event()
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        heard.set()

    config = types.SimpleNamespace()
    with Progress(hear, every_s=0.01) as progress:
        progress.attach(tensorrt, config)
        told = hasattr(tensorrt, "IProgressMonitor")
        if told:
            config.progress_monitor.phase_start("Tactic selection", None, 7)
            assert config.progress_monitor.step_complete("Tactic selection", 2)
        heard.clear()
        assert heard.wait(10)
    assert said[-1].startswith("building, Tactic selection 3/7, " if told else "building, 0 s")
    assert "MiB of memory free" in said[-1]


@only("10.3")
def test_bars_on_a_terminal(tensorrt: ModuleType) -> None:
    from rich.console import Console

    shown = io.StringIO()
    config = types.SimpleNamespace()
    with Progress(print, console=Console(file=shown, force_terminal=True, width=100)) as progress:
        progress.attach(tensorrt, config)
        monitor = config.progress_monitor
        monitor.phase_start("Tactic selection", None, 7)
        monitor.step_complete("Tactic selection", 2)
        progress._bars.refresh()
        monitor.phase_finish("Tactic selection")
    assert "Tactic selection" in shown.getvalue()
    assert "3/7" in shown.getvalue()


@only("10.3")
def test_no_space_on_disk(make: Build, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.suffix == ".engine":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        make(model)
    assert not list(tmp_path.glob("*.engine*"))


@only("8.6", "10.3")
def test_a_calibration_profile_that_is_refused(tensorrt: ModuleType, make: Build, tmp_path: Path) -> None:
    path = converted(tmp_path, "yolo", "--batch", "dynamic")
    tensorrt.__simulation__.fail("IBuilderConfig.set_calibration_profile")
    with pytest.raises(BuildError, match="refuses the calibration profile"):
        make(path, "int8", device_feed=Feed(tensorrt, (1, 3, 64, 64), 3))


@only("10.3")
def test_what_the_gpu_cannot_do_is_refused_first(
    tensorrt: ModuleType, make: Build, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nano = Gpu(
        name="NVIDIA Tegra X1", sm=(5, 3), memory_mib=3964, integrated=True, cuda=(10, 2), multiprocessors=1
    )
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: (nano, ""))
    with pytest.raises(PrecisionError, match="no fast int8") as raised:
        make(model, "int8")
    assert raised.value.hint == "--precision fp16"
    monkeypatch.setattr(tensorrt_builder, "find_gpu", lambda: (None, "no CUDA driver is installed"))
    with pytest.raises(MissingDependencyError, match="no CUDA driver"):
        make(model)
    monkeypatch.setattr(tensorrt, "__version__", "8.5.2.2")
    with pytest.raises(ConfigError, match=r"8\.6 or newer expected") as old:
        make(model)
    assert "--trtexec 8.5" in (old.value.hint or "")


def test_options_that_contradict_each_other() -> None:
    for options in (
        {"gpu_fallback": True},
        {"optimization_level": 6},
        {"workspace_mib": 0},
        {"dla_core": 0, "batches": Batches(1, 1, 4)},
        {"implicit_cache": cache, "device_feed": object()},
    ):
        with pytest.raises(ConfigError):
            TensorRTOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"bias": True}, {"zero": np.array(3, np.int8)}], ids=["int32 bias", "zero point"]
)
def test_qdq_that_no_tensorrt_takes(tensorrt: ModuleType, make: Build, tmp_path: Path, wrong: Any) -> None:
    path = quantised(tmp_path / "q.onnx", **wrong)
    if strongly_typed(version_tuple(tensorrt.__version__)):
        path = half_of(path) if "bias" not in wrong else path
    with pytest.raises(ParseError, match=r"(?s)q|half") as raised:
        make(path, "int8")
    assert raised.value.exit_code == 2
    assert re.search(r"node \d+ ", raised.value.message)
    assert sorted(file.name for file in tmp_path.glob("m.engine*")) == []


def test_nothing_of_the_builder_is_left_when_the_plan_is_loaded(
    tensorrt: ModuleType, make: Build, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, left = tensorrt.Runtime.deserialize_cuda_engine, list[str]()

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        simulation = tensorrt.__simulation__
        gc.collect()  # the simulated network and its layers hold each other
        left.extend(type(owner()).__name__ for owner, _ in simulation._loggers if owner() is not None)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(tensorrt.Runtime, "deserialize_cuda_engine", noted)
    make(model)
    assert left == ["Runtime"]


@only("10.3")
def test_what_a_failed_build_measured_is_kept(
    tensorrt: ModuleType, make: Build, model: Path, tmp_path: Path
) -> None:
    tensorrt.__simulation__.fail("Builder.build_serialized_network", ("ERROR", "the reason"))
    with pytest.raises(BuildError, match="the reason"):
        make(model)
    assert len(list(tmp_path.glob("*.timing"))) == 1
    assert not list(tmp_path.glob("m.engine*"))


@only("10.3")
def test_a_model_with_external_data(make: Build, model: Path) -> None:
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(GraphError, match=r"other files \(w\.bin\)"):
        make(model)
