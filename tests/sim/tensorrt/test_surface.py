"""The simulated modules have NVIDIA's names, and the files that say so are what NVIDIA's wheels show."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.parts import PROJECT, require_part
from tests.sim.tensorrt import (
    GENERATIONS,
    IMPLEMENTATIONS,
    HostDevice,
    NotSimulatedError,
    probe,
    simulated_tensorrt,
    surface,
    wheels,
)
from tests.sim.tensorrt.pybind import Enumeration

# Written down from NVIDIA/TensorRT's sources and changelogs, not from the files in surface/: what is there
# in (8.6, 10.3, 10.13, 10.16, 11.4).
_HISTORY = """
NetworkDefinitionCreationFlag.EXPLICIT_BATCH             y y y y -
NetworkDefinitionCreationFlag.EXPLICIT_PRECISION         y - - - -
NetworkDefinitionCreationFlag.STRONGLY_TYPED             - y y y y
BuilderFlag.FP16                                         y y y y -
BuilderFlag.INT8                                         y y y y -
BuilderFlag.BF16                                         - y y y -
BuilderFlag.FP4                                          - - y y -
BuilderFlag.STRICT_TYPES                                 y - - - -
BuilderFlag.OBEY_PRECISION_CONSTRAINTS                   y y y y -
BuilderFlag.TF32                                         y y y y y
BuilderFlag.GPU_FALLBACK                                 y y y y y
BuilderFlag.SPARSE_WEIGHTS                               y y y y y
BuilderFlag.VERSION_COMPATIBLE                           y y y y y
BuilderFlag.STRIP_PLAN                                   - y y y y
BuilderFlag.EDITABLE_TIMING_CACHE                        - - y y y
IInt8EntropyCalibrator2.get_batch                        y y y y -
IInt8MinMaxCalibrator.get_batch                          y y y y -
CalibrationAlgoType.ENTROPY_CALIBRATION_2                y y y y -
IBuilderConfig.int8_calibrator                           y y y y -
IBuilderConfig.set_calibration_profile                   y y y y -
IBuilderConfig.max_workspace_size                        y - - - -
IBuilderConfig.set_memory_pool_limit                     y y y y y
IBuilderConfig.create_timing_cache                       y y y y y
IBuilderConfig.builder_optimization_level                y y y y y
IBuilderConfig.hardware_compatibility_level              y y y y y
IBuilderConfig.progress_monitor                          - y y y y
IBuilderConfig.runtime_platform                          - y y y y
IBuilderConfig.default_device_type                       y y y y y
IBuilderConfig.DLA_core                                  y y y y y
ITensor.set_dynamic_range                                y y y y -
ILayer.precision                                         y y y y -
Builder.platform_has_fast_int8                           y y y y -
Builder.platform_has_fast_fp16                           y y y y -
Builder.num_DLA_cores                                    y y y y y
Builder.build_serialized_network                         y y y y y
Builder.build_engine                                     y - - - -
Builder.max_batch_size                                   y - - - -
HardwareCompatibilityLevel.AMPERE_PLUS                   y y y y y
HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY       - - y y y
IProgressMonitor.step_complete                           - y y y y
ICudaEngine.num_bindings                                 y - - - -
ICudaEngine.num_io_tensors                               y y y y y
ICudaEngine.get_profile_shape                            y - - - -
ICudaEngine.get_tensor_profile_shape                     y y y y y
ICudaEngine.device_memory_size                           y y y y -
ICudaEngine.device_memory_size_v2                        - y y y y
IExecutionContext.execute_v2                             y y y y y
IExecutionContext.execute_async_v2                       y - - - -
IExecutionContext.execute_async_v3                       y y y y y
IExecutionContext.set_binding_shape                      y - - - -
IExecutionContext.set_input_shape                        y y y y y
IExecutionContext.report_to_profiler                     y y y y y
EngineInspector.get_engine_information                   y y y y y
OnnxParser.supports_model                                y y y y -
OnnxParser.supports_model_v2                             - y y y y
OnnxParserFlag.NATIVE_INSTANCENORM                       y y y y y
OnnxParserFlag.ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA  - - y y y
OnnxParserFlag.ADJUST_FOR_DLA                            - - - y y
TacticSource.CUBLAS                                      y y y y -
TacticSource.JIT_CONVOLUTIONS                            y y y y y
MemoryPoolType.TACTIC_DRAM                               y y y y y
MemoryPoolType.TACTIC_SHARED_MEMORY                      - y y y y
DataType.UINT8                                           y y y y y
DataType.INT64                                           - y y y y
DataType.FP4                                             - - y y y
ProfilingVerbosity.VERBOSE                               y - - - -
ProfilingVerbosity.DETAILED                              y y y y y
"""


@pytest.mark.parametrize("line", _HISTORY.split("\n")[1:-1], ids=lambda line: line.split()[0])
def test_a_name_comes_and_goes_with_its_release(line: str) -> None:
    name, *marks = line.split()
    owner, member = name.split(".")
    found = [hasattr(getattr(simulated_tensorrt(g), owner, None), member) for g in GENERATIONS]
    assert found == [mark == "y" for mark in marks]


def test_nothing_is_there_that_nvidia_does_not_have(tensorrt: ModuleType) -> None:
    real = surface(tensorrt.__simulation__.generation)["names"]
    assert {name for name in vars(tensorrt) if name[0] != "_"} <= real.keys()
    for name, cls in _classes(tensorrt):
        public = {member for base in cls.__mro__[:-1] for member in vars(base) if member[0] != "_"}
        known = {*real[name].get("members", ()), *real[name].get("enum", ()), "name", "value"}
        assert public - {"nbytes", "dtype"} - set(dir(bytearray)) <= known, name


def test_what_is_real_but_not_simulated_says_so(tensorrt: ModuleType) -> None:
    with pytest.raises(NotSimulatedError, match="Refitter"):
        hasattr(tensorrt, "Refitter")
    assert not hasattr(tensorrt, "Refiter")
    network = tensorrt.Builder(tensorrt.Logger()).create_network()
    with pytest.raises(NotSimulatedError, match="add_convolution_nd"):
        hasattr(network, "add_convolution_nd")


def test_arguments_have_the_names_nvidia_gave_them(tensorrt: ModuleType) -> None:
    real = surface(tensorrt.__simulation__.generation)["names"]
    for name, implementation in IMPLEMENTATIONS.items():
        for member, described in real.get(name, {}).get("members", {}).items():
            method = getattr(implementation, member, None)
            if not isinstance(described, list) or not described or member.startswith("__") or method is None:
                continue
            taken = set(inspect.signature(method).parameters) - {"self"}
            wanted = {word for text in described for word in _arguments(text, tensorrt)}
            assert wanted <= taken, f"{name}.{member}"


def test_our_code_asks_for_nothing_unreal_or_unsimulated() -> None:
    modules = {g: simulated_tensorrt(g) for g in GENERATIONS}
    for where, owner, member in _asked():
        known = [g for g, module in modules.items() if _there(module, owner, member)]
        assert known, f"{where}: no generation has tensorrt.{owner}{'.' + member if member else ''}"


def test_enums_are_no_python_enums(tensorrt: ModuleType) -> None:
    mode = tensorrt.TensorIOMode
    assert mode.INPUT != mode.OUTPUT
    assert mode.INPUT != 1
    assert mode(2) == mode.OUTPUT
    assert (int(mode.INPUT), mode.INPUT.name, str(mode.INPUT)) == (1, "INPUT", "TensorIOMode.INPUT")
    assert {mode.INPUT: 1}[mode(1)] == 1
    severity = tensorrt.Logger.Severity
    assert tensorrt.Logger.ERROR == severity.ERROR < severity.WARNING
    with pytest.raises(TypeError, match="matching type"):
        severity.INFO <= 3  # noqa: B015
    with pytest.raises(TypeError):
        1 << tensorrt.TensorIOMode.INPUT
    with pytest.raises(TypeError):
        list(mode)


def test_nothing_can_be_invented(tensorrt: ModuleType) -> None:
    config = tensorrt.Builder(tensorrt.Logger()).create_builder_config()
    with pytest.raises(AttributeError, match="no attribute 'workspace'"):
        config.workspace = 1
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 2
    with pytest.raises(TypeError, match="No constructor defined"):
        tensorrt.ICudaEngine()
    with pytest.raises(TypeError, match="incompatible function arguments"):
        config.set_flag("TF32")


def test_a_subclass_has_to_call_init(tensorrt: ModuleType) -> None:
    class Forgetful(tensorrt.ILogger):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        Forgetful()


def test_dims_are_neither_list_nor_tuple(tensorrt: ModuleType) -> None:
    dims = tensorrt.Dims([1, 3, 8, 8])
    assert dims == (1, 3, 8, 8)
    assert dims == [1, 3, 8, 8]
    assert dims[1:3] == (3, 8)
    assert tuple(dims) == (1, 3, 8, 8)
    assert -1 not in dims
    assert not isinstance(dims, (list, tuple))
    with pytest.raises(TypeError):
        hash(dims)


@pytest.fixture(params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> str:
    """Give each generation whose wheel can be had."""
    require_part("tensorrt-bindings")
    if why := wheels.missing_wheel(request.param):
        pytest.skip(why)
    return str(request.param)


@pytest.mark.slow
def test_the_surface_is_that_of_nvidias_wheel(generation: str) -> None:
    assert wheels.surface_of_wheel(generation) == surface(generation)


@pytest.mark.slow
def test_nvidias_wheel_and_the_simulator_answer_alike(generation: str) -> None:
    simulated = simulated_tensorrt(generation, device=HostDevice(error=35))  # the stub has no GPU either
    found = dict(zip(probe.QUESTIONS, probe.answers(simulated), strict=True))
    assert found == dict(zip(probe.QUESTIONS, wheels.answers_of_wheel(generation), strict=True))


def _classes(module: ModuleType) -> Iterator[tuple[str, Any]]:
    return (
        (name, value) for name, value in vars(module).items() if isinstance(value, type) and name[0] != "_"
    )


def _arguments(signature: str, module: ModuleType) -> list[str]:
    """Give the argument names of an overload, none where it wants a class that is not simulated."""
    pairs = re.findall(r"(\w+): ([\w.:\[\]]+)", re.sub(r"<.*?>", "", signature.split(" -> ")[0]))
    simulated = {"capsule", "buffer", "object", "str", "int", "bool", "float", "tuple", "list", *vars(module)}
    names = []
    for name, kind in pairs:
        bare = re.split(r"::|\.", kind.partition("[")[0])[-1]
        if bare[:1] == "I" and bare not in simulated:
            return []
        if name not in ("self",) and not re.fullmatch(r"arg\d", name):
            names.append(name)
    return names


def _asked() -> Iterator[tuple[str, str, str]]:
    """Give each ``trt.Owner`` and ``trt.Owner.member`` in the package, with where it stands."""
    for path in sorted((PROJECT / "edgeyolo").rglob("*.py")):
        text = path.read_text()
        if 'require("tensorrt_rtx"' in text:  # another library, with an API of its own
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Attribute):
                continue
            inner = node.value
            if isinstance(inner, ast.Name) and inner.id in ("trt", "tensorrt"):
                yield f"{path.name}:{node.lineno}", node.attr, ""
            elif (
                isinstance(inner, ast.Attribute)
                and isinstance(inner.value, ast.Name)
                and inner.value.id in ("trt", "tensorrt")
            ):
                yield f"{path.name}:{node.lineno}", inner.attr, node.attr


def _there(module: ModuleType, owner: str, member: str) -> bool:
    if not hasattr(module, owner):
        return False
    cls = getattr(module, owner)
    if not member or (isinstance(cls, type) and issubclass(cls, Enumeration) and member.startswith("__")):
        return True
    return hasattr(cls, member)
