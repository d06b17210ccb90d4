"""Running plans, on the simulated TensorRT of each generation and the simulated driver.

Each test ends with nothing alive on the device, nothing abandoned, no mistake noted (the fixtures see to it).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeyolo.errors import (
    ConfigError,
    EngineError,
    InferenceError,
    MissingDependencyError,
    StaleEngineError,
    TensorMismatchError,
)
from edgeyolo.runtime import Classifier, Detector, open_engine
from tests import tiny_models
from tests.parts import PROJECT
from tests.runtime.tensorrt_plans import (
    COMMAND,
    KINDS,
    device_of,
    edit_sidecar,
    open_kind,
    run_frames,
    write_engine,
)
from tests.sim.cuda.simulator import LAUNCH_FAILED, NOT_SUPPORTED, SCHEDULES, Simulator
from tests.sim.tensorrt.fixtures import tensorrt

__all__ = ["tensorrt"]

pytestmark = pytest.mark.needs("cudasim", "onnx", "onnxruntime")

lazily = pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
on_jetpack_6 = pytest.mark.parametrize("tensorrt", ["10.3"], indirect=True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, cuda: Simulator) -> Iterator[str]:
    """Give each way through the work, on the GPU it is for."""
    with device_of(cuda, request.param):
        yield request.param


@pytest.fixture
def engine(tmp_path: Path, tensorrt: ModuleType) -> Path:
    """Give an engine of a fixed batch, for the running generation."""
    return _write(tmp_path, tensorrt)


def _write(folder: Path, trt: ModuleType, *, batch: int | None = 1, **changes: Any) -> Path:
    model = tiny_models.write_detector(folder / "m.onnx", batch=batch)
    return write_engine(model, folder / "m.engine", trt.__simulation__.generation, **changes)


# ---- results -----------------------------------------------------------------------------------------------


@on_jetpack_6
def test_frames_come_back_as_themselves(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    _frames_come_back(cuda, tensorrt, kind, tmp_path)


@lazily
def test_frames_come_back_on_each_generation(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    _frames_come_back(cuda, tensorrt, kind, tmp_path)


def _frames_come_back(cuda: Simulator, trt: ModuleType, kind: str, folder: Path) -> None:
    with open_kind(_write(folder, trt, batch=KINDS[kind][0]), kind) as opened:
        assert opened.notes == ()
        assert run_frames(opened) == []
    assert cuda.current_context() == 0


@lazily
def test_results_are_those_of_onnx_runtime(cuda: Simulator, tensorrt: ModuleType, tmp_path: Path) -> None:
    from edgeyolo.build import build

    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (48, 80, 3), np.uint8) for _ in range(4)]
    for write, predictor in (
        (tiny_models.write_detector, Detector),
        (tiny_models.write_classifier, Classifier),
    ):
        model = write(tmp_path / "m.onnx")
        build(model, tmp_path / "cpu.engine", backend="onnxruntime")
        write_engine(model, tmp_path / "gpu.engine", tensorrt.__simulation__.generation)
        with predictor(tmp_path / "cpu.engine") as cpu, predictor(tmp_path / "gpu.engine") as gpu:
            for image in images:
                expected, found = vars(cpu(image)), vars(gpu(image))
                assert expected.keys() == found.keys()
                for name, value in expected.items():
                    if value is None:  # nobody has tracked anything
                        assert found[name] is None
                    else:
                        np.testing.assert_allclose(found[name], value, rtol=1e-6)


@lazily
@on_jetpack_6
def test_the_command_finds_what_it_finds_on_onnx_runtime(
    cuda: Simulator, engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeyolo.build import build
    from edgeyolo.cli.main import app

    def lines(path: Path) -> list[dict[str, Any]]:
        command = ["run", str(path), "test://", "--frames", "12", "--jsonl", str(tmp_path / "out.jsonl")]
        app([*command, "--conf", "0.1"], standalone_mode=False)
        found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "latency_ms"} for line in found]

    build(tmp_path / "m.onnx", tmp_path / "cpu.engine", backend="onnxruntime")
    expected = lines(tmp_path / "cpu.engine")
    assert len(expected) == 12
    assert any(line["detections"] for line in expected)
    assert lines(engine) == expected


@on_jetpack_6
def test_input_is_the_same_memory_and_outputs_are_the_slots(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    with open_kind(_write(tmp_path, tensorrt, batch=KINDS[kind][0]), kind) as opened:
        assert opened.slots == 2
        first, second = opened.input(0), opened.input(1)
        assert (first.shape, first.dtype, first.flags.c_contiguous) == ((1, 3, 32, 32), np.float32, True)
        assert first.ctypes.data == opened.input(0).ctypes.data
        assert not np.shares_memory(first, second)
        first[0, 0], first[0, 1], first[0, 2] = 0.75, 0.25, 0.5
        second[...] = 0.125
        outputs = opened.infer(0)
        np.testing.assert_array_equal(outputs["scores"], np.full((1, 4, 2), [0.75, 0.25], np.float32))
        other = opened.infer(1)
        np.testing.assert_array_equal(other["scores"], np.full((1, 4, 2), 0.125, np.float32))
        assert outputs["scores"][0, 0, 0] == 0.75
        first[...] = 0.5
        assert opened.infer(0)["scores"][0, 0, 0] == 0.5
        with pytest.raises(TypeError):
            outputs["scores"] = other["scores"]  # type: ignore[index]


@on_jetpack_6
@pytest.mark.parametrize("batch", [3, None])
def test_a_part_of_a_batch(batch: int | None, cuda: Simulator, tensorrt: ModuleType, tmp_path: Path) -> None:
    path = _write(tmp_path, tensorrt, batch=batch, batches=(2, 3, 4))
    with open_engine(path, max_batch=3) as opened:
        assert opened.batch == 3
        assert opened.input(0).shape == (3, 3, 32, 32)
        for index in range(3):
            opened.input(0)[index] = index / 4
            opened.input(1)[index] = index / 8
        for count in (1, 3, 2, 3):  # 1 is below the profile's least
            opened.start(1, batch=count)
            scores = opened.infer(0, batch=count)["scores"]
            np.testing.assert_array_equal(scores[:, 0, 0], [0, 0.25, 0.5][:count])
            scores = opened.infer(1, batch=count)["scores"]
            np.testing.assert_array_equal(scores[:, 0, 0], [0, 0.125, 0.25][:count])
        for wrong in (0, 4):
            with pytest.raises(EngineError, match=r"1\.\.3 expected"):
                opened.infer(0, batch=wrong)


@lazily
@on_jetpack_6
def test_two_engines_at_a_time_have_nothing_to_warn_of(
    cuda: Simulator, engine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"), open_engine(engine) as one, open_engine(engine) as other:
        one.input(0)[...], other.input(0)[...] = 0.25, 0.5
        assert one.infer(0)["scores"][0, 0, 0] == 0.25
        assert other.infer(0)["scores"][0, 0, 0] == 0.5
    assert caplog.records == []


@lazily
@on_jetpack_6
def test_a_slot_started_for_another_batch_is_run_again(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path
) -> None:
    with open_engine(_write(tmp_path, tensorrt, batch=None), max_batch=4) as opened:
        for index in range(4):
            opened.input(0)[index] = index / 4
        opened.start(0, batch=1)
        np.testing.assert_array_equal(opened.infer(0, batch=4)["scores"][:, 0, 0], [0, 0.25, 0.5, 0.75])


@on_jetpack_6
def test_threads_share_the_work(cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path) -> None:
    """Open in one thread, fill and start in another, infer in a third, close in the first."""
    path = _write(tmp_path, tensorrt, batch=KINDS[kind][0])
    found: list[float] = []
    with open_kind(path, kind) as opened:
        filled, free = threading.Semaphore(0), threading.Semaphore(2)

        def prepare() -> None:
            for frame in range(8):
                free.acquire()
                opened.input(frame % 2)[...] = frame / 8
                opened.start(frame % 2)
                filled.release()

        def infer() -> None:
            for frame in range(8):
                assert filled.acquire(timeout=20)
                found.append(float(opened.infer(frame % 2)["scores"][0, 0, 0]))
                free.release()

        threads = [threading.Thread(target=work) for work in (prepare, infer)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert found == [frame / 8 for frame in range(8)]


@lazily
@on_jetpack_6
def test_a_frame_is_queued_while_the_gpu_works_on_another(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    with open_kind(_write(tmp_path, tensorrt, batch=KINDS[kind][0]), kind) as opened:
        before = cuda.calls()
        for slot in range(2):
            opened.input(slot)[...] = (slot + 1) / 4
            opened.start(slot)  # uploads and queues; under this schedule nothing has run yet
        after = cuda.calls()
        waits = [name for name in after if "Synchronize" in name and after[name] > before.get(name, 0)]
        assert waits == []
        assert [float(opened.infer(slot)["scores"][0, 0, 0]) for slot in range(2)] == [0.25, 0.5]


@lazily
@on_jetpack_6
def test_a_frame_of_a_fixed_batch_takes_five_driver_calls(cuda: Simulator, engine: Path) -> None:
    with open_engine(engine) as opened:
        before = cuda.report().counts["calls"]
        opened.infer(0)
        assert cuda.report().counts["calls"] - before <= 5 + 1  # the report itself


# ---- closing -----------------------------------------------------------------------------------------------


@on_jetpack_6
def test_closing(cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path) -> None:
    opened = open_kind(_write(tmp_path, tensorrt, batch=KINDS[kind][0]), kind)
    opened.input(0)[...] = 0.5
    opened.start(0)
    opened.start(1)
    scores = opened.infer(0)["scores"]
    opened.close()  # with slot 1 on its way
    opened.close()
    assert scores[0, 0, 0] == 0.5  # pinned memory lives as long as somebody looks at it
    for use in (opened.infer, opened.start, opened.input):
        with pytest.raises(EngineError, match="the engine is closed"):
            use(0)


@on_jetpack_6
def test_an_engine_that_is_let_go_is_closed(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    path = _write(tmp_path, tensorrt, batch=KINDS[kind][0])

    def forget() -> None:
        open_kind(path, kind).start(1)
        gc.collect()

    with pytest.warns(ResourceWarning, match="not closed"):
        forget()
    assert cuda.live() == dict.fromkeys(cuda.live(), 0)


@lazily
@on_jetpack_6
def test_what_a_user_forgets_to_close_does_no_harm(cuda: Simulator, engine: Path) -> None:
    code = (
        "import sys, tests.sim.cuda.simulator as s\n"
        "from tests.sim.tensorrt import DriverDevice, simulated_tensorrt\n"
        "simulator = s.simulated_cuda(); simulator.start(); simulator.set_device()\n"
        "sys.path.insert(0, str(simulator.site))\n"
        "sys.modules['tensorrt'] = simulated_tensorrt('10.3', device=DriverDevice(simulator))\n"
        "from edgeyolo.runtime import open_engine\n"
        f"engine = open_engine({str(engine)!r})\n"
        "print(engine.infer(0)['scores'].sum())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert (done.returncode, done.stdout) == (0, "0.0\n"), done.stderr


@lazily  # what is queued runs in the thread that waits for it
@on_jetpack_6
def test_closing_waits_for_an_inference_in_another_thread(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    opened = open_kind(_write(tmp_path, tensorrt, batch=KINDS[kind][0]), kind)
    opened.input(0)[...] = 0.5
    on_its_way, go_on = threading.Event(), threading.Event()

    def slow(_memory: Any) -> None:
        on_its_way.set()
        assert go_on.wait(20)

    with opened._device:
        cuda.enqueue(opened._slots[0].queue.handle, "slow", slow)
    found: list[float] = []
    inferring = threading.Thread(target=lambda: found.append(float(opened.infer(0)["scores"][0, 0, 0])))
    inferring.start()
    assert on_its_way.wait(20)
    closing = threading.Thread(target=opened.close)
    closing.start()
    while not opened._closed:
        closing.join(0.01)
    with pytest.raises(EngineError, match="is closed"):
        opened.infer(1)
    go_on.set()
    for thread in (inferring, closing):
        thread.join(20)
        assert not thread.is_alive()
    assert found == [0.5]


# ---- graphs ------------------------------------------------------------------------------------------------


@on_jetpack_6
@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphLaunch"]
)
def test_without_graphs_it_runs_and_says_so(call: str, cuda: Simulator, engine: Path) -> None:
    cuda.fail(call, code=NOT_SUPPORTED)
    with open_engine(engine) as opened:
        (note,) = opened.notes
        assert note.startswith("no CUDA graph, each inference is queued piece by piece: ")
        assert "NOT_SUPPORTED" in note
        assert run_frames(opened) == []


@lazily
@on_jetpack_6
def test_a_fault_of_the_gpu_is_no_want_of_graphs(cuda: Simulator, tensorrt: ModuleType, engine: Path) -> None:
    cuda.expect("async_error")
    cuda.fail("async:GraphLaunch", code=LAUNCH_FAILED)
    with pytest.raises(InferenceError, match="this process cannot use CUDA any more"):
        open_engine(engine)
    tensorrt.__simulation__.misuse.clear()


@on_jetpack_6
def test_what_tensorrt_cannot_capture_is_said(cuda: Simulator, tensorrt: ModuleType, engine: Path) -> None:
    # Two runs before the captures, then the first capture.
    tensorrt.__simulation__.fail("IExecutionContext.execute_async_v3", ("ERROR", "captureUnsupported"), nth=3)
    with open_engine(engine) as opened:
        (note,) = opened.notes
        assert "captureUnsupported" in note
        assert run_frames(opened) == []


# ---- what does not fit -------------------------------------------------------------------------------------


@lazily
def test_a_plan_of_another_version(cuda: Simulator, tensorrt: ModuleType, tmp_path: Path) -> None:
    other = "8.6" if tensorrt.__simulation__.generation != "8.6" else "10.3"
    model = tiny_models.write_detector(tmp_path / "m.onnx")
    path = write_engine(model, tmp_path / "m.engine", other)
    with pytest.raises(StaleEngineError) as raised:
        open_engine(path)
    assert f"m.engine: TensorRT: built for {other}" in raised.value.message
    assert f"running on {tensorrt.__version__}" in raised.value.message
    assert COMMAND in str(raised.value.hint)

    edit_sidecar(path, versions={})  # a sidecar that does not know: TensorRT's own word
    with pytest.raises(EngineError, match=r"does not load it: .*not compatible with this version") as raised:
        open_engine(path)
    assert COMMAND in str(raised.value.hint)


@lazily
@pytest.mark.parametrize(
    ("tensorrt", "built", "runs"),
    [("10.3", "8.6", True), ("10.16", "10.3", True), ("11.4", "10.13", True), ("11.4", "8.6", False),
     ("10.3", "10.13", False)],
    indirect=["tensorrt"],
)  # fmt: skip
def test_a_version_compatible_plan(
    built: str, runs: bool, cuda: Simulator, tensorrt: ModuleType, tmp_path: Path
) -> None:
    model = tiny_models.write_detector(tmp_path / "m.onnx")
    path = write_engine(
        model, tmp_path / "m.engine", built, compatible=True, extra={"version_compatible": True}
    )
    if runs:
        with open_engine(path) as opened:
            assert run_frames(opened) == []
    else:
        with pytest.raises(StaleEngineError, match="TensorRT: built for"):
            open_engine(path)


@lazily
@on_jetpack_6
@pytest.mark.parametrize(
    "machine",
    [
        {"gpu": "Orin Max", "sm": "8.7", "multiprocessors": "8"},
        {"gpu": "Simulated Orin", "sm": "7.2", "multiprocessors": "8"},
        {"gpu": "Simulated Orin", "sm": "8.7", "multiprocessors": "16"},  # an AGX Orin's, on an Orin Nano
    ],
)
def test_a_plan_of_another_gpu(machine: dict[str, str], cuda: Simulator, engine: Path) -> None:
    edit_sidecar(engine, machine=machine)
    with pytest.raises(StaleEngineError) as raised:
        open_engine(engine)
    built_for = "GPU: built for {gpu} (SM {sm}, {multiprocessors} multiprocessors)".format(**machine)
    running_on = "running on Simulated Orin (SM 8.7, 8 multiprocessors)"
    assert f"{built_for}, {running_on}" in raised.value.message
    assert COMMAND in str(raised.value.hint)


@lazily
@on_jetpack_6
def test_the_sidecar_is_checked_before_the_plan_is_touched(
    cuda: Simulator, tensorrt: ModuleType, engine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.write_bytes(engine.read_bytes() + b"\0")
    with pytest.raises(StaleEngineError, match="sha256") as raised:
        open_engine(engine)
    assert "--trust" in str(raised.value.hint)
    assert cuda.calls() == {}
    assert tensorrt.__simulation__.messages == []
    with open_engine(engine, trust=True) as opened:  # the simulated plan has its length in its header
        assert run_frames(opened) == []
    assert "sha256" in caplog.text


@lazily
@on_jetpack_6
def test_the_commands_say_how_to_trust_an_engine(
    cuda: Simulator, engine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeyolo.cli.main import main

    def run(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(
            sys, "argv", ["edgeyolo", "run", str(engine), "test://", "--frames", "2", *options]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    engine.write_bytes(engine.read_bytes() + b"\0")
    code, said = run()
    assert code == 2
    assert "--trust" in said
    assert run("--trust")[0] == 0


@lazily
@on_jetpack_6
@pytest.mark.parametrize("size", [0, 10, 200, -1])
def test_a_truncated_plan(size: int, cuda: Simulator, engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:size])
    edit_sidecar(engine, engine_sha256=hashlib.sha256(engine.read_bytes()).hexdigest())
    with pytest.raises(EngineError, match=r"m\.engine: TensorRT 10\.3\.0 does not load it: .*Serialization"):
        open_engine(engine)


@lazily
@on_jetpack_6
def test_half_a_pair(cuda: Simulator, engine: Path) -> None:
    sidecar = engine.with_name(engine.name + ".json")
    sidecar.rename(sidecar.with_suffix(".away"))
    with pytest.raises(EngineError, match="beside it"):
        open_engine(engine)
    sidecar.with_suffix(".away").rename(sidecar)
    engine.unlink()
    with pytest.raises(EngineError, match="no such engine"):
        open_engine(engine)


@lazily
@on_jetpack_6
def test_a_batch_beyond_the_profile(cuda: Simulator, tensorrt: ModuleType, tmp_path: Path) -> None:
    path = _write(tmp_path, tensorrt, batch=None, batches=(1, 2, 4))
    with pytest.raises(
        EngineError, match=r"a batch of 1\.\.4 expected by its profile, 5 asked for"
    ) as raised:
        open_engine(path, max_batch=5)
    assert COMMAND in str(raised.value.hint)
    with pytest.raises(ConfigError, match="1 or more expected"):
        open_engine(path, max_batch=0)


@lazily
@on_jetpack_6
@pytest.mark.parametrize(
    ("side", "change", "words"),
    [
        ("inputs", {"shape": [1, 3, 64, 64]}, r"input tensors images float32\[1, 3, 64, 64\] expected"),
        ("inputs", {"dtype": "float16"}, r"input tensors images float16"),
        ("outputs", {"name": "kisten"}, "output tensors kisten"),
    ],
)
def test_a_sidecar_that_promises_other_tensors(
    side: str, change: dict[str, Any], words: str, cuda: Simulator, engine: Path
) -> None:
    tensors = json.loads(engine.with_name("m.engine.json").read_text())[side]
    tensors[0].update(change)
    edit_sidecar(engine, **{side: tensors})
    with pytest.raises(TensorMismatchError, match=words):
        open_engine(engine)


@lazily
@on_jetpack_6
def test_no_device(cuda: Simulator, engine: Path) -> None:
    cuda.set_device(count=0)
    with pytest.raises(MissingDependencyError, match="a CUDA device is needed") as raised:
        open_engine(engine)
    assert raised.value.exit_code == 3
    cuda.set_device()


def test_no_tensorrt(tmp_path: Path) -> None:
    model = tiny_models.write_detector(tmp_path / "m.onnx")
    path = write_engine(model, tmp_path / "m.engine")
    with pytest.raises(MissingDependencyError, match="the package 'tensorrt' is needed") as raised:
        open_engine(path)
    assert "JetPack provides it" in str(raised.value.hint)
    assert raised.value.exit_code == 3


@lazily
@on_jetpack_6
def test_running_imports_neither_onnx_nor_its_runtime(cuda: Simulator, engine: Path, tmp_path: Path) -> None:
    """The simulated TensorRT computes with ONNX Runtime, so the proof is a TensorRT that has nothing."""
    code = (
        "import sys, types\n"
        "for name in ('onnx', 'onnxsim', 'onnxruntime'): sys.modules[name] = None\n"
        "trt = sys.modules['tensorrt'] = types.ModuleType('tensorrt')\n"
        "trt.__version__, trt.ILogger = '10.3.0', object\n"
        "class Runtime:\n"
        "    def __init__(self, logger): self.logger = logger\n"
        "    def deserialize_cuda_engine(self, plan):\n"
        "        print(len(plan)); self.logger.log(types.SimpleNamespace(name='ERROR'), 'no more')\n"
        "trt.Runtime = Runtime\n"
        "from edgeyolo.cli.main import main\n"
        "main()\n"
    )
    arguments = ["run", str(engine), "test://", "--frames", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=PROJECT, check=False, env=cuda.environment(),
    )  # fmt: skip
    assert done.stdout == f"{engine.stat().st_size}\n", done.stderr
    assert "TensorRT 10.3.0 does not load it: no more" in done.stderr
    assert done.returncode == 2


# ---- faults ------------------------------------------------------------------------------------------------


@lazily
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("Runtime.deserialize_cuda_engine", "does not load it"),
        ("ICudaEngine.create_execution_context", "gives no execution context"),
        ("IExecutionContext.set_tensor_address", "refuses the address of"),
        ("IExecutionContext.execute_async_v3", "does not run it"),
    ],
)
@pytest.mark.parametrize("nth", [1, 2])
def test_each_call_of_tensorrt_that_fails_is_an_error_with_its_last_words(
    nth: int, call: str, words: str, cuda: Simulator, tensorrt: ModuleType, engine: Path
) -> None:
    simulation = tensorrt.__simulation__
    if nth == 2 and call == "Runtime.deserialize_cuda_engine":
        open_engine(engine).close()
        nth = 1
    simulation.fail(call, ("WARNING", "beware"), ("ERROR", "the reason"), ("INFO", "so it goes"), nth=nth)
    with pytest.raises(EngineError, match=rf"m\.engine: TensorRT .*{words}.*: the reason"):
        open_engine(engine)
    with open_engine(engine) as opened:  # and nothing is left of it
        assert run_frames(opened) == []


@lazily
@on_jetpack_6
@pytest.mark.parametrize("call", ["set_input_shape", "set_tensor_address", "execute_async_v3"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_each_call_of_tensorrt_that_fails_in_a_frame(
    nth: int, call: str, cuda: Simulator, tensorrt: ModuleType, tmp_path: Path
) -> None:
    with open_engine(_write(tmp_path, tensorrt, batch=None)) as opened:
        tensorrt.__simulation__.fail(f"IExecutionContext.{call}", ("ERROR", "the reason"), nth=nth)
        with pytest.raises(EngineError, match="the reason"):
            run_frames(opened)
        assert run_frames(opened) == []


@lazily
@on_jetpack_6
def test_each_driver_call_that_fails_is_an_error_and_leaves_nothing(
    cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    """Every use of every call, from opening to closing, fails once with "out of memory"."""
    path = _write(tmp_path, tensorrt, batch=KINDS[kind][0])

    def life() -> None:
        with open_kind(path, kind) as opened:
            assert run_frames(opened, frames=3) == []

    with open_kind(path, kind) as opened:
        assert run_frames(opened, frames=3) == []
        before_closing = cuda.calls()["cuCtxPushCurrent"]
    uses = {name: count for name, count in cuda.calls().items() if not name.startswith("cusim")}
    uses["cuCtxPushCurrent"] = before_closing  # without its context nothing of it can be freed
    assert len(uses) > 15
    raised = 0
    for name, count in uses.items():
        if name in _CLEANING_UP:
            continue
        for nth in range(1, count + 1):
            cuda.start()
            cuda.fail(name, nth=nth)
            try:
                life()
            except (EngineError, MissingDependencyError) as exc:
                raised += 1
                del exc
            assert cuda.faults_found() == [], f"{name}, use {nth} of {count}"
    assert raised > 20


# When one of these fails the thing is not freed, which the program cannot help; that it goes on is below.
_CLEANING_UP = {
    "cuCtxPopCurrent", "cuDevicePrimaryCtxRelease", "cuEventDestroy", "cuGraphDestroy", "cuGraphExecDestroy",
    "cuMemFree", "cuMemFreeHost", "cuStreamDestroy",
}  # fmt: skip


@lazily
@on_jetpack_6
@pytest.mark.parametrize("kind", ["graph, board", "graph, card"], indirect=True)
@pytest.mark.parametrize("call", sorted(_CLEANING_UP - {"cuCtxPopCurrent"}))
def test_what_cannot_be_freed_stops_nothing(
    call: str, cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    path = _write(tmp_path, tensorrt)
    cuda.expect("leaked")
    with open_kind(path, kind) as opened:
        cuda.fail(call)
        assert run_frames(opened) == []
    if call != "cuDevicePrimaryCtxRelease":
        assert cuda.live()["contexts"] == 0
    cuda.start()


@on_jetpack_6
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("cuda", ["lazy"], indirect=True)
def test_a_kernel_that_faults(
    schedule: str, cuda: Simulator, tensorrt: ModuleType, kind: str, tmp_path: Path
) -> None:
    cuda.set_schedule(schedule)
    cuda.expect("async_error")
    path = _write(tmp_path, tensorrt, batch=KINDS[kind][0])
    opened = open_kind(path, kind)
    cuda.fail("async:tensorrt", code=LAUNCH_FAILED)
    with pytest.raises(InferenceError, match=r"m\.engine: (CUDA|TensorRT)") as raised:
        run_frames(opened)
    assert raised.value.exit_code == 1
    with pytest.raises(EngineError, match="cannot use CUDA any more"):  # nor does it hang, nor crash
        opened.infer(0)
    opened.close()
    tensorrt.__simulation__.misuse.clear()  # a broken context runs nothing more, so something was left queued
    with open_kind(path, kind) as opened:  # the broken context went with the engine
        assert run_frames(opened) == []


@contextlib.contextmanager
def held_context(cuda: Simulator) -> Iterator[None]:
    """Hold the primary context, as CUDA's runtime inside the real TensorRT does until the process ends."""
    handle, device = ctypes.c_void_p(), 0
    assert cuda.library.cuInit(0) == 0
    assert cuda.library.cuDevicePrimaryCtxRetain(ctypes.byref(handle), device) == 0
    try:
        yield
    finally:
        cuda.library.cuDevicePrimaryCtxRelease_v2(device)


