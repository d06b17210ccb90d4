"""A float graph, or the rest of an INT8 graph, becomes FP16 in the graph itself.

TensorRT from 10.12 on computes in the types that the graph has, so FP16 is asked for by writing it there.
Owns the rewriting and its proof on ONNX Runtime: input and outputs keep names, shapes and FP32. Refuses to
choose the nodes (`edgeyolo.graph.half_plan`).

Q/DQ pairs get FP16 scales with FP16 data (QuantizeLinear-19): a Cast between DequantizeLinear and Conv would
keep TensorRT from fusing the two.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import GraphError
from edgeyolo.graph.half_plan import FP32_INPUTS, HalfPlan, half_plan
from edgeyolo.graph.half_proof import TOLERANCE, Closeness, prove_half
from edgeyolo.graph.tensor_types import shell_of, tensor_types
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["HalfReport", "half_model"]

_FIRST_HALF_QDQ_OPSET = 19  # QuantizeLinear-19 brought FP16 data and scales
_LEAST_NORMAL = float(np.finfo(np.float16).tiny)  # 6.1e-5: below it FP16 loses digits, then becomes 0
_QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, kw_only=True)
class HalfReport:
    """What became of a graph.

    Args:
        plan: Which nodes compute in FP16, and why the others do not.
        raised_scales: Q/DQ scales below FP16's normal numbers, raised to the least of them.
        closeness: How close the outputs are to those of the FP32 graph.
    """

    plan: HalfPlan
    raised_scales: int
    closeness: tuple[Closeness, ...]


def half_model(
    model: onnx.ModelProto, *, keep: Collection[str] = (), runs: int = 2, tolerance: float = TOLERANCE
) -> tuple[onnx.ModelProto, HalfReport]:
    """Write the FP16 form of a model and prove it.

    Args:
        model: A float model or one with Q/DQ nodes; not changed.
        keep: Names of nodes that shall stay in FP32.
        runs: Inputs of the proof.
        tolerance: Largest difference that it allows, as a part of an output's spread.

    Returns:
        The new model with the metadata of the old one, and what became of it.

    Raises:
        GraphError: The model is FP16 already, or has no node that FP16 serves.
        MismatchError: The FP16 form computes something else, most likely because an activation overflows.
    """
    source = _with_opset(model)
    plan = half_plan(source, keep=keep)
    _check(model, plan)
    writer = _Writer(source, plan)
    half = writer.model()
    closeness = prove_half(model, half, runs=runs, tolerance=tolerance)
    return half, HalfReport(plan=plan, raised_scales=writer.raised_scales, closeness=closeness)


def _check(model: onnx.ModelProto, plan: HalfPlan) -> None:
    types = require("onnx", why="to read a model's types").TensorProto
    if any(tensor.data_type == types.FLOAT16 for tensor in model.graph.initializer):
        raise GraphError(
            "an FP32 model expected, FP16 weights found", hint="give the model as it was converted"
        )
    if not plan.half:
        raise GraphError("the model has no layer with weights: FP16 has nothing to serve")


def _with_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Raise the opset of a Q/DQ model to the first in which a pair may be FP16."""
    opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if opset >= _FIRST_HALF_QDQ_OPSET or not any(node.op_type in _QDQ for node in model.graph.node):
        return model
    converter = require("onnx.version_converter", why="to raise a model's opset")
    try:
        raised: onnx.ModelProto = converter.convert_version(model, _FIRST_HALF_QDQ_OPSET)
    except Exception as exc:  # the converter raises RuntimeError and its own kinds
        raise GraphError(
            f"INT8 with FP16 needs opset {_FIRST_HALF_QDQ_OPSET}, and onnx cannot raise {opset}: {exc}",
            hint=f"convert or export the model with opset {_FIRST_HALF_QDQ_OPSET}",
        ) from exc
    del raised.metadata_props[:]
    raised.metadata_props.extend(model.metadata_props)
    return raised


class _Writer:
    """Writes the graph anew: constants of FP16 nodes in FP16, one Cast where a tensor changes its type."""

    def __init__(self, source: onnx.ModelProto, plan: HalfPlan) -> None:
        proto = require("onnx", why="to write an FP16 graph").TensorProto
        self._helper: Any = require("onnx.helper", why="to write an FP16 graph")
        self._numpy_helper: Any = require("onnx.numpy_helper", why="to write an FP16 graph")
        self._types: Any = proto
        self._source, self._plan = source, plan
        self._constants = {tensor.name: tensor for tensor in source.graph.initializer}
        self._floats = {name for name, kind in tensor_types(source).items() if kind == proto.FLOAT}
        self._is_half: set[str] = set()  # tensors that an FP16 node made
        self._cast: dict[tuple[str, bool], str] = {}  # (tensor, to half) -> its other form
        self._new_constants: dict[str, Any] = {}
        self._nodes: list[onnx.NodeProto] = []
        self.raised_scales = 0

    def model(self) -> onnx.ModelProto:
        """Give the new model."""
        for index, node in enumerate(self._source.graph.node):
            self._add(node, half=index in self._plan.half)
        self._restore_outputs()
        new = shell_of(self._source)
        new.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._source.graph.initializer if tensor.name in read]
        new.graph.initializer.extend([*kept, *self._new_constants.values()])
        return new

    def _add(self, node: onnx.NodeProto, *, half: bool) -> None:
        copy = type(node)()
        copy.CopyFrom(node)
        fixed = FP32_INPUTS.get(node.op_type, ())
        for slot, name in enumerate(node.input):
            if name in self._floats:
                copy.input[slot] = self._as(name, half=half and slot not in fixed, node=node, slot=slot)
        self._nodes.append(copy)
        if half:
            self._is_half.update(name for name in node.output if name in self._floats)

    def _as(self, name: str, *, half: bool, node: onnx.NodeProto, slot: int) -> str:
        """Give the name under which a float tensor has the type that a node wants."""
        if name in self._constants:
            scale = node.op_type in _QDQ and slot == 1
            return self._half_constant(name, scale=scale) if half else name
        if (name in self._is_half) == half:
            return name
        if (name, half) not in self._cast:
            to = self._types.FLOAT16 if half else self._types.FLOAT
            made = f"{name}_{'fp16' if half else 'fp32'}"
            self._nodes.append(self._helper.make_node("Cast", [name], [made], name=made, to=to))
            self._cast[name, half] = made
        return self._cast[name, half]

    def _half_constant(self, name: str, *, scale: bool) -> str:
        made = f"{name}_fp16"
        if made not in self._new_constants:
            value = self._numpy_helper.to_array(self._constants[name])
            if scale:
                self.raised_scales += int((value < _LEAST_NORMAL).sum())
                value = np.maximum(value, _LEAST_NORMAL)
            self._new_constants[made] = self._numpy_helper.from_array(value.astype(np.float16), made)
        return made

    def _restore_outputs(self) -> None:
        """Cast an output that became FP16 back, under its own name."""
        for output in (value.name for value in self._source.graph.output):
            if output not in self._is_half:
                continue
            inner = f"{output}_fp16_inner"
            for node in self._nodes:
                for names in (node.input, node.output):
                    for slot, name in enumerate(names):
                        if name == output:
                            names[slot] = inner
            self._nodes = [node for node in self._nodes if output not in node.output]
            to = self._types.FLOAT
            self._nodes.append(
                self._helper.make_node("Cast", [inner], [output], name=f"{output}_fp32", to=to)
            )
