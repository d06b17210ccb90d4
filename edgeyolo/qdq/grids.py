"""Which real values the 256 codes of a quantised tensor stand for, on each target.

TensorRT takes int8 around 0 and nothing else. ONNX Runtime's kernels take uint8 with any zero point at no
cost, so there no code is spent on values that cannot come: below the floor of an activation, or so far below
0 that a SiLU makes nothing of them. Owns that arithmetic. Refuses to choose a range (`edgeyolo.calibrate`):
where the floor is not known by construction, the range is symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.layers import Layer
from edgeyolo.qdq.plan import QuantPlan
from edgeyolo.scales import Scales, TensorScale
from edgeyolo.spec import ModelSpec

__all__ = ["Grid", "symmetric_grid", "uint8_grids"]

_UINT8_MAX = 255
_GATE_SPAN = 16.0  # at -16, x * sigmoid(x) is -2e-6: no step is that fine
# Least values of activations that have one, whatever their input: Relu's and Sigmoid's 0, and minima that
# were found numerically (SiLU at -1.2785, Mish at -1.1925; hard-swish at -1.5 is -3/8 exactly).
_FLOORS = {"Relu": 0.0, "Sigmoid": 0.0, "HardSigmoid": 0.0, "Softplus": 0.0, "HardSwish": -0.375}
_FLOORS |= {"Mish": -0.308841}
_SILU_FLOOR = -0.278465


@dataclass(frozen=True)
class Grid:
    """The codes of a tensor: code ``q`` stands for ``(q - zero) * step``.

    Args:
        step: Real value of one step, positive.
        zero: Code of 0.
        unsigned: Codes are 0..255 and not -128..127.
    """

    step: float
    zero: int
    unsigned: bool

    @classmethod
    def uint8(cls, low: float, high: float) -> Grid:
        """Give the finest grid of 256 codes that holds 0 exactly and all of ``low <= 0 < high``.

        Examples:
            >>> Grid.uint8(0, 1) == Grid(1 / 255, 0, True), Grid.uint8(-127, 127) == Grid(1, 128, True)
            (True, True)
        """
        zero = round(_UINT8_MAX * -low / (high - low))
        return cls(max(high / (_UINT8_MAX - zero), -low / zero if zero else 0.0), zero, True)


def symmetric_grid(scale: TensorScale) -> Grid:
    """Give TensorRT's grid: int8, 0 in the middle."""
    return Grid(scale.scale, 0, False)


def uint8_grids(view: GraphView, plan: QuantPlan, scales: Scales) -> dict[str, Grid]:
    """Give ONNX Runtime's grid of every tensor that has a scale, and of the sigmoid of every SiLU.

    The picture's tensor has a step for every pixel value, whatever its scale says: it is exact.

    Args:
        view: The float model.
        plan: Its plan.
        scales: Its scales. Tensors of one group get one grid, as they have one scale.
    """
    picture = _picture_range(view)
    floors = _Floors(view, plan, scales, picture)
    in_front = {layer.raw_output: layer for layer in plan.layers if layer.activation is not None}
    grids = {}
    for group in plan.groups:
        name = group[0]
        if name not in scales.tensors:
            continue
        low, high = floors.of_group(name), scales.tensors[name].amax
        layer = in_front.get(name)
        if layer is not None and layer.output in scales.tensors:
            low, high = _wanted_by(layer, low, high, scales.tensors[layer.output].amax)
        if name in picture and len(plan.sources[name]) == 1:
            low, high = picture[name]
        grids.update(dict.fromkeys(group, Grid.uint8(low, high)))
    grids.update({layer.gate: Grid.uint8(0, 1) for layer in plan.layers if layer.gate is not None})
    return grids


def _wanted_by(layer: Layer, low: float, high: float, kept: float) -> tuple[float, float]:
    """Narrow the range in front of an activation to what makes a difference behind it.

    Measured on ONNX Runtime, 200 COCO pictures: yolo-fastest-1.1 has AP 0.126 with, 0.117 without, 0.135 in
    float; its LeakyRelu inputs reach several times as far below 0 as above.
    """
    if layer.slope is not None:
        return (0.0 if layer.slope == 0 else low), min(high, kept)
    if layer.gate is not None:
        step = (kept - _SILU_FLOOR) / _UINT8_MAX
        return max(low, -_where_silu_vanishes(step / 2)), min(high, kept)
    return low, high


def _where_silu_vanishes(small: float) -> float:
    """Find how far below 0 the SiLU is still more than `small`, by bisection where it falls for good."""
    near, far = -_SILU_FLOOR + 1.0, _GATE_SPAN
    while far - near > 1e-3:
        middle = (near + far) / 2
        near, far = (middle, far) if middle / (1 + math.exp(middle)) > small else (near, middle)
    return far


class _Floors:
    """The least value of every group, where construction tells one; the range of the scale below 0 else."""

    def __init__(
        self, view: GraphView, plan: QuantPlan, scales: Scales, picture: Mapping[str, tuple[float, float]]
    ) -> None:
        self._picture = picture
        self._view, self._plan, self._scales = view, plan, scales
        self._group_of = plan.group_of
        self._layer_of = {layer.output: layer for layer in plan.layers if layer.activation is not None}
        self._sums = {residual.output: residual for residual in plan.residuals}
        self._known: dict[str, float] = {}

    def of_group(self, group: str) -> float:
        """Give the floor of a group, 0 or less."""
        if group not in self._known:
            lowest = -self._scales.tensors[group].amax
            self._known[group] = lowest  # what a loop (a sum that is joined with its operand) finds
            found = min(self._of_source(name, lowest) for name in self._plan.sources[group])
            self._known[group] = min(max(found, lowest), 0.0)
        return self._known[group]

    def _of_source(self, tensor: str, lowest: float) -> float:
        if tensor in self._picture:
            return self._picture[tensor][0]
        residual = self._sums.get(tensor)
        if residual is not None:
            return sum(self._of_operand(name) for name in (residual.skip, residual.branch))
        layer, node = self._layer_of.get(tensor), self._view.node_of(tensor)
        if layer is not None and layer.gate is not None:
            return _SILU_FLOOR
        if layer is not None and layer.slope and layer.raw_output in self._scales.tensors:
            return -layer.slope * self._scales.tensors[layer.raw_output].amax
        if node is not None and node.op_type == "Clip" and len(node.input) > 1:
            least = self._view.constant(node.input[1])
            return lowest if least is None else float(least)
        return lowest if node is None else _FLOORS.get(node.op_type, lowest)

    def _of_operand(self, tensor: str) -> float:
        group = self._group_of.get(tensor)
        return self.of_group(group) if group is not None and group in self._scales.tensors else -math.inf


def _picture_range(view: GraphView) -> Mapping[str, tuple[float, float]]:
    """Give what the picture's tensor can hold, 0 included, where the model says how pixels become it."""
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in view.model.metadata_props})
    if spec is None:
        return {}
    made = spec.preprocess
    values = [
        (pixel * made.scale - mean) / std
        for mean, std in zip(made.mean, made.std, strict=True)
        for pixel in (0, _UINT8_MAX)
    ]
    return {spec.input_name: (min(*values, 0.0), max(values))}
