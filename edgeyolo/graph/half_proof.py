"""Does the FP16 form of a graph still compute what the FP32 form does? Both run on ONNX Runtime.

Owns the pictures-like inputs and the measure. FP16 rounds every value, so two numbers are compared: the root
mean square of the difference and the spread of the output. Refuses to compare bit by bit
(`edgeyolo.graph.compare`).

Q/DQ pairs are bypassed in both: an int8 step flips at the boundary of two steps, whichever way the last bit
falls, and says nothing about the rewriting. ONNX Runtime's processor kernels are FP32 and it drops the Casts
that it puts around them, so every FP16 tensor is rounded by a pair of Casts of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeyolo.errors import GraphError, MismatchError
from edgeyolo.graph.tensor_types import shell_of, tensor_types
from edgeyolo.optional import require
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["TOLERANCE", "Closeness", "prove_half"]

# Measured on yolov3-tiny (made-up weights), Yolo-Fastest and YOLOX-Nano (real ones): at most 6.2e-3. With an
# eighth of one middle layer's channels lost the same models give 8.5e-2 and more.
TOLERANCE = 2e-2
# A score that moves by a thousandth moves no box over a threshold: outputs near 0 are judged by it.
_LEAST_SPREAD = 1e-3
_SIDE, _BATCH, _RANK = 320, 2, 4  # where a model leaves size or batch open
_CELLS = 8  # of the coarse picture under the noise


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How close one output of two models is.

    Args:
        output: Name of the output.
        error: Root mean square of the difference over the output's standard deviation.
        largest: Largest difference of one value, in the output's own unit.
    """

    output: str
    error: float
    largest: float


def prove_half(
    reference: onnx.ModelProto, half: onnx.ModelProto, *, runs: int = 2, tolerance: float = TOLERANCE
) -> tuple[Closeness, ...]:
    """Run both models on the same inputs and compare every output.

    Args:
        reference: The FP32 form.
        half: The FP16 form; its inputs and outputs are FP32 too.
        runs: How many different inputs.
        tolerance: Largest `Closeness.error`.

    Raises:
        MismatchError: An output lies further apart, or is not finite where the FP32 one is.
        GraphError: ONNX Runtime cannot run one of them.
    """
    names = [value.name for value in reference.graph.output]
    inputs = [_inputs(reference, seed) for seed in range(runs)]
    expected = _run(_without_pairs(reference), names, inputs)
    found = _run(_rounded(_without_pairs(half)), names, inputs)
    _run(half, names, inputs[:1])  # what is shipped must load and run, too
    closeness = [_closeness(name, a, b) for name, a, b in zip(names, expected, found, strict=True)]
    for item in closeness:
        if not item.error <= tolerance:
            raise MismatchError(
                f"output {item.output}: in FP16 it differs from FP32 by {item.error:.1e} of its spread, "
                f"at most {tolerance:.1e} expected (largest difference {item.largest:.3g}); an activation "
                "beyond 65504 is the likely cause",
                hint="--precision fp32, or int8, which needs no FP16 range in its layers",
            )
    return tuple(closeness)


def _inputs(model: onnx.ModelProto, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Make a coarse picture with noise, in the range that the model's preprocess spec gives."""
    constants = {tensor.name for tensor in model.graph.initializer}
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    rng = np.random.default_rng(seed)
    inputs = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shape = [size or (_BATCH if axis == 0 else _SIDE) for axis, size in enumerate(dims)]
        tensor = rng.random(shape, np.float32)
        if len(shape) == _RANK:
            coarse = rng.random((*shape[:2], _CELLS, _CELLS), np.float32)
            steps = [-(-side // _CELLS) for side in shape[2:]]
            whole = coarse.repeat(steps[0], axis=2).repeat(steps[1], axis=3)[:, :, : shape[2], : shape[3]]
            tensor = np.float32(0.75) * whole + np.float32(0.25) * tensor
            if spec is not None and value.name == spec.input_name:
                p = spec.preprocess
                mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (p.mean, p.std))
                tensor = ((tensor * 255 * p.scale - mean) / std).astype(np.float32)
        inputs[value.name] = tensor
    return inputs


def _run(
    model: onnx.ModelProto, names: list[str], inputs: list[dict[str, npt.NDArray[np.float32]]]
) -> list[npt.NDArray[np.float64]]:
    """Give every output, all runs stacked."""
    ort: Any = require("onnxruntime", why="to prove the FP16 form of a graph")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Rewriting is what is under test: ONNX Runtime's own would take Casts out.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results = [session.run(names, item) for item in inputs]
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise GraphError(f"ONNX Runtime cannot run the model in FP16 or FP32: {exc}") from exc
    return [np.stack([run[at] for run in results]).astype(np.float64) for at in range(len(names))]


def _closeness(name: str, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Closeness:
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
        error = float(np.sqrt(np.mean(gap**2)) / (a.std() + _LEAST_SPREAD))
    return Closeness(output=name, error=error, largest=float(gap.max(initial=0.0)))


def _without_pairs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model with every Q/DQ pair bypassed."""
    made = {node.output[0]: node for node in model.graph.node}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        quantize = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is not None and quantize.op_type == "QuantizeLinear":
            renamed[node.output[0]] = quantize.input[0]
    if not renamed:
        return model
    copy = shell_of(model)
    copy.graph.initializer.extend(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" or node.output[0] in renamed:
            continue
        copy.graph.node.append(node)
        for slot, name in enumerate(node.input):
            copy.graph.node[-1].input[slot] = _follow(name, renamed)
    return copy


def _rounded(half: onnx.ModelProto) -> onnx.ModelProto:
    """Write an FP16 model in FP32 with every FP16 tensor rounded to FP16."""
    onnx = require("onnx", why="to prove the FP16 form of a graph")
    full, fp16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    constants = {tensor.name for tensor in half.graph.initializer}
    rounded = {name for name, kind in tensor_types(half).items() if kind == fp16} - constants
    copy = shell_of(half)
    for tensor in half.graph.initializer:
        if tensor.data_type == fp16:
            value = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            copy.graph.initializer.append(onnx.numpy_helper.from_array(value, tensor.name))
        else:
            copy.graph.initializer.append(tensor)
    make = onnx.helper.make_node
    for node in half.graph.node:
        made = type(node)()
        made.CopyFrom(node)
        if node.op_type == "Cast" and onnx.helper.get_node_attr_value(node, "to") in (full, fp16):
            made.op_type = "Identity"
            del made.attribute[:]
        rounding = []
        for slot, name in enumerate(node.output):
            if name in rounded:
                made.output[slot] = f"{name}_unrounded"
                rounding.append(make("Cast", [f"{name}_unrounded"], [f"{name}_half"], to=fp16))
                rounding.append(make("Cast", [f"{name}_half"], [name], to=full))
        copy.graph.node.extend([made, *rounding])
    return copy


def _follow(name: str, renamed: Mapping[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name
