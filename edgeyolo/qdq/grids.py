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

__all__ = ["FLOORS", "Grid", "symmetric_grid", "uint8_grids"]

_UINT8_MAX = 255
# Least values of activations that have one, whatever their input: 0, or a minimum that was found numerically
# (SiLU at -1.2785, Mish at -1.1925; hard-swish at -1.5 is -3/8 exactly).
FLOORS = {
    "Relu": 0.0, "Sigmoid": 0.0, "HardSigmoid": 0.0, "Softplus": 0.0,
    "SiLU": -0.278465, "Mish": -0.308841, "HardSwish": -0.375,
}  # fmt: skip


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
        """Give the finest grid of 256 codes that holds 0 exactly and reaches from `low` to `high`.

        Args:
            low: 0 or less; what is less than half a step is taken for 0.
            high: Positive.

        Examples:
            >>> Grid.uint8(0, 1) == Grid(1 / 255, 0, True), Grid.uint8(-127, 127) == Grid(1, 128, True)
            (True, True)
        """
        place = _UINT8_MAX * -low / (high - low)
        if place < 0.5:  # what is below 0 is less than half a step
            return cls(high / _UINT8_MAX, 0, True)
        zeros = [min(max(math.ceil(place) - less, 1), _UINT8_MAX - 1) for less in (0, 1)]
        step, zero = min((max(high / (_UINT8_MAX - zero), -low / zero), -zero) for zero in zeros)
        return cls(step, -zero, True)


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
        layer = in_front.get(name) if len(group) == 1 else None
        if layer is not None and layer.output in scales.tensors:
            kept = scales.tensors[layer.output].amax
            low, high = _wanted_by(layer, low, high, floors.of_source(layer.output), kept)
        if name in picture and len(plan.sources[name]) == 1:
            low, high = picture[name]
        grids.update(dict.fromkeys(group, Grid.uint8(low, high)))
    grids.update({layer.gate: Grid.uint8(0, 1) for layer in plan.layers if layer.gate is not None})
    return grids


def _wanted_by(layer: Layer, low: float, high: float, floor: float, kept: float) -> tuple[float, float]:
    """Narrow the range in front of an activation to what makes a difference behind it.

    Measured on ONNX Runtime, 200 COCO pictures: yolo-fastest-1.1 has AP 0.126 with, 0.117 without, 0.135 in
    float; its LeakyRelu inputs reach several times as far below 0 as above.

    Args:
        layer: Whose activation.
        low: Least value in front of it.
        high: Largest value in front of it; of no account in front of a LeakyRelu or Relu.
        floor: Least value that the activation can give.
        kept: Largest value that is kept behind it.
    """
    if layer.slope is not None:  # above 0 a LeakyRelu changes nothing; its own range says how far below
        return min(max(low, floor) if layer.slope == 0 else low, 0.0), kept
    if layer.activation == "Clip":
        low = max(low, floor)
    elif layer.activation in ("SiLU", "Mish", "HardSwish"):
        vanishes = 3.0 if layer.activation == "HardSwish" else _silu_reach((kept - floor) / _UINT8_MAX / 2)
        low = max(low, -vanishes)
        kept -= floor  # x * f(x) is less than x, by no more than it goes below 0
    else:
        return low, high
    return min(low, 0.0), min(high, kept)


def _silu_reach(small: float) -> float:
    """Find how far below 0 a SiLU is still more than `small`; a Mish is as good as the same there.

    Examples:
        >>> x = _silu_reach(0.01)
        >>> round(x, 2), round(x / (1 + math.exp(x)), 4)
        (6.47, 0.01)
    """
    near, far = 1.2785, 32.0  # behind its minimum it only rises; at -32 it is -4e-13
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
            found = min(self.of_source(name) for name in self._plan.sources[group])
            self._known[group] = min(max(found, lowest), 0.0)
        return self._known[group]

    def of_source(self, tensor: str) -> float:
        """Give the floor of a tensor that no mover makes, minus infinity where none is known."""
        if tensor in self._picture:
            return self._picture[tensor][0]
        residual = self._sums.get(tensor)
        if residual is not None:
            return sum(self._of_operand(name) for name in (residual.skip, residual.branch))
        layer, node = self._layer_of.get(tensor), self._view.node_of(tensor)
        if layer is not None and layer.slope and layer.raw_output in self._scales.tensors:
            return -layer.slope * self._scales.tensors[layer.raw_output].amax
        if node is not None and node.op_type == "Clip" and len(node.input) > 1:
            least = self._view.constant(node.input[1])
            return -math.inf if least is None else float(least)
        kind = layer.activation if layer is not None else node.op_type if node is not None else None
        return FLOORS.get(kind or "", -math.inf)

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
