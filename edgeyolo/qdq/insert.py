"""A float model and its scales become the INT8 model of a target.

Owns the rewriting: weights, biases, Q/DQ nodes, their constants. The one form that every TensorRT from 8.5
to 11 loads: FP32 weight, QuantizeLinear, DequantizeLinear, per output channel, int8, zero point 0, FP32
scales, FP32 bias. Refuses to decide where a pair goes (`edgeyolo.qdq.placement`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeyolo.errors import CalibrationError, GraphError
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.grids import Grid, symmetric_grid, uint8_grids
from edgeyolo.qdq.offsets import model_with_offsets, without_offsets
from edgeyolo.qdq.placement import Pair, Target, float_layers_on, int8_layers, pairs_for
from edgeyolo.qdq.plan import Layer, QuantPlan, quant_plan
from edgeyolo.qdq.pools import with_pools_first
from edgeyolo.qdq.weights import adjusted_weights, weight_scale
from edgeyolo.scales import Scales

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["int8_model", "require_opset", "scale_name"]

_KEPT_ENTRIES = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")
_FIRST_PER_AXIS_OPSET = 13  # QuantizeLinear-13 brought `axis`


def scale_name(group: str) -> str:
    """Name the initializer that holds a group's scale."""
    return f"{group}_scale"


def int8_model(
    model: onnx.ModelProto, scales: Scales, target: Target, *, plan: QuantPlan | None = None
) -> onnx.ModelProto:
    """Write the Q/DQ form of a float model.

    Args:
        model: The float model that `scales` belong to; not changed.
        scales: From calibration.
        target: Whose placement.
        plan: `quant_plan` of the model, where the caller has it already.

    Returns:
        A new model with the metadata of the old one.

    Raises:
        GraphError: The model is quantised already, or its opset is below 13.
        CalibrationError: The input of a layer that is not to stay float has no scale.
    """
    require_opset(model)
    if scales.offsets and target == "tensorrt":
        whole = model_with_offsets(model, scales.offsets)
        plan = plan if whole is model else None
        model = whole
    view = GraphView(model)
    plan = plan or quant_plan(view)
    scales = dataclasses.replace(scales, float_layers=float_layers_on(target, plan, scales))
    if scales.offsets and target == "onnxruntime":
        scales = without_offsets(view, plan, scales)
    writer = _Writer(view, adjusted_weights(view, plan, scales))
    grids = _grids(view, plan, target, scales)
    group_of = plan.group_of
    layers = int8_layers(plan, target, scales)
    read = {layer.input for layer in layers}
    for pair in pairs_for(view, plan, target, layers):
        if pair.tensor in grids:
            writer.quantise(pair, group_of.get(pair.tensor, pair.tensor), grids[pair.tensor])
        elif pair.tensor in read:
            raise CalibrationError(
                f"tensor {pair.tensor!r} needs a scale and scales.json has none",
                hint="calibrate this model again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
            )
        # Else the scales are a cache's that knows a part of the model: what no INT8 layer reads stays float.
    for layer in layers:
        writer.quantise_weight(layer, scales.weight_amax.get(layer.name))
    return writer.model(pools_first=target == "onnxruntime")


def _grids(view: GraphView, plan: QuantPlan, target: Target, scales: Scales) -> dict[str, Grid]:
    if target == "onnxruntime":
        return uint8_grids(view, plan, scales)
    return {name: symmetric_grid(scale) for name, scale in scales.tensors.items()}


def require_opset(model: onnx.ModelProto) -> None:
    """Refuse a model whose opset has no scale per channel.

    Raises:
        GraphError: Its opset is below 13.
    """
    found = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if found < _FIRST_PER_AXIS_OPSET:
        raise GraphError(
            f"opset {_FIRST_PER_AXIS_OPSET} or newer expected, {found} found: per-channel scales need it",
            hint="export or convert the model again with opset 13 to 17",
        )


