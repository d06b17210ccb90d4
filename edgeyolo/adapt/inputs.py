"""The input of a foreign graph, made into the one of the contract: float32 ``[B, 3, H, W]`` of a fixed size.

Owns the size (``--size``), the Cast behind an FP16 or uint8 input, and the extra inputs of exporters that
give boxes in pixels of the photograph. Refuses what is no picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.adapt.view import open_inputs
from edgeyolo.errors import GraphError
from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["has_open_size", "open_picture_input", "takes_bytes"]

_PICTURE = "images"


def open_picture_input(model: onnx.ModelProto, size_wh: tuple[int, int] | None) -> list[str]:
    """Make the picture the only input, float32 and of a fixed size, in place.

    Args:
        model: The foreign model.
        size_wh: Network input, pixels; None keeps the model's.

    Returns:
        What was done, for the user.

    Raises:
        GraphError: No input is a picture, or its size is open and was not given, or is another.
    """
    notes = [*_close_extra_inputs(model, size_wh), *_fix_size(model, size_wh)]
    notes += _make_float(model)
    return notes


def has_open_size(model: onnx.ModelProto) -> bool:
    """Say whether the height or the width of the picture is not fixed."""
    return not all(dim.dim_value for dim in _picture(model).type.tensor_type.shape.dim[2:])


def takes_bytes(model: onnx.ModelProto) -> bool:
    """Say whether the picture goes in as pixels of 0 to 255, so that the graph scales them itself."""
    onnx = require("onnx", why="to read an ONNX model")
    return any(item.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for item in open_inputs(model))


def _picture(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    inputs = open_inputs(model)
    pictures = [item for item in inputs if len(item.type.tensor_type.shape.dim) == 4]
    if len(pictures) != 1:
        found = ", ".join(f"{item.name!r} {_dims(item)}" for item in inputs) or "none"
        raise GraphError(f"one picture [B,3,H,W] as input expected, found {found}")
    channels = pictures[0].type.tensor_type.shape.dim[1]
    if channels.dim_value not in (0, 3):
        raise GraphError(
            f"a picture [B,3,H,W] as input expected, {pictures[0].name!r} {_dims(pictures[0])} found",
            hint="export with channels first (NCHW) and three channels",
        )
    channels.dim_value = 3
    return pictures[0]


def _dims(item: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param or "?" for dim in item.type.tensor_type.shape.dim]


def _fix_size(model: onnx.ModelProto, size_wh: tuple[int, int] | None) -> list[str]:
    item = _picture(model)
    height, width = item.type.tensor_type.shape.dim[2:]
    if height.dim_value and width.dim_value:
        found = (width.dim_value, height.dim_value)
        if size_wh not in (None, found):
            raise GraphError(
                f"input {item.name!r} is {found[0]}x{found[1]} in the graph, {size_wh[0]}x{size_wh[1]} asked",
                hint="leave --size out, or export the model again in that size",
            )
        return []
    if size_wh is None:
        raise GraphError(
            f"input {item.name!r} {_dims(item)}: its height and width are open, and an engine has fixed ones",
            hint="--size 640, or the size that the model was trained in",
        )
    width.dim_value, height.dim_value = size_wh
    # What was inferred for any size contradicts the fixed one by name.
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim[1:]:
            dim.Clear()
    return [f"input {item.name!r} is fixed to {size_wh[0]}x{size_wh[1]}"]


def _make_float(model: onnx.ModelProto) -> list[str]:
    """Put a Cast behind an input of another type than float32."""
    onnx = require("onnx", why="to write an ONNX model")
    item = _picture(model)
    tensor_type = item.type.tensor_type
    if tensor_type.elem_type == onnx.TensorProto.FLOAT:
        return []
    known = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.UINT8: "uint8"}
    if tensor_type.elem_type not in known:
        name = onnx.TensorProto.DataType.Name(tensor_type.elem_type).lower()
        raise GraphError(f"input {item.name!r}: float32, float16 or uint8 expected, {name} found")
    old = item.name
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    item.name = _PICTURE if _PICTURE not in taken else f"{old}_float32"
    cast = onnx.helper.make_node(
        "Cast", [item.name], [old], name=f"edgeyolo_{old}_cast", to=tensor_type.elem_type
    )
    found, tensor_type.elem_type = known[tensor_type.elem_type], onnx.TensorProto.FLOAT
    model.graph.node.insert(0, cast)
    return [f"input {old!r} is {found} in the graph: {item.name!r} float32 and a Cast are put before it"]


def _close_extra_inputs(model: onnx.ModelProto, size_wh: tuple[int, int] | None) -> list[str]:
    """Give inputs that scale boxes to the photograph the value that keeps them in network pixels."""
    numpy_helper = require("onnx.numpy_helper", why="to write an ONNX model")
    picture = _picture(model)
    height, width = (dim.dim_value for dim in picture.type.tensor_type.shape.dim[2:])
    wh = size_wh or (width, height)
    notes = []
    for item in open_inputs(model):
        if item.name == picture.name:
            continue
        value = _value_of(item, wh)
        model.graph.initializer.append(numpy_helper.from_array(value, item.name))
        model.graph.input.remove(item)
        notes.append(
            f"input {item.name!r} is assumed to be {value.ravel().tolist()}: boxes in network pixels"
        )
    return notes


def _value_of(item: onnx.ValueInfoProto, wh: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Give factors of 1 for Paddle's ``scale_factor``, the network's size for the other two in use."""
    onnx = require("onnx", why="to read an ONNX model")
    dims, kind = _dims(item), item.type.tensor_type.elem_type
    if len(dims) != 2 or dims[1] != 2:
        raise GraphError(
            f"inputs other than the picture are sizes or factors [B,2], {item.name!r} {dims} found"
        )
    if kind in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        return np.array([wh], np.int64 if kind == onnx.TensorProto.INT64 else np.int32)
    if "shape" in item.name or "size" in item.name:
        return np.array([wh[::-1]], np.float32)
    return np.ones((1, 2), np.float32)
