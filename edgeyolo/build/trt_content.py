"""Whether a graph is of the kind that a precision needs in a TensorRT release.

Owns the refusals that need the graph and the release alone. Refuses to change a graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.build.trt_options import strongly_typed
from edgeyolo.errors import PrecisionError
from edgeyolo.optional import require
from edgeyolo.spec import Precision

if TYPE_CHECKING:
    import onnx

__all__ = ["check_content"]


def check_content(
    model: onnx.ModelProto, path: Path, precision: Precision, version: tuple[int, ...], *, implicit: bool
) -> None:
    """Refuse a graph that cannot become an engine of a precision.

    Args:
        model: The graph.
        path: Its file, for messages.
        precision: What was asked for.
        version: TensorRT's.
        implicit: INT8 is asked of TensorRT's calibrator and not of Q/DQ nodes.

    Raises:
        PrecisionError: Graph, release and precision do not go together.
    """
    types = require("onnx", why="to build a TensorRT engine").TensorProto
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    half = any(tensor.data_type == types.FLOAT16 for tensor in model.graph.initializer)
    name = f"TensorRT {'.'.join(map(str, version))}"
    if implicit and version >= (11,):
        raise PrecisionError(
            f"{name} has no implicit INT8: it is Q/DQ nodes from version 11 on",
            hint="leave --implicit and --calibrate-on-device out; --calibration DIR gives the Q/DQ graph",
        )
    if implicit and (precision != "int8" or quantized):
        found = "Q/DQ nodes in the graph" if quantized else f"--precision {precision}"
        raise PrecisionError(f"implicit INT8 goes with --precision int8 and a float graph; {found} found")
    if precision == "int8" and not quantized and not implicit:
        raise PrecisionError(
            f"{path}: int8 was asked for, and no tensor of the graph is quantised: no QuantizeLinear node",
            hint=f"edgeyolo calibrate {path} IMAGES -o DIR, then add --calibration DIR",
        )
    if precision != "int8" and quantized:
        raise PrecisionError(
            f"{path}: {precision} was asked for, and the graph is quantized", hint="--precision int8"
        )
    if precision == "fp32" and half:
        raise PrecisionError(f"{path}: fp32 was asked for, and the graph has FP16 weights")
    if precision == "fp16" and strongly_typed(version, implicit=implicit) and not half:
        raise PrecisionError(
            f"{path}: fp16 was asked for; {name} takes types from the graph, which has no FP16 weights"
        )