@lazily
@on_jetpack_6
def test_after_a_fault_where_tensorrt_holds_the_context(
    cuda: Simulator, tensorrt: ModuleType, engine: Path
) -> None:
    """Opening again cannot help: the errors say so, and what the program must do."""
    cuda.expect("async_error", "leaked", "abandoned")  # in a broken context nothing can be freed
    with held_context(cuda):
        opened = open_engine(engine)
        cuda.fail("async:tensorrt", code=LAUNCH_FAILED)
        with pytest.raises(EngineError, match="this process cannot use CUDA any more") as raised:
            run_frames(opened)
        assert raised.value.hint is not None
        assert "start the program again" in raised.value.hint
        opened.close()
        with pytest.raises(EngineError, match="this process cannot use CUDA any more"):
            open_engine(engine)
    tensorrt.__simulation__.misuse.clear()
    with open_engine(engine) as opened:  # which is what a new process finds
        assert run_frames(opened) == []


@lazily
@on_jetpack_6
def test_the_command_opens_the_engine_again_after_an_error(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And loses no frame."""
    from edgeyolo.cli.main import app

    path = _write(tmp_path, tensorrt, batch=None)

    def lines() -> list[dict[str, Any]]:
        out = tmp_path / "out.jsonl"
        words = ["run", path, "test://", "--frames", "12", "--conf", "0.1", "--jsonl", out]
        app([*map(str, words)], standalone_mode=False)
        found = [json.loads(line) for line in out.read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in ("latency_ms", "age_ms")} for line in found]

    expected = lines()
    assert len(expected) == 12
    # What the error holds of the old engine is freed when it is let go, and the driver waits then.
    cuda.expect("free_with_pending")
    tensorrt.__simulation__.fail("IExecutionContext.execute_async_v3", ("ERROR", "the reason"), nth=5)
    assert lines() == expected
    assert "is loaded again" in caplog.text


@lazily
@on_jetpack_6
def test_the_command_ends_after_a_fault_on_the_gpu(
    cuda: Simulator, tensorrt: ModuleType, engine: Path, tmp_path: Path
) -> None:
    """In a process of its own: in this one pytest holds what the error holds."""
    code = (
        "import sys, tests.sim.cuda.simulator as s\n"
        "from tests.sim.tensorrt import DriverDevice, simulated_tensorrt\n"
        "simulator = s.simulated_cuda(); simulator.start(); simulator.set_device()\n"
        "sys.path.insert(0, str(simulator.site))\n"
        "sys.modules['tensorrt'] = simulated_tensorrt('10.3', device=DriverDevice(simulator))\n"
        "from ctypes import byref, c_void_p\n"
        "simulator.library.cuInit(0)  # TensorRT's runtime holds the context too\n"
        "simulator.library.cuDevicePrimaryCtxRetain(byref(c_void_p()), 0)\n"
        "simulator.fail('async:tensorrt', nth=9, code=s.LAUNCH_FAILED)\n"
        "from edgeyolo.cli.main import main\n"
        "main()\n"
    )
    words = ["run", str(engine), "test://", "--frames", "12"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, cwd=PROJECT, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "this process cannot use CUDA any more" in done.stderr
    assert "start the program again" in done.stderr
    assert "Traceback" not in done.stderr


@lazily
@on_jetpack_6
@pytest.mark.parametrize("batch", [1, None])
def test_a_detector_goes_on_after_an_error(
    cuda: Simulator, tensorrt: ModuleType, tmp_path: Path, batch: int | None
) -> None:
    """And so does one that is opened again, as a live loop does after a fault."""
    path = _write(tmp_path, tensorrt, batch=batch)
    picture = np.full((64, 64, 3), 200, np.uint8)
    with Detector(path, conf=0.1) as detector:
        expected = detector(picture)
        assert len(expected) > 0
        for call in ("execute_async_v3", "set_tensor_address", "set_input_shape") if batch is None else ():
            tensorrt.__simulation__.fail(f"IExecutionContext.{call}", ("ERROR", "the reason"))
            detector.engine._bound = None  # type: ignore[attr-defined]  # so that all three are called
            with pytest.raises(EngineError, match="the reason"):
                detector(picture)
            np.testing.assert_array_equal(detector(picture).xyxy, expected.xyxy)
        for call in (
            "cuEventSynchronize",
            "cuEventRecord",
            *(["cuGraphLaunch"] if batch else ["cuStreamWaitEvent"]),
        ):
            cuda.fail(call)
            with pytest.raises(EngineError, match=r"CUDA|GPU memory"):
                detector(picture)
            np.testing.assert_array_equal(detector(picture).xyxy, expected.xyxy)
    for _ in range(2):
        with Detector(path, conf=0.1) as detector:
            np.testing.assert_array_equal(detector(picture).xyxy, expected.xyxy)
