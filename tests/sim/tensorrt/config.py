"""Builder configuration and optimisation profiles."""

from __future__ import annotations

from typing import Any

from tests.sim.tensorrt.pybind import accepted
from tests.sim.tensorrt.timing_cache import TimingCache

__all__ = ["BuilderConfig", "OptimizationProfile"]

_MOST_LEVEL = 5


def _setting(name: str, kind: str = "int", *, least: int | None = None) -> property:
    """Make a property that is kept in `_settings`.

    Args:
        name: Its name.
        kind: ``int`` or a class of the module, None being allowed for a class that is no enum.
        least: What is below is refused on the logger.
    """

    def get(self: Any) -> Any:
        return self._settings[name]

    def put(self: Any, value: Any) -> None:
        value = accepted(kind, value, vars(self._simulation.module))
        if least is not None and value < least:
            text = f"IBuilderConfig: Error Code 3: API Usage Error (Parameter check failed: {name} = {value})"
            self._simulation.log(self._logger, "ERROR", text)
        else:
            self._settings[name] = value

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

    avg_timing_iterations = _setting("avg_timing_iterations")
    min_timing_iterations = _setting("min_timing_iterations")
    max_aux_streams = _setting("max_aux_streams")
    max_num_tactics = _setting("max_num_tactics")
    max_workspace_size = _setting("max_workspace_size", least=0)
    l2_limit_for_tiling = _setting("l2_limit_for_tiling")
    DLA_core = _setting("DLA_core")
    int8_calibrator = _setting("int8_calibrator", "IInt8Calibrator")
    progress_monitor = _setting("progress_monitor", "IProgressMonitor")
    profile_stream = _setting("profile_stream")
    default_device_type = _setting("default_device_type", "DeviceType")
    engine_capability = _setting("engine_capability", "EngineCapability")
    hardware_compatibility_level = _setting("hardware_compatibility_level", "HardwareCompatibilityLevel")
    profiling_verbosity = _setting("profiling_verbosity", "ProfilingVerbosity")
    runtime_platform = _setting("runtime_platform", "RuntimePlatform")
    tiling_optimization_level = _setting("tiling_optimization_level", "TilingOptimizationLevel")
    _level = _setting("builder_optimization_level", least=0)

    @property
    def builder_optimization_level(self) -> int:
        return int(self._level)

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: Any) -> None:
        self._level = value if not isinstance(value, int) else min(value, _MOST_LEVEL)

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
        if pool_size < 0:  # a size_t
            raise TypeError("set_memory_pool_limit(): incompatible function arguments.")
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
        reason = None
        if profile is None:
            reason = (
                "IBuilderConfig::addOptimizationProfile: Error Code 3: API Usage Error (profile != nullptr)"
            )
        elif wrong := profile._invalid():
            reason = (
                "IOptimizationProfile::isValid: Error Code 4: API Usage Error (Invalid optimization profiles "
                f"for input tensors {', '.join(wrong)}, please ensure that the optimization profiles satisfy "
                "MIN<=OPT<=MAX.)"
            )
        if reason is not None:
            self._simulation.log(self._logger, "ERROR", reason)
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
        if content is None:  # what tensorrt_rtx 1.7.1 does; that every release does is not known
            text = "Failed to deserialize timing cache. Returning an empty timing cache."
            self._simulation.log(self._logger, "WARNING", text)
            content = TimingCache._read(b"", self._simulation)
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
        for kind, shape in (("min", min), ("opt", opt), ("max", max)):
            if any(size < 0 for size in shape):
                text = "IOptimizationProfile::setDimensions: Error Code 3: API Usage Error (x >= 0)"
                self._simulation.log(self._logger, "ERROR", text)
                raise RuntimeError(f"Shape provided for {kind} is inconsistent with other shapes.")
        self._shapes[input] = tuple(tuple(shape) for shape in (min, opt, max))

    def _invalid(self) -> list[str]:
        """Give the inputs whose shapes are not in order."""
        return [
            name
            for name, (lower, best, upper) in self._shapes.items()
            if not all(a <= b <= c for a, b, c in zip(lower, best, upper, strict=False))
        ]

    def get_shape(self, input: str) -> list[Any]:
        return [self._simulation.module.Dims(shape) for shape in self._shapes.get(input, ())]

    @property
    def extra_memory_target(self) -> float:
        return self._extra

    @extra_memory_target.setter
    def extra_memory_target(self, value: float) -> None:
        self._extra = value

    def __bool__(self) -> bool:
        return not self._invalid()
