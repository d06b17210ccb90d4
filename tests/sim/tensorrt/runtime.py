"""The runtime, the engine, and what they say of themselves."""

from __future__ import annotations

from typing import Any

import onnx

from tests.sim.tensorrt.basics import host_memory, numpy_dtype
from tests.sim.tensorrt.bindings import EngineBindings
from tests.sim.tensorrt.builder import refuse_without_cuda
from tests.sim.tensorrt.network import data_type
from tests.sim.tensorrt.onnx_graph import static_shape
from tests.sim.tensorrt.plan import Plan, PlanError
from tests.sim.tensorrt.pybind import kept
from tests.sim.tensorrt.refusals import dla_cores

__all__ = ["CudaEngine", "Runtime"]


class Runtime:
    """`Runtime`."""

    _simulation: Any

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._dla_core = -1
        self._max_threads = 1
        self._host_code = False
        self._simulation.adopt(self, logger, "createInferRuntime")
        refuse_without_cuda(self._simulation, logger)

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def num_DLA_cores(self) -> int:
        return dla_cores(self._simulation)

    DLA_core = kept("_dla_core")

    max_threads = kept("_max_threads")

    engine_host_code_allowed = kept("_host_code")

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        simulation = self._simulation
        try:
            plan = Plan.from_bytes(bytes(serialized_engine))
            plan.check(simulation.version, simulation.compute_capability)
            if plan.facts["version_compatible"] and not self._host_code:
                raise PlanError(
                    "Error Code 4: API Usage Error (Deserializing a version compatible engine needs "
                    "IRuntime::setEngineHostCodeAllowed(true))"
                )
        except PlanError as exc:
            simulation.log(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: {exc}")
            return None
        if plan.facts["gpu"] != simulation.board.name:
            text = (
                "Using an engine plan file across different models of devices is not recommended and is "
                "likely to affect performance or even cause errors."
            )
            simulation.log(self._logger, "WARNING", text)
        return simulation.new("ICudaEngine", plan=plan, logger=self._logger, runtime=self)


class CudaEngine(EngineBindings):
    """`ICudaEngine`: the plan's model in an ONNX Runtime session of one thread."""

    _simulation: Any
    _plan: Plan
    _logger: Any
    _runtime: Any

    def _made(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(self._plan.onnx, options, ["CPUExecutionProvider"])
        graph = onnx.load_model_from_string(self._plan.onnx).graph
        constants = {tensor.name for tensor in graph.initializer}
        self._inputs = {value.name: value for value in graph.input if value.name not in constants}
        self._outputs = {value.name: value for value in graph.output}
        self._tensors = {**self._inputs, **self._outputs}
        self._dtypes = {
            name: data_type(self._simulation, value.type.tensor_type.elem_type)
            for name, value in self._tensors.items()
        }
        self._profiles = self._plan.facts["profiles"] or [{}]
        self._static = {name: static_shape(value) for name, value in self._tensors.items()}
        self._profile_users = [0] * len(self._profiles)

    # ---- tensors by name -----------------------------------------------------------------------------------

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        if not 0 <= index < len(self._tensors):
            self._refuse("getIOTensorName", f"index {index} is out of range")
            return ""
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        members = self._simulation.module.TensorIOMode
        if name not in self._tensors:
            self._refuse("getTensorIOMode", f"invalid tensor name {name}")
            return members.NONE
        return members.INPUT if name in self._inputs else members.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        if name not in self._tensors:
            self._refuse("getTensorDataType", f"invalid tensor name {name}")
            return self._simulation.module.DataType.FLOAT
        return self._dtypes[name]

    def get_tensor_shape(self, name: str) -> Any:
        if name not in self._tensors:
            self._refuse("getTensorShape", f"invalid tensor name {name}")
            return self._simulation.module.Dims([])
        return self._simulation.module.Dims(self._static[name])

    def get_tensor_location(self, name: str) -> Any:
        return self._simulation.module.TensorLocation.DEVICE

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        kinds = {"FLOAT": "FP32", "HALF": "FP16"}
        kind = self._dtypes[name].name
        return f"Row major linear {kinds.get(kind, kind)} format (kLINEAR)"

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        return numpy_dtype(self._dtypes[name]).itemsize

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        return 1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        return -1

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        if name not in self._inputs or not 0 <= profile_index < len(self._profiles):
            self._refuse("getProfileShape", f"no profile {profile_index} of input {name}")
            return []
        return [self._simulation.module.Dims(shape) for shape in self._range(name, profile_index)]

    def _range(self, name: str, profile: int) -> list[tuple[int, ...]]:
        given = self._profiles[profile].get(name)
        return [tuple(shape) for shape in given] if given else [self._static[name]] * 3

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def _take_profile(self, index: int) -> bool:
        """Give a profile to a context: before 10 one of dynamic shapes serves one context at a time."""
        dynamic = any(-1 in self._static[name] for name in self._inputs)
        if self._simulation.version < (10,) and dynamic and self._profile_users[index]:
            return False
        self._profile_users[index] += 1
        return True

    def _first_free_profile(self) -> int:
        """Give profile 0 to the first context; a later one has none where profiles are not shared."""
        return 0 if self._take_profile(0) else -1

    # ---- the engine ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return str(self._plan.facts["name"])

    @property
    def num_layers(self) -> int:
        return len(self._plan.facts["layers"])

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    @property
    def num_aux_streams(self) -> int:
        return 0

    @property
    def device_memory_size(self) -> int:
        return int(self._plan.facts["scratch"])

    @property
    def device_memory_size_v2(self) -> int:
        return int(self._plan.facts["scratch"])

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return int(self._plan.facts["scratch"])

    @property
    def refittable(self) -> bool:
        return False

    @property
    def engine_capability(self) -> Any:
        return self._simulation.module.EngineCapability.STANDARD

    @property
    def profiling_verbosity(self) -> Any:
        members = self._simulation.module.ProfilingVerbosity.__members__
        return members[self._plan.facts["profiling_verbosity"]]

    @property
    def hardware_compatibility_level(self) -> Any:
        members = self._simulation.module.HardwareCompatibilityLevel.__members__
        return members[self._plan.facts["hardware_compatibility_level"]]

    def serialize(self) -> Any:
        return host_memory(self._simulation, self._plan.to_bytes())

    def create_engine_inspector(self) -> Any:
        return self._simulation.new("EngineInspector", engine=self)

    def create_execution_context(self, strategy: Any = None, runtime_config: Any = None) -> Any:
        """Take the scratch memory; stricter than the real one, which makes the primary context current."""
        simulation, size = self._simulation, int(self._plan.facts["scratch"])
        if not simulation.device.current():
            simulation.misuse.append("create_execution_context: no CUDA context is current in this thread")
            self._refuse("createExecutionContext", "Error Code 1: Cuda Runtime (invalid device context)")
            return None
        own = strategy is None or strategy.name == "STATIC"
        scratch = simulation.device.allocate(size) if own else 0
        if own and not scratch:
            text = f"Requested amount of GPU memory ({size} bytes) could not be allocated."
            simulation.log(self._logger, "ERROR", text)
            self._refuse(
                "createExecutionContext", f"Error Code 2: OutOfMemory (Requested size was {size} bytes.)"
            )
            return None
        return simulation.new("IExecutionContext", engine_=self, scratch=scratch, logger=self._logger)

    def _refuse(self, call: str, text: str) -> None:
        self._simulation.log(self._logger, "ERROR", f"ICudaEngine::{call}: {text}")