class _Writer:
    """Collects constants and nodes, then writes the new graph in topological order."""

    def __init__(self, view: GraphView, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self._helper = require("onnx.helper", why="to write Q/DQ nodes")
        self._numpy_helper = require("onnx.numpy_helper", why="to write Q/DQ nodes")
        self._view = view
        # Changed weights and biases, and what is new.
        self._constants: dict[str, npt.NDArray[np.generic]] = {**weights}
        self._behind: dict[str, list[onnx.NodeProto]] = {}  # tensor -> its pair
        self._before: dict[int, list[onnx.NodeProto]] = {}  # node -> the pair of its weights
        self._rewired: dict[tuple[int, int], str] = {}

    def quantise(self, pair: Pair, group: str, grid: Grid) -> None:
        """Add the pair of an activation."""
        names = scale_name(group), f"{group}_zero_point"
        self._constants[names[0]] = np.asarray(grid.step, np.float32)
        self._constants[names[1]] = np.asarray(grid.zero, np.uint8 if grid.unsigned else np.int8)
        self._behind[pair.tensor] = self._pair(pair.tensor, *names)
        for reader in pair.readers:
            self._rewired[reader] = f"{pair.tensor}_dq"

    def quantise_weight(self, layer: Layer, amax: tuple[float, ...] | None) -> None:
        """Add the pair of a layer's weights, per output channel."""
        name = f"{layer.name}_weight"  # a weight that two layers share gets a pair for each
        values = np.asarray(self._constants.get(layer.weight, self._view.constant(layer.weight)))
        scale = weight_scale(values, layer, amax)
        self._constants[f"{name}_scale"] = scale
        self._constants[f"{name}_zero_point"] = np.zeros(len(scale), np.int8)
        self._before[layer.node] = self._pair(
            layer.weight, f"{name}_scale", f"{name}_zero_point", axis=layer.channel_axis, name=name
        )
        self._rewired[layer.node, 1] = f"{name}_dq"

    def _pair(
        self, tensor: str, scale: str, zero: str, *, axis: int | None = None, name: str | None = None
    ) -> list[onnx.NodeProto]:
        name = name or tensor
        extra = {} if axis is None else {"axis": axis}
        make = self._helper.make_node
        return [
            make("QuantizeLinear", [tensor, scale, zero], [f"{name}_q"], name=f"{name}_quantize", **extra),
            make(
                "DequantizeLinear",
                [f"{name}_q", scale, zero],
                [f"{name}_dq"],
                name=f"{name}_dequantize",
                **extra,
            ),
        ]

    def model(self, *, pools_first: bool) -> onnx.ModelProto:
        """Write the new model."""
        old = self._view.model
        new = type(old)()
        for entry in _KEPT_ENTRIES:
            setattr(new, entry, getattr(old, entry))
        new.opset_import.extend(old.opset_import)
        new.metadata_props.extend(old.metadata_props)
        graph = new.graph
        graph.name = old.graph.name
        graph.input.extend(old.graph.input)
        graph.output.extend(old.graph.output)
        nodes = self._nodes()
        graph.node.extend(with_pools_first(nodes, self._view.outputs) if pools_first else nodes)
        used = {name for node in graph.node for name in node.input}
        kept = (t for t in old.graph.initializer if t.name in used and t.name not in self._constants)
        graph.initializer.extend(kept)
        graph.initializer.extend(
            self._numpy_helper.from_array(np.asarray(value, order="C"), name)
            for name, value in self._constants.items()
            if name in used
        )
        return new

    def _nodes(self) -> list[onnx.NodeProto]:
        made = [pair for name in self._view.inputs for pair in self._behind.get(name, ())]
        for index, node in enumerate(self._view.nodes):
            copy = type(node)()
            copy.CopyFrom(node)
            for slot in range(len(copy.input)):
                copy.input[slot] = self._rewired.get((index, slot), copy.input[slot])
            made += [*self._before.get(index, ()), copy]
            made += [pair for name in node.output for pair in self._behind.get(name, ())]
        return made
