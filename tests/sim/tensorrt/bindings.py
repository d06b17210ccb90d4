"""The API by index: all that TensorRT 8.2 had, what 8.6 still has, and `execute_v2`, which stayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ContextBindings", "EngineBindings"]


class EngineBindings:
    """Of `ICudaEngine`. With several profiles the bindings repeat, once a profile."""

    _simulation: Any
    _tensors: dict[str, Any]
    _inputs: dict[str, Any]
    _dtypes: dict[str, Any]
    _static: dict[str, tuple[int, ...]]
    _profiles: list[Any]
    _range: Callable[[str, int], list[tuple[int, ...]]]

    @property
    def num_bindings(self) -> int:
        return len(self._tensors) * len(self._profiles)

    @property
    def max_batch_size(self) -> int:
        return 1

    @property
    def has_implicit_batch_dimension(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._tensors) * len(self._profiles)

    def __getitem__(self, item: Any) -> Any:
        names = list(self._tensors)
        if isinstance(item, str):
            return names.index(item) if item in names else -1
        if not 0 <= item < len(names) * len(self._profiles):
            raise IndexError
        return names[item % len(names)]

    def get_binding_name(self, index: int) -> str:
        return list(self._tensors)[index % len(self._tensors)]

    def get_binding_index(self, name: str) -> int:
        return list(self._tensors).index(name) if name in self._tensors else -1

    def _named(self, binding: Any) -> str:
        return binding if isinstance(binding, str) else list(self._tensors)[binding % len(self._tensors)]

    # A call on 8.6 arrives under either overload's own name.
    def binding_is_input(self, index: Any = None, name: str | None = None) -> bool:
        return self._named(name if index is None else index) in self._inputs

    def get_binding_shape(self, index: Any = None, name: str | None = None) -> Any:
        return self._simulation.module.Dims(self._static[self._named(name if index is None else index)])

    def get_binding_dtype(self, index: Any = None, name: str | None = None) -> Any:
        return self._dtypes[self._named(name if index is None else index)]

    def get_profile_shape(self, profile_index: int, binding: Any) -> list[Any]:
        shapes = self._range(self._named(binding), profile_index)
        return [self._simulation.module.Dims(shape) for shape in shapes]


class ContextBindings:
    """Of `IExecutionContext`."""

    _simulation: Any
    _engine_: Any
    _refuse: Callable[[str, str], bool]
    _shape: Callable[[str], tuple[int, ...]]
    set_input_shape: Callable[[str, Any], bool]
    set_tensor_address: Callable[[str, int], bool]
    execute_async_v3: Callable[[int], bool]

    def set_binding_shape(self, binding: int, shape: Any) -> bool:
        return self.set_input_shape(self._engine_._named(binding), shape)

    def get_binding_shape(self, binding: int) -> Any:
        return self._simulation.module.Dims(self._shape(self._engine_._named(binding)))

    def execute_async_v2(self, bindings: list[int], stream_handle: int, input_consumed: Any = None) -> bool:
        names = list(self._engine_._tensors)
        if len(bindings) < len(names):
            return self._refuse("enqueueV2", f"{len(names)} bindings expected, {len(bindings)} given")
        for name, address in zip(names, bindings, strict=False):
            if not self.set_tensor_address(name, address):
                return False
        return self.execute_async_v3(stream_handle)

    def execute_v2(self, bindings: list[int]) -> bool:
        queued = ContextBindings.execute_async_v2(self, bindings, 0)
        return queued and bool(self._simulation.device.synchronize(0))
