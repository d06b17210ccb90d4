"""Split nodes become Slice nodes: the same numbers, one node an output.

TensorRT's parser makes several layers of a Split and invents the names of all but the first, so a command
line that names layers cannot reach them. A Slice is one layer with the node's own name. Owns the rewriting.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.graph.tensor_types import tensor_shapes
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["slices_from_splits"]


def slices_from_splits(model: onnx.ModelProto, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Replace some Split nodes of a model, in place.

    Args:
        model: Any model of opset 10 or newer; it is changed.
        names: Names of nodes; those that are Splits into parts of known size are replaced.

    Returns:
        Name of each node that was replaced to the names of its slices.
    """
    shapes = tensor_shapes(model)
    taken = {node.name for node in model.graph.node}
    nodes: list[onnx.NodeProto] = []
    replaced: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        parts = _parts(node, shapes) if node.op_type == "Split" and node.name in names else None
        if parts is None:
            nodes.append(node)
            continue
        slices = [_slice(model, node, part, bounds, taken) for part, bounds in enumerate(parts)]
        replaced[node.name] = tuple(made.name for made in slices)
        nodes += slices
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return replaced


def _parts(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> list[tuple[int, int, int]] | None:
    """Give axis, begin and end of each output; None where a size is not known."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    found, begin = [], 0
    for output in node.output:
        shape = shapes.get(output, ())
        if not -len(shape) <= axis < len(shape) or shape[axis] < 1:
            return None
        found.append((axis, begin, begin + shape[axis]))
        begin += shape[axis]
    return found


def _slice(
    model: onnx.ModelProto, node: onnx.NodeProto, part: int, bounds: tuple[int, int, int], taken: set[str]
) -> onnx.NodeProto:
    helper = require("onnx.helper", why="to write nodes")
    from_array = require("onnx.numpy_helper", why="to write constants").from_array
    name = f"{node.name}_{part}"
    while name in taken:
        name += "_"
    taken.add(name)
    axis, begin, end = (np.array([value], np.int64) for value in bounds)
    constants = {f"{name}_begin": begin, f"{name}_end": end, f"{name}_axis": axis}
    model.graph.initializer.extend(from_array(array, called) for called, array in constants.items())
    made: onnx.NodeProto = helper.make_node(
        "Slice", [node.input[0], *constants], [node.output[part]], name=name
    )
    return made
