"""Profiles and shapes of an execution context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from tests.sim.tensorrt.basics import numpy_dtype
from tests.sim.tensorrt.onnx_graph import static_shape
from tests.sim.tensorrt.pybind import NotSimulatedError

__all__ = ["UNKNOWN", "ContextShapes"]

UNKNOWN = -1


class ContextShapes:
    """Of `IExecutionContext`: which profile, which inputs, and what the outputs become."""

    _simulation: Any
    _engine_: Any
    _profile: int
    _shapes: dict[str, tuple[int, ...]]
    _resolved: dict[tuple[Any, ...], dict[str, tuple[int, ...]]]
    _refuse: Callable[[str, str], bool]

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @active_optimization_profile.setter
    def active_optimization_profile(self, value: int) -> None:
        ContextShapes.set_optimization_profile_async(self, value, 0)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < len(self._engine_._profiles):
            return self._refuse("setOptimizationProfileAsync", f"the engine has no profile {profile_index}")
        if profile_index != self._profile and not self._engine_._take_profile(profile_index):
            text = (
                f"Profile {profile_index} has been chosen for another IExecutionContext. Use another "
                "profileIndex or destroy the IExecutionContext that use this profile."
            )
            return self._refuse("setOptimizationProfileAsync", text)
        if self._profile not in (profile_index, -1):
            self._engine_._profile_users[self._profile] -= 1
        self._profile = profile_index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        if name not in self._engine_._inputs:
            return self._refuse(
                "setInputShape",
                f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()",
            )
        if self._profile < 0:
            return self._refuse(
                "setInputShape", "Error Code 3: API Usage Error (no optimization profile is set)"
            )
        lower, _, upper = self._engine_._range(name, self._profile)
        wanted = tuple(shape)
        if len(wanted) != len(lower) or not all(
            a <= s <= b for a, s, b in zip(lower, wanted, upper, strict=True)
        ):
            text = (
                f"Error Code 3: API Usage Error (Parameter check failed: the shape {list(wanted)} of {name} "
                f"is not within profile {self._profile}: {list(lower)} to {list(upper)})"
            )
            return self._refuse("setInputShape", text)
        self._shapes[name] = wanted
        return True

    def get_tensor_shape(self, name: str) -> Any:
        if name not in self._engine_._tensors:
            self._refuse("getTensorShape", f"Given invalid tensor name: {name}")
            return self._simulation.module.Dims([])
        return self._simulation.module.Dims(self._shape(name))

    def get_tensor_strides(self, name: str) -> Any:
        shape = self._shape(name)
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        return self._simulation.module.Dims(strides)

    def get_max_output_size(self, name: str) -> int:
        upper = {n: self._engine_._range(n, self._profile)[2] for n in self._engine_._inputs}
        shape = self._resolve(upper)[name]
        if UNKNOWN in shape:
            raise NotSimulatedError(f"the upper bound of {name}, whose shape depends on the data")
        return int(np.prod(shape)) * numpy_dtype(self._engine_._dtypes[name]).itemsize

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine_._inputs if UNKNOWN in self._shape(name)]

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not ContextShapes.infer_shapes(self)

    @property
    def all_shape_inputs_specified(self) -> bool:
        return True

    def _shape(self, name: str) -> tuple[int, ...]:
        if name in self._engine_._inputs:
            return self._shapes.get(name, self._engine_._static[name])
        shape = self._engine_._static[name]
        if UNKNOWN not in shape or ContextShapes.infer_shapes(self):
            return shape
        return self._resolve({n: self._shape(n) for n in self._engine_._inputs})[name]

    def _resolve(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Give the outputs' shapes for the inputs'; -1 is what depends on the data."""
        key = tuple(inputs.items())
        if key not in self._resolved:
            model = onnx.load_model_from_string(self._engine_._plan.onnx)
            for value in model.graph.input:
                if value.name in inputs:
                    for dim, size in zip(value.type.tensor_type.shape.dim, inputs[value.name], strict=True):
                        dim.dim_value = size
            for value in model.graph.output:
                value.type.tensor_type.ClearField("shape")
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
            self._resolved[key] = {value.name: static_shape(value) for value in inferred.output}
        return self._resolved[key]
