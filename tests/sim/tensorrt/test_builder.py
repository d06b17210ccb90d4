"""When the simulated builder gives a plan, when None, and what it says then."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.sim.tensorrt import BOARDS, FAILURES, HostDevice, graphs, simulated_tensorrt
from tests.sim.tensorrt.plan import Plan

WEAK = ("8.6", "10.3", "10.13", "10.16")
STRONG = ("10.3", "10.13", "10.16")
ONLY_WEAK = pytest.mark.parametrize("tensorrt", WEAK, indirect=True)
EITHER = pytest.mark.parametrize("tensorrt", STRONG, indirect=True)


def _facts(plan: Any) -> Any:
    return Plan.from_bytes(bytes(plan)).facts


def _precisions(plan: Any) -> dict[str, str]:
    return {layer["name"]: layer["precision"] for layer in _facts(plan)["layers"]}


def test_a_plan_is_a_buffer_and_little_else(built: Any, tmp_path: Any) -> None:
    plan = built(graphs.conv())
    (tmp_path / "x").write_bytes(plan)
    assert (tmp_path / "x").read_bytes() == bytes(plan)
    assert memoryview(plan).nbytes == plan.nbytes
    with pytest.raises(TypeError):
        len(plan)
    with pytest.raises(AttributeError):
        plan.decode()


# ---- types -------------------------------------------------------------------------------------------------


@ONLY_WEAK
@pytest.mark.parametrize(("model", "flag"), [(graphs.quantized(), "INT8"), (graphs.conv(half=True), "FP16")])
def test_a_weakly_typed_graph_needs_its_flag(
    tensorrt: ModuleType, built: Any, errors: Any, model: Any, flag: str
) -> None:
    assert built(model) is None
    assert "is not configured in the builder" in errors()
    assert built(model, lambda _, c: c.set_flag(tensorrt.BuilderFlag.__members__[flag])) is not None


@EITHER
@pytest.mark.parametrize("flag", ["INT8", "FP16", "BF16"])
def test_a_strongly_typed_graph_takes_no_flag(
    tensorrt: ModuleType, built: Any, errors: Any, flag: str
) -> None:
    member = tensorrt.BuilderFlag.__members__[flag]
    assert built(graphs.quantized(), strongly=True) is not None
    assert built(graphs.quantized(), lambda _, c: c.set_flag(member), strongly=True) is None
    assert flag in errors()


@pytest.mark.parametrize("tensorrt", ["11.4"], indirect=True)
def test_eleven_is_always_strongly_typed(tensorrt: ModuleType, built: Any) -> None:
    plan = built(graphs.quantized())
    assert _precisions(plan) == {"conv": "INT8"}
    assert _facts(plan)["strongly_typed"]
    assert set(_precisions(built(graphs.conv(half=True))).values()) == {"HALF"}


@ONLY_WEAK
def test_a_board_without_fast_int8_is_warned(tensorrt: ModuleType, parsed: Any) -> None:
    simulation = tensorrt.__simulation__
    simulation.board = BOARDS["nano"]
    builder, network, config = parsed(graphs.quantized())
    assert (builder.platform_has_fast_int8, builder.platform_has_fast_fp16) == (False, True)
    config.set_flag(tensorrt.BuilderFlag.INT8)
    assert builder.build_serialized_network(network, config) is not None
    assert any(
        "without native Int8" in text for severity, text in simulation.messages if severity == "WARNING"
    )


# ---- profiles ----------------------------------------------------------------------------------------------


def _profile(builder: Any, name: str, *shapes: tuple[int, ...]) -> Any:
    profile = builder.create_optimization_profile()
    profile.set_shape(name, *shapes)
    return profile


def test_a_dynamic_input_needs_a_profile(built: Any, errors: Any) -> None:
    assert built(graphs.conv("N")) is None
    assert "no optimization profile has been defined" in errors()


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("x", (1, 3, 9, 8), "At dimension axis 2, profile has min=9, opt=9, max=9 but tensor has 8"),
        ("z", (1, 3, 8, 8), "Dynamic input tensor x is missing dimensions in profile 0"),
        ("x", (1, 3, 8), "has 4 dimensions but profile 0 has 3 dimensions"),
    ],
)
def test_a_profile_that_does_not_fit(
    built: Any, errors: Any, name: str, shape: tuple[int, ...], said: str
) -> None:
    def add(builder: Any, config: Any) -> None:
        assert config.add_optimization_profile(_profile(builder, name, shape, shape, shape)) == 0

    assert built(graphs.conv("N"), add) is None
    assert said in errors()


def test_a_profile_out_of_order_is_not_added(parsed: Any, errors: Any) -> None:
    builder, _, config = parsed(graphs.conv("N"))
    inverted = _profile(builder, "x", (2, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
    assert not inverted
    assert config.add_optimization_profile(inverted) == -1
    assert "MIN<=OPT<=MAX" in errors()
    with pytest.raises(RuntimeError, match="Shape provided for min is inconsistent"):
        _profile(builder, "x", (-1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
    assert config.add_optimization_profile(builder.create_optimization_profile()) == 0
    assert config.num_optimization_profiles == 1


def test_settings_are_typed_and_bounded(tensorrt: ModuleType, parsed: Any, errors: Any) -> None:
    _, _, config = parsed(graphs.conv())
    for name, value in (("builder_optimization_level", "3"), ("profiling_verbosity", 1), ("DLA_core", 0.5)):
        with pytest.raises(TypeError):
            setattr(config, name, value)
    config.builder_optimization_level = 9
    assert config.builder_optimization_level == 5
    config.builder_optimization_level = -1
    assert config.builder_optimization_level == 5
    assert "builder_optimization_level = -1" in errors()
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, -1)


# ---- memory, timing cache, progress ------------------------------------------------------------------------


def test_too_little_workspace(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    tensorrt.__simulation__.workspace_needed = 64 << 20
    pool = tensorrt.MemoryPoolType.WORKSPACE
    assert built(graphs.conv(), lambda _, c: c.set_memory_pool_limit(pool, 32 << 20)) is None
    assert "Could not find any implementation for node conv" in errors()
    assert built(graphs.conv(), lambda _, c: c.set_memory_pool_limit(pool, 64 << 20)) is not None


def test_a_timing_cache_is_one_releases_and_one_gpus(tensorrt: ModuleType, parsed: Any) -> None:
    builder, network, config = parsed(graphs.conv())
    cache = config.create_timing_cache(b"")
    assert config.get_timing_cache() is None
    assert config.set_timing_cache(cache, ignore_mismatch=False)
    assert builder.build_serialized_network(network, config) is not None
    saved = bytes(config.get_timing_cache().serialize())

    again = builder.create_builder_config()
    empty = again.create_timing_cache(b"")
    assert empty.combine(again.create_timing_cache(saved), ignore_mismatch=False)
    assert bytes(empty.serialize()) == saved

    other = simulated_tensorrt("10.16" if tensorrt.__version__.startswith("10.3") else "10.3")
    foreign = other.Builder(other.Logger(other.Logger.INTERNAL_ERROR)).create_builder_config()
    nothing = bytes(foreign.create_timing_cache(b"").serialize())
    assert bytes(foreign.create_timing_cache(saved).serialize()) == nothing
    assert bytes(foreign.create_timing_cache(b"rubbish").serialize()) == nothing

    tensorrt.__simulation__.board = BOARDS["thor"]
    moved = builder.create_builder_config()
    elsewhere = moved.create_timing_cache(saved)
    assert not moved.set_timing_cache(elsewhere, ignore_mismatch=False)
    assert moved.set_timing_cache(elsewhere, ignore_mismatch=True)


@pytest.mark.parametrize("tensorrt", [*STRONG, "11.4"], indirect=True)
def test_a_progress_monitor_sees_phases_and_can_cancel(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    class Monitor(tensorrt.IProgressMonitor):
        def __init__(self, allowed: int) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self.allowed, self.calls = allowed, []

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.calls.append((phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.allowed -= 1
            return self.allowed >= 0

        def phase_finish(self, phase_name: str) -> None:
            self.calls.append(phase_name)

    patient, hasty = Monitor(99), Monitor(0)
    assert built(graphs.conv(), lambda _, c: setattr(c, "progress_monitor", patient)) is not None
    assert patient.calls[:2] == [("Building engine", None, 2), ("Tactic selection", "Building engine", 2)]
    assert patient.calls[2:] == ["Tactic selection", "Building engine"]
    assert built(graphs.conv(), lambda _, c: setattr(c, "progress_monitor", hasty)) is None
    assert "BuildCanceled" in errors()
    assert hasty.calls[-2:] == ["Tactic selection", "Building engine"]


# ---- DLA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tensorrt", ["8.6", "10.3"], indirect=True)
def test_dla_by_board_precision_and_layer(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    def dla(builder: Any, config: Any) -> None:
        config.default_device_type, config.DLA_core = tensorrt.DeviceType.DLA, 0

    def half(builder: Any, config: Any) -> None:
        dla(builder, config)
        config.set_flag(tensorrt.BuilderFlag.FP16)

    def fallback(builder: Any, config: Any) -> None:
        half(builder, config)
        config.set_flag(tensorrt.BuilderFlag.GPU_FALLBACK)

    assert built(graphs.conv(), half) is None
    assert "this device has 0" in errors()
    tensorrt.__simulation__.board = BOARDS["agx-orin"]
    assert built(graphs.conv(), dla) is None
    assert "need FP16 or INT8" in errors()
    assert {layer["device"] for layer in _facts(built(graphs.conv(), half))["layers"]} == {"DLA"}
    assert built(graphs.with_node("Erf"), half) is None
    assert "extra_0" in errors()
    devices = [layer["device"] for layer in _facts(built(graphs.with_node("Erf"), fallback))["layers"]]
    assert devices == ["DLA", "DLA", "GPU"]


@pytest.mark.parametrize("tensorrt", ["10.13", "10.16", "11.4"], indirect=True)
def test_no_dla_after_ten_seven(tensorrt: ModuleType, logger: Any) -> None:
    tensorrt.__simulation__.board = BOARDS["agx-orin"]
    assert tensorrt.Builder(logger).num_DLA_cores == 0


def test_hardware_compatibility_is_not_for_jetson(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    level = tensorrt.HardwareCompatibilityLevel.AMPERE_PLUS

    def portable(builder: Any, config: Any) -> None:
        config.hardware_compatibility_level = level

    assert built(graphs.conv(), portable) is None
    assert "not supported on this platform" in errors()
    tensorrt.__simulation__.board = BOARDS["rtx-4090"]
    assert _facts(built(graphs.conv(), portable))["hardware_compatibility_level"] == "AMPERE_PLUS"


# ---- faults ------------------------------------------------------------------------------------------------


def test_a_fault_comes_once_at_its_turn(tensorrt: ModuleType, built: Any, errors: Any) -> None:
    line = ("ERROR", "Error Code 2: OutOfMemory (no further information)")
    tensorrt.__simulation__.fail("Builder.build_serialized_network", line, nth=2)
    assert [built(graphs.conv()) is None for _ in range(3)] == [False, True, False]
    assert errors() == line[1]


def test_every_fault_is_a_call_that_exists(tensorrt: ModuleType) -> None:
    for call in FAILURES:
        owner, _, member = call.partition(".")
        if call != "IBuilderConfig.set_calibration_profile" or hasattr(tensorrt, "CalibrationAlgoType"):
            assert callable(getattr(getattr(tensorrt, owner), member))
    with pytest.raises(ValueError, match="expected"):
        tensorrt.__simulation__.fail("Builder.nothing")


@pytest.mark.parametrize("name", ["Builder", "Runtime"])
def test_a_machine_without_a_gpu(name: str) -> None:
    trt = simulated_tensorrt("10.3", device=HostDevice(error=100))
    with pytest.raises(TypeError, match="factory function returned nullptr"):
        getattr(trt, name)(trt.Logger(trt.Logger.INTERNAL_ERROR))
    assert "CUDA initialization failure with error: 100" in trt.__simulation__.messages[0][1]


def test_a_log_that_raises_harms_nobody(tensorrt: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(tensorrt.ILogger):
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            raise RuntimeError("no log today")

    assert tensorrt.Runtime(Broken()).deserialize_cuda_engine(b"rubbish") is None
    assert "Exception caught in log(): RuntimeError: no log today" in capsys.readouterr().err


def test_a_subclass_of_logger_is_not_heard(tensorrt: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []

    class Mine(tensorrt.Logger):
        def log(self, severity: Any, msg: str) -> None:
            heard.append(msg)

    assert tensorrt.Runtime(Mine()).deserialize_cuda_engine(b"rubbish") is None
    assert heard == []
    assert "[TRT] [E] IRuntime::deserializeCudaEngine: Error Code 1" in capfd.readouterr().out
