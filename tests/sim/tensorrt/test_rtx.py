"""The simulated TensorRT 11 against tensorrt_rtx, whose parser and builder are 11's and need no GPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from tests.sim.tensorrt import graphs, simulated_tensorrt

pytestmark = pytest.mark.needs("tensorrt-rtx")
_MODELS = {
    "conv": graphs.conv(),
    "dynamic": graphs.conv("N"),
    "half": graphs.conv(half=True),
    "qdq": graphs.quantized(),
    "int8 weights": graphs.quantized(int8_weights=True),
    "half scales": graphs.quantized(scale_type="float16"),
    "uint8": graphs.quantized(zero_type="uint8"),
    "int32 bias": graphs.quantized(int32_bias=True),
    "zero point": graphs.quantized(zero_point=3),
    "too few scales": graphs.quantized(scales=3),
    "unknown": graphs.with_node("Mystery", domain="ours"),
    "two unknown": graphs.with_node("Mystery", "Riddle", domain="ours"),
    "int64": graphs.int64_output(),
}
X = (1, 3, 8, 8)
_PROFILES: dict[str, tuple[Any, ...] | None] = {
    "fits": ("x", X, X, (4, 3, 8, 8)),
    "none": None,
    "another shape": ("x", (1, 3, 9, 8), (1, 3, 9, 8), (1, 3, 9, 8)),
    "another rank": ("x", X[1:], X[1:], X[1:]),
    "another name": ("z", X, X, X),
    "out of order": ("x", (2, 3, 8, 8), X, (4, 3, 8, 8)),
}


class Library:
    """Either library, with a logger that remembers errors."""

    def __init__(self, module: ModuleType) -> None:
        trt: Any = module
        errors: list[str] = []

        class Log(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity.name == "ERROR" and "Cuda Runtime" not in msg:  # tensorrt_rtx misses the driver
                    errors.append(msg)

        self.trt, self.errors, self.log = trt, errors, Log()
        self.builder = trt.Builder(self.log)

    def parse(self, data: bytes, path: str | None = None) -> tuple[Any, Any, bool]:
        network = self.builder.create_network(0)
        parser = self.trt.OnnxParser(network, self.log)
        arguments = (data,) if path is None else (data, path)
        return network, parser, parser.parse(*arguments)

    def findings(self, data: bytes, path: str | None = None) -> tuple[bool, list[tuple[Any, ...]]]:
        _network, parser, taken = self.parse(data, path)
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        return taken, [
            (e.code().name, e.node(), e.node_name(), e.node_operator(), e.func(), e.file(), e.desc())
            for e in errors
        ]


@pytest.fixture(scope="module")
def rtx() -> Library:
    import tensorrt_rtx

    return Library(tensorrt_rtx)


@pytest.fixture
def simulated() -> Library:
    return Library(simulated_tensorrt("11.4"))


def _agree(rtx: Any, simulated: Any) -> None:
    """Compare findings; what NVIDIA adds in the end, such as its own source lines, is not simulated."""
    assert simulated[0] == rtx[0]
    assert [found[:-1] for found in simulated[1]] == [found[:-1] for found in rtx[1]]
    for mine, real in zip(simulated[1], rtx[1], strict=True):
        assert real[-1].startswith(mine[-1].rstrip(".)"))


@pytest.mark.parametrize("name", _MODELS)
def test_the_parser(rtx: Library, simulated: Library, name: str) -> None:
    data = _MODELS[name].SerializeToString()
    _agree(rtx.findings(data), simulated.findings(data))


def test_the_operators(rtx: Library, simulated: Library) -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    found = []
    for library in (simulated, rtx):
        network = library.builder.create_network(0)
        parser = library.trt.OnnxParser(network, library.log)
        found.append({name for name in known if parser.supports_operator(name)})
    assert found[0] ^ found[1] == set()


def test_the_parser_on_what_is_no_model(rtx: Library, simulated: Library) -> None:
    _agree(rtx.findings(b"\x08\x07nonsense"), simulated.findings(b"\x08\x07nonsense"))


def test_the_parser_on_external_data(rtx: Library, simulated: Library, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graphs.save_external(graphs.conv(), path)
    _agree(rtx.findings(path.read_bytes()), simulated.findings(path.read_bytes()))
    _agree(rtx.findings(path.read_bytes(), str(path)), simulated.findings(path.read_bytes(), str(path)))


@pytest.mark.parametrize("name", _PROFILES)
def test_the_builder_on_profiles(rtx: Library, simulated: Library, name: str) -> None:
    answers = []
    for library in (simulated, rtx):
        network, _parser, _ = library.parse(graphs.conv("N").SerializeToString())
        config, profile = (
            library.builder.create_builder_config(),
            library.builder.create_optimization_profile(),
        )
        library.errors.clear()
        shapes = _PROFILES[name]
        if shapes is not None:
            profile.set_shape(*shapes)
        added = config.add_optimization_profile(profile) if shapes is not None else None
        plan = library.builder.build_serialized_network(network, config)
        answers.append((bool(profile), added, plan is None, list(library.errors)))
    mine, real = answers
    assert mine[:3] == real[:3]
    assert any(mine[3]) == mine[2]
    for text in mine[3]:
        assert any(line.startswith(text.rstrip(".)")) for line in real[3]), (text, real[3])


def test_the_builder_on_an_empty_network(rtx: Library, simulated: Library) -> None:
    for library in (rtx, simulated):
        library.errors.clear()
        config = library.builder.create_builder_config()
        assert library.builder.build_serialized_network(library.builder.create_network(0), config) is None
        assert "Network must have at least one output" in library.errors[0]


@pytest.mark.parametrize("raises", [False, True])
def test_a_cancelled_build_finishes_its_phases(
    rtx: Library, simulated: Library, raises: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    for library in (rtx, simulated):
        trt = library.trt

        class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                type(self).__mro__[1].__init__(self)
                self.open: list[str] = []
                self.parents: list[str | None] = []

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                self.open.append(phase_name)
                self.parents.append(parent_phase)

            def step_complete(self, phase_name: str, step: int) -> bool:
                if raises:
                    raise KeyError("lost")
                return False

            def phase_finish(self, phase_name: str) -> None:
                assert self.open.pop() == phase_name  # innermost first

        network, _parser, _ = library.parse(graphs.conv().SerializeToString())
        config = library.builder.create_builder_config()
        config.progress_monitor = monitor = Monitor()
        library.errors.clear()
        assert library.builder.build_serialized_network(network, config) is None
        assert monitor.open == []
        assert monitor.parents[:2] == [None, "Building engine"]
        wanted = "IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user"
        assert library.errors[0].startswith(wanted)
        assert ("[ERROR] Exception caught in step_complete(): KeyError" in capfd.readouterr().err) == raises


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_settings(rtx: Library, simulated: Library) -> None:
    def answers(library: Library) -> list[Any]:
        trt, config = library.trt, library.builder.create_builder_config()
        cache = config.create_timing_cache(b"")
        found: list[Any] = [
            config.flags,
            config.DLA_core,
            str(config.profiling_verbosity),
            config.progress_monitor,
        ]
        for attempt in (
            lambda: setattr(config, "builder_optimization_level", 9),
            lambda: config.builder_optimization_level,
            lambda: setattr(config, "builder_optimization_level", -1),
            lambda: config.builder_optimization_level,
            lambda: setattr(config, "builder_optimization_level", 3.0),
            lambda: setattr(config, "profiling_verbosity", 1),
            lambda: setattr(config, "progress_monitor", 1),
            lambda: setattr(config, "progress_monitor", None),
            lambda: setattr(config, "workspace", 1),
            lambda: setattr(config, "num_optimization_profiles", 1),
            lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, -1),
            lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5),
            lambda: config.set_timing_cache(cache, False),
            lambda: config.set_timing_cache(None, False),
            lambda: cache.combine(None, False),
            lambda: config.add_optimization_profile(None),
            lambda: library.builder.build_serialized_network(None, config),
            lambda: (
                library.builder.create_network(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) is not None
            ),
            lambda: library.builder.create_optimization_profile().set_shape("x", (-1,), (1,), (1,)),
            lambda: library.builder.create_optimization_profile().set_shape("x", (1.0,), (1,), (1,)),
        ):
            try:
                found.append(attempt())
            except Exception as exc:  # noqa: BLE001  (its type is the answer)
                found.append(type(exc).__name__)
        return found

    assert answers(simulated) == answers(rtx)


def test_networks(rtx: Library, simulated: Library) -> None:
    def answers(library: Library) -> list[Any]:
        network, parser, _ = library.parse(graphs.conv("N").SerializeToString())
        again = parser.parse(graphs.conv("N").SerializeToString())
        found = [network.get_input(9), network.get_layer(9), again, parser.flags, len(network)]
        found += [(layer.name, str(layer.type)) for layer in network]
        found += [
            (t.name, tuple(t.shape), str(t.dtype)) for t in (network.get_input(0), network.get_output(0))
        ]
        with pytest.raises(IndexError, match="Out of bounds"):
            network[9]
        return found

    assert answers(simulated) == answers(rtx)


def test_a_plan_as_a_buffer(rtx: Library, simulated: Library) -> None:
    for library in (rtx, simulated):
        network, _parser, _ = library.parse(graphs.conv().SerializeToString())
        plan = library.builder.build_serialized_network(network, library.builder.create_builder_config())
        assert len(bytes(plan)) == plan.nbytes == memoryview(plan).nbytes
        assert plan.dtype == library.trt.DataType.INT8
        for attempt in (len, iter, lambda memory: memory[0]):
            with pytest.raises(TypeError):
                attempt(plan)
