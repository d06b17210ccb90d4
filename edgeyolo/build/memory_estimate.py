"""How much memory a graph asks for: counted from its weights and the tensors that live at the same time.

Owns the count. It says nothing of what CUDA and TensorRT take for themselves, nor of a builder's scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["MemoryEstimate", "estimate_memory"]

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory of one execution context, MiB.

    Args:
        weights_mib: All constants, as the graph holds them.
        activations_mib: The largest sum of tensors that live at the same time, at batch 1 where it is open.
    """

    weights_mib: float
    activations_mib: float


def estimate_memory(model: onnx.ModelProto) -> MemoryEstimate:
    """Count the memory of a model.

    Args:
        model: A model with its weights; tensors whose shape cannot be inferred are not counted.

    Returns:
        What weights and activations need, each in the graph's own types.
    """
    onnx = require("onnx", why="to infer the shapes of a model")
    sizes = _tensor_bytes(onnx.shape_inference.infer_shapes(model))
    constants = {tensor.name for tensor in model.graph.initializer}
    dies = {name: at for at, node in enumerate(model.graph.node) for name in node.input}
    last = len(model.graph.node)
    dies.update({value.name: last for value in model.graph.output})
    live = {
        value.name: sizes.get(value.name, 0) for value in model.graph.input if value.name not in constants
    }
    peak = sum(live.values())
    for at, node in enumerate(model.graph.node):
        live.update({name: sizes.get(name, 0) for name in node.output})
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if dies.get(name, -1) > at}
    weights = sum(tensor.ByteSize() for tensor in model.graph.initializer)
    return MemoryEstimate(weights_mib=weights / _MIB, activations_mib=peak / _MIB)


def _tensor_bytes(model: onnx.ModelProto) -> dict[str, int]:
    helper = require("onnx.helper", why="to know the size of a type")
    found = {}
    for group in (model.graph.value_info, model.graph.input, model.graph.output):
        for value in group:
            tensor = value.type.tensor_type
            if not tensor.elem_type:
                continue
            count = 1
            for dim in tensor.shape.dim:
                count *= max(dim.dim_value, 1)
            found[value.name] = count * int(helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
    return found
