"""Builder configuration and optimisation profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sim.tensorrt.timing_cache import TimingCache

__all__ = ["BuilderConfig", "OptimizationProfile"]


def _setting(name: str, *, allowed: Callable[[Any], bool] = lambda value: True) -> property:
    """Make a property that is kept in `_settings`; a value that is not allowed is refused on the logger."""

    def get(self: Any) -> Any:
        return self._settings[name]

    def put(self: Any, value: Any) -> None:
        if allowed(value):
            self._settings[name] = value
        else:
            text = (
                f"IBuilderConfig: Error Code 3: API Usage Error (Parameter check failed: {name} = {value!r})"
            )
            self._simulation.log(self._logger, "ERROR", text)

    return property(get, put)


class BuilderConfig:
    """`IBuilderConfig`."""

    _simulation: Any
    _logger: Any

    def _made(self) -> None:
        self.reset()

    def reset(self) -> None:
        members = vars(self._simulation.module)
        self._flags = 1 << int(members["BuilderFlag"].TF32)
        self._pools: dict[str, int] = {}
        self._profiles: list[Any] = []
        self._calibration_profile: Any = None
        self._timing_cache: Any = None
        self._devices: dict[str, Any] = {}
        self._quantization_flags = 0
        self._settings: dict[str, Any] = {
            "builder_optimization_level": 3,
            "avg_timing_iterations": 1,
            "min_timing_iterations": 1,
            "max_aux_streams": -1,
            "max_num_tactics": -1,
            "max_workspace_size": 0,
            "l2_limit_for_tiling": -1,
            "DLA_core": -1,
            "int8_calibrator": None,
            "progress_monitor": None,
            "profile_stream": 0,
            "default_device_type": members["DeviceType"].GPU,
            "engine_capability": members["EngineCapability"].STANDARD,
            "hardware_compatibility_level": members["HardwareCompatibilityLevel"].NONE,
            "profiling_verbosity": members["ProfilingVerbosity"].LAYER_NAMES_ONLY,
        }
        for name, enum, member in (
            ("runtime_platform", "RuntimePlatform", "SAME_AS_BUILD"),
            ("tiling_optimization_level", "TilingOptimizationLevel", "NONE"),
        ):
            if enum in members:
                self._settings[name] = members[enum].__members__[member]

    builder_optimization_level = _setting("builder_optimization_level", allowed=lambda v: 0 <= v <= 5)
    avg_timing_iterations = _setting("avg_timing_iterations", allowed=lambda v: v >= 1)
    min_timing_iterations = _setting("min_timing_iterations", allowed=lambda v: v >= 1)
    max_aux_streams = _setting("max_aux_streams")
    max_num_tactics = _setting("max_num_tactics")
    max_workspace_size = _setting("max_workspace_size", allowed=lambda v: v >= 0)
    l2_limit_for_tiling = _setting("l2_limit_for_tiling")
    DLA_core = _setting("DLA_core")
    int8_calibrator = _setting("int8_calibrator")
    progress_monitor = _setting("progress_monitor")
    profile_stream = _setting("profile_stream")
    default_device_type = _setting("default_device_type")
    engine_capability = _setting("engine_capability")
    hardware_compatibility_level = _setting("hardware_compatibility_level")
    profiling_verbosity = _setting("profiling_verbosity")
    runtime_platform = _setting("runtime_platform")
    tiling_optimization_level = _setting("tiling_optimization_level")

    # ---- flags ---------------------------------------------------------------------------------------------

    @property
    def flags(self) -> int:
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = value

    def set_flag(self, flag: Any) -> None:
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def _has(self, flag: str) -> bool:
        member = self._simulation.module.BuilderFlag.__members__.get(flag)
        return member is not None and bool(self._flags >> int(member) & 1)

    @property
    def quantization_flags(self) -> int:
        return self._quantization_flags

    @quantization_flags.setter
    def quantization_flags(self, value: int) -> None:
        self._quantization_flags = value

    def set_quantization_flag(self, flag: Any) -> None:
        self._quantization_flags |= 1 << int(flag)

    def clear_quantization_flag(self, flag: Any) -> None:
        self._quantization_flags &= ~(1 << int(flag))

    def get_quantization_flag(self, flag: Any) -> bool:
        return bool(self._quantization_flags >> int(flag) & 1)

    # ---- memory --------------------------------------------------------------------------------------------

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        if pool_size < 0:
            text = (
                f"IBuilderConfig::setMemoryPoolLimit: Error Code 3: API Usage Error (poolSize = {pool_size})"
            )
            self._simulation.log(self._logger, "ERROR", text)
            return
        self._pools[pool.name] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        if pool.name == "WORKSPACE" and self._settings["max_workspace_size"]:
            return int(self._settings["max_workspace_size"])
        return self._pools.get(pool.name, self._simulation.device.available())

    # ---- profiles ------------------------------------------------------------------------------------------

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def add_optimization_profile(self, profile: Any) -> int:
        if not profile:
            text = (
                "IBuilderConfig::addOptimizationProfile: Error Code 4: API Usage Error (not a valid profile)"
            )
            self._simulation.log(self._logger, "ERROR", text)
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_calibration_profile(self, profile: Any) -> bool:
        self._calibration_profile = profile
        return True

    def get_calibration_profile(self) -> Any:
        return self._calibration_profile

    # ---- DLA -----------------------------------------------------------------------------------------------

    def can_run_on_DLA(self, layer: Any) -> bool:
        return layer._node().op_type in DLA_OPERATORS

    def set_device_type(self, layer: Any, device_type: Any) -> None:
        self._devices[layer.name] = device_type

    def get_device_type(self, layer: Any) -> Any:
        return self._devices.get(layer.name, self._settings["default_device_type"])

    def is_device_type_set(self, layer: Any) -> bool:
        return layer.name in self._devices

    def reset_device_type(self, layer: Any) -> None:
        self._devices.pop(layer.name, None)

    # ---- timing cache --------------------------------------------------------------------------------------

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        content = TimingCache._read(bytes(serialized_timing_cache), self._simulation)
        if content is None:
            text = (
                "IBuilderConfig::createTimingCache: Error Code 1: Serialization (Serialization assertion "
                "stdVersionRead == serializationVersion failed.Version tag does not match.)"
            )
            self._simulation.log(self._logger, "ERROR", text)
            return None
        return self._simulation.new("ITimingCache", content=content, logger=self._logger)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache is not None and not (ignore_mismatch or cache._fits()):
            text = "The timing cache was made on another device; it is not used"
            self._simulation.log(self._logger, "WARNING", text)
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timing_cache

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._settings["tactic_sources"] = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        members = self._simulation.module.TacticSource.__members__.values()
        return int(self._settings.get("tactic_sources", sum(1 << int(member) for member in members)))


# NVIDIA's list of layers for DLA 3.x, without their further conditions.
DLA_OPERATORS = frozenset(
    """Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose DequantizeLinear Div Equal
    Flatten Gemm GlobalAveragePool Greater Identity LRN LeakyRelu Less MatMul Max MaxPool Min Mul PRelu Pow
    QuantizeLinear Relu Reshape Resize Sigmoid Slice Softmax Sub Tanh Transpose""".split()  # noqa: SIM905
)


class OptimizationProfile:
    """`IOptimizationProfile`."""

    _simulation: Any

    def _made(self) -> None:
        self._shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
        self._extra = 1.0

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        shapes = tuple(tuple(shape) for shape in (min, opt, max))
        lower, best, upper = shapes
        if not len(lower) == len(best) == len(upper) or any(
            not 0 <= a <= b <= c for a, b, c in zip(lower, best, upper, strict=True)
        ):
            raise ValueError("Shape provided for min is inconsistent with other shapes.")
        self._shapes[input] = shapes

    def get_shape(self, input: str) -> list[Any]:
        return [self._simulation.module.Dims(shape) for shape in self._shapes.get(input, ())]

    @property
    def extra_memory_target(self) -> float:
        return self._extra

    @extra_memory_target.setter
    def extra_memory_target(self, value: float) -> None:
        self._extra = value

    def __bool__(self) -> bool:
        return bool(self._shapes)
