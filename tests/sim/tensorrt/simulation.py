"""A module `tensorrt` of one generation, and the handle on it that a test holds.

Owns the assembly: which names there are, with which signatures and values, comes from ``surface/*.json``,
which was read out of NVIDIA's own wheels; what they do comes from the classes given. A real name without an
implementation raises `NotSimulatedError` when it is touched, so that ``hasattr`` never says a wrong no.
"""

from __future__ import annotations

import functools
import importlib.machinery
import json
import types
import weakref
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sim.tensorrt.board import Board
from tests.sim.tensorrt.device import Device
from tests.sim.tensorrt.pybind import Bound, NotSimulatedError, call_back, checked, enumeration, not_simulated

__all__ = ["FAILURES", "GENERATIONS", "Fault", "Simulation", "surface"]

GENERATIONS = ("8.6", "10.3", "10.13", "10.16", "11.4")
_SURFACES = Path(__file__).parent / "surface"
_OURS = ("__del__", "__repr__")  # of all the double underscores, what a class has without NVIDIA's naming it


@functools.cache
def surface(generation: str) -> Mapping[str, Any]:
    """Give what NVIDIA's bindings of a generation show: wheel, version, names."""
    found: Mapping[str, Any] = json.loads((_SURFACES / f"{generation}.json").read_text())
    return found


@dataclass
class Fault:
    """One call that fails when it is made for the n-th time, as the real one does.

    Args:
        call: ``Class.method``.
        nth: Counted from 1, from now on.
        lines: What the logger hears first, as (severity, text).
    """

    call: str
    nth: int
    lines: tuple[tuple[str, str], ...]


@dataclass(eq=False)
class Simulation:
    """What a test sets and sees; ``module.__simulation__``.

    Args:
        generation: One of `GENERATIONS`.
        device: Where memory and streams are.
        board: What TensorRT believes to run on; its SM gives way to the device's, where that knows one.
    """

    generation: str
    device: Device
    board: Board
    module: types.ModuleType = field(default_factory=lambda: types.ModuleType("tensorrt"))
    messages: list[tuple[str, str]] = field(default_factory=list)
    """Everything any logger was told: severity and text."""
    swallowed: list[BaseException] = field(default_factory=list)
    """Exceptions of callbacks that TensorRT printed and forgot."""
    misuse: list[str] = field(default_factory=list)
    """What the real library leaves undefined; a test ends with none."""
    workspace_needed: int = 1 << 20
    """Bytes a build's hungriest tactic wants from the workspace pool."""
    scratch: int = 1 << 20
    """Bytes of device memory an execution context takes."""
    builds: list[dict[str, Any]] = field(default_factory=list)
    """Of each plan that was built: its facts."""
    _faults: list[Fault] = field(default_factory=list)
    _loggers: list[tuple[weakref.ref[Any], Any]] = field(default_factory=list)
    _severity: Any = None
    _classes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, ...]:
        """The release, such as (10, 3, 0)."""
        return tuple(int(part) for part in self.module.__version__.split("."))

    @property
    def compute_capability(self) -> tuple[int, int]:
        """The SM of the machine."""
        return self.device.compute_capability() or self.board.compute_capability

    def fail(self, call: str, *lines: tuple[str, str], nth: int = 1) -> None:
        """Make a call fail once: it gives None, False or -1, whichever the real one gives.

        Args:
            call: A key of `FAILURES`.
            *lines: What the logger hears first, as (severity, text).
            nth: Counted from 1, from now on.
        """
        if call not in FAILURES:
            raise ValueError(f"{call}: one of {', '.join(FAILURES)} expected")
        self._faults.append(Fault(call, nth, lines))

    def log(self, logger: Any, severity: str, text: str) -> None:
        """Tell a logger, as the C++ side does: a `Logger` subclass's own `log` is not called."""
        self.messages.append((severity, text))
        level = self.module.ILogger.Severity.__members__[severity]
        if isinstance(logger, self.module.Logger):
            self.module.Logger.log(logger, level, text)
        else:
            call_back(logger, "log", level, text, otherwise=None, swallowed=self.swallowed)

    def adopt(self, owner: Any, logger: Any, call: str) -> None:
        """Note that a builder or runtime has a logger, and say where another one has another."""
        self._loggers = [pair for pair in self._loggers if pair[0]() is not None]
        if any(other is not logger for _, other in self._loggers):
            text = (
                f"The logger passed into {call} differs from one already provided for an existing builder, "
                "runtime, or refitter. Uses of the global logger, returned by nvinfer1::getLogger(), will "
                "return the existing value."
            )
            self.log(logger, "WARNING", text)
        self._loggers.append((weakref.ref(owner), logger))

    def new(self, name: str, **fields: Any) -> Any:
        """Make an object that only the library makes."""
        cls = getattr(self.module, name)
        made = cls.__new__(cls)
        made._constructed = True
        for key, value in fields.items():
            object.__setattr__(made, f"_{key}", value)
        if hasattr(made, "_made"):
            made._made()
        return made

    def due(self, call: str) -> Fault | None:
        """Count a call, and give the fault whose turn it is."""
        for fault in self._faults:
            if fault.call == call:
                fault.nth -= 1
                if fault.nth == 0:
                    self._faults.remove(fault)
                    return fault
        return None

    def assemble(self, implementations: Mapping[str, type], functions: Mapping[str, Any]) -> None:
        """Fill the module.

        Args:
            implementations: Name to class; what the generation does not have is left out.
            functions: Name to a maker of the module's function, which is given this simulation.
        """
        found, module = surface(self.generation), self.module
        module.__version__ = found["version"]
        module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        module.__simulation__ = self  # type: ignore[attr-defined]
        names = found["names"]
        enums = {name: _enumeration(name, value) for name, value in names.items() if _is_enum(value)}
        vars(module).update(enums)
        self._severity = _enumeration("Severity", names["ILogger"]["members"]["Severity"])
        self._classes = ChainMap({"Severity": self._severity}, vars(module))
        for name in sorted(names, key=lambda n: len(names[n].get("bases", ())) if _is_class(names[n]) else 0):
            value = names[name]
            if _is_class(value) and name in implementations:
                setattr(module, name, self._class(name, value, implementations[name]))
            elif isinstance(value, str) and value.startswith("= <"):
                owner, _, member = value[3:].split(":")[0].partition(".")
                if owner in enums:
                    setattr(module, name, enums[owner].__members__[member])
            elif name in functions:
                setattr(module, name, functions[name](self))

        def missing(name: str) -> Any:
            if name in names:
                raise NotSimulatedError(f"tensorrt.{name} is real, but the simulator does not have it")
            raise AttributeError(f"module 'tensorrt' has no attribute '{name}'")

        module.__getattr__ = missing  # type: ignore[method-assign]
        module.__all__ = [name for name in names if name in vars(module)]

    def _class(self, name: str, described: Mapping[str, Any], implementation: type) -> type:
        members = described["members"]
        namespace: dict[str, Any] = {"__module__": "tensorrt", "_simulation": self}
        source: dict[str, Any] = {}
        for base in reversed(implementation.__mro__[:-1]):
            source.update(vars(base))
        for key, value in source.items():
            ours = key in _OURS if key.startswith("__") else key.startswith("_")
            if ours and key not in members:
                namespace[key] = value
        for key, value in members.items():
            if key != "__init__":
                namespace[key] = self._member(name, key, value, source.get(key))
        namespace["__init__"] = self._constructor(name, members.get("__init__"), source.get("__init__"))
        bases = tuple(getattr(self.module, base) for base in described["bases"][:1]) or (Bound,)
        return type(Bound)(name, bases, namespace)

    def _member(self, owner: str, name: str, described: Any, source: Any) -> Any:
        if _is_enum(described):
            return self._severity  # the one enum inside a class
        if described == "none":
            return None
        if isinstance(described, str) and described.startswith("= <"):
            return self._severity.__members__[described.partition(".")[2].split(":")[0]]
        if source is None:
            return not_simulated(owner, name)
        if isinstance(source, property):
            return property(source.fget, source.fset if described.startswith("property") else None)
        if not described:  # bound in Python, without a signature to hold a call to
            return source
        call = f"{owner}.{name}"
        checked_call = checked(name, described, source, self._classes)
        return _fallible(self, call, checked_call) if call in FAILURES else checked_call

    def _constructor(self, name: str, signatures: list[str] | None, source: Any) -> Any:
        def refuse(made: Any, *_: Any, **__: Any) -> None:
            raise TypeError(f"tensorrt.{name}: No constructor defined!")

        if not signatures:
            return refuse
        call = checked("__init__", signatures, source or (lambda made: None), self._classes)

        def construct(made: Any, *args: Any, **kwargs: Any) -> None:
            object.__setattr__(made, "_constructed", True)
            call(made, *args, **kwargs)

        return construct


def _is_enum(value: Any) -> bool:
    return isinstance(value, dict) and "enum" in value


def _is_class(value: Any) -> bool:
    return isinstance(value, dict) and "members" in value and "enum" not in value


def _enumeration(name: str, described: Mapping[str, Any]) -> Any:
    cls = enumeration(name, described["enum"], ordered=described.get("ordered", False))
    if name == "DataType":
        cls.itemsize = property(lambda self: ITEM_SIZES.get(self.name))  # type: ignore[attr-defined]
    return cls


def _fallible(simulation: Simulation, call: str, function: Any) -> Any:
    def attempt(self: Any, *args: Any, **kwargs: Any) -> Any:
        if fault := simulation.due(call):
            for severity, text in fault.lines:
                simulation.log(self._logger, severity, text)
            return FAILURES[call]
        return function(self, *args, **kwargs)

    return attempt


ITEM_SIZES: Mapping[str, int | float] = {
    "FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1, "UINT8": 1, "FP8": 1,
    "INT4": 0.5, "FP4": 0.5, "E8M0": 1,
}  # fmt: skip

# What a call that can fail gives when it does.
FAILURES: Mapping[str, Any] = {
    "Builder.create_network": None,
    "Builder.create_builder_config": None,
    "Builder.create_optimization_profile": None,
    "Builder.build_serialized_network": None,
    "OnnxParser.parse": False,
    "OnnxParser.parse_from_file": False,
    "IBuilderConfig.add_optimization_profile": -1,
    "IBuilderConfig.create_timing_cache": None,
    "IBuilderConfig.set_timing_cache": False,
    "IBuilderConfig.get_timing_cache": None,
    "IBuilderConfig.set_calibration_profile": False,
    "ITimingCache.combine": False,
    "ITimingCache.serialize": None,
    "Runtime.deserialize_cuda_engine": None,
    "ICudaEngine.create_execution_context": None,
    "ICudaEngine.create_engine_inspector": None,
    "IExecutionContext.set_input_shape": False,
    "IExecutionContext.set_tensor_address": False,
    "IExecutionContext.set_optimization_profile_async": False,
    "IExecutionContext.execute_async_v3": False,
    "IExecutionContext.execute_v2": False,
    "IExecutionContext.report_to_profiler": False,
}
