"""What quantising one layer does to its own output, for all layers in the same forward passes.

Owns the graph for it: beside every layer of the float model stands its INT8 twin, which reads the same float
input through a Q/DQ pair; the difference of the two is squared and averaged. So an error does not carry over
to the next layer, and one pass tells of every layer at once. Refuses to judge what an error means at the
network's outputs (`edgeyolo.calibrate.simulate`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.sessions import run_side_by_side, session_for
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.insert import scale_name
from edgeyolo.qdq.layers import Layer
from edgeyolo.qdq.plan import QuantPlan
from edgeyolo.qdq.weights import adjusted_weights, model_with_weights, weight_scale
from edgeyolo.scales import LEVELS, Scales

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["LayerError", "LocalModel"]

_PREFIX = "edgeyolo/local"


@dataclass(frozen=True)
class LayerError:
    """The error of one layer's output, channel by channel, before the activation.

    Args:
        noise: Mean squared difference of INT8 and float, shape ``(C,)``.
        signal: Mean squared float value, shape ``(C,)``.
    """

    noise: npt.NDArray[np.float64]
    signal: npt.NDArray[np.float64]

    @property
    def relative(self) -> float:
        """Noise over signal, all channels together."""
        return float(self.noise.sum() / max(self.signal.sum(), 1e-30))


class LocalModel:
    """A float model with an INT8 twin of every layer; scales are inputs, so one session serves any scales.

    Args:
        view: Of the float model.
        plan: Of that model.
        scales: Whose equalisation and whose fitted weights and biases the twins have.
    """

    def __init__(self, view: GraphView, plan: QuantPlan, scales: Scales) -> None:
        model = model_with_weights(view, plan, dataclasses.replace(scales, bias_shift={}, weight_steps={}))
        fitted = adjusted_weights(view, plan, scales)
        group_of = plan.group_of
        self._layers = [layer for layer in plan.layers if len(view.shapes.get(layer.raw_output, ())) == 4]
        self._group = {layer.name: group_of[layer.input] for layer in self._layers}
        self._groups = sorted({*self._group.values()})
        builder = _Builder(model, view, fitted)
        for layer in self._layers:
            builder.add_twin(layer, self._group[layer.name], scales.weight_amax.get(layer.name))
        self._session, self._workers = session_for(builder.finish(self._groups))

    def errors(
        self, batches: Iterable[npt.NDArray[np.float32]], scales: Mapping[str, float]
    ) -> dict[str, LayerError]:
        """Measure every layer.

        Args:
            batches: Input tensors.
            scales: Group to scale.

        Returns:
            Layer name to its error, averaged over all images.
        """
        fixed = {scale_name(name): np.asarray(scales[name], np.float32) for name in self._groups}
        names = [f"{_PREFIX}/{part}" for part in _PARTS]
        totals: list[Any] = [0.0] * len(_PARTS)
        images = 0
        for outputs, count in run_side_by_side(self._session, names, batches, self._workers, fixed=fixed):
            images += count
            for index, array in enumerate(outputs):
                totals[index] = totals[index] + array[:, :, 0, 0].astype(np.float64).sum(axis=0)
        found, start = {}, 0
        for layer in self._layers:
            parts = [total[start : start + layer.channels] / images for total in totals]
            found[layer.name] = LayerError(*parts)
            start += layer.channels
        return found

    def readers(self, group: str) -> list[str]:
        """Name the layers that read a group."""
        return [name for name, own in self._group.items() if own == group]


_PARTS = ("noise", "signal")


class _Builder:
    def __init__(
        self, model: onnx.ModelProto, view: GraphView, fitted: Mapping[str, npt.NDArray[np.float32]]
    ) -> None:
        self._onnx = require("onnx", why="to measure the error of each layer")
        self._view = view
        self._fitted = fitted
        self._model = self._onnx.ModelProto()
        self._model.CopyFrom(model)
        self._joined: dict[str, list[str]] = {part: [] for part in _PARTS}
        self._quantised: set[str] = set()

    def add_twin(self, layer: Layer, group: str, amax: tuple[float, ...] | None) -> None:
        """Add the INT8 twin of a layer and the averages of their difference."""
        twin = self._onnx.NodeProto()
        twin.CopyFrom(self._view.nodes[layer.node])
        twin.name = f"{_PREFIX}/twin/{layer.name}"
        twin.input[0] = self._quantise(layer.input, group)
        weights = np.asarray(self._fitted.get(layer.weight, self._view.constant(layer.weight)))
        twin.input[1] = self._constant(_rounded(weights, layer, amax), f"weights/{layer.name}")
        if layer.bias is not None and layer.bias in self._fitted:
            twin.input[2] = self._constant(self._fitted[layer.bias], f"bias/{layer.name}")
        twin.output[0] = twin.name
        self._model.graph.node.append(twin)
        difference = self._node("Sub", [twin.name, layer.raw_output], f"difference/{layer.name}")
        squared = self._node("Mul", [difference, difference], f"squared/{layer.name}")
        power = self._node("Mul", [layer.raw_output, layer.raw_output], f"power/{layer.name}")
        for part, tensor in zip(_PARTS, (squared, power), strict=True):
            self._joined[part].append(self._node("GlobalAveragePool", [tensor], f"{part}/{layer.name}"))

    def finish(self, groups: list[str]) -> bytes:
        """Join the averages and make the scales inputs."""
        graph = self._model.graph
        for group in groups:
            graph.input.append(self._onnx.helper.make_tensor_value_info(scale_name(group), 1, []))
        for part, tensors in self._joined.items():
            name = f"{_PREFIX}/{part}"
            graph.node.append(self._onnx.helper.make_node("Concat", tensors, [name], name=name, axis=1))
            graph.output.append(self._onnx.helper.make_empty_tensor_value_info(name))
        return bytes(self._model.SerializeToString())

    def _quantise(self, tensor: str, group: str) -> str:
        name = f"{_PREFIX}/dq/{tensor}"
        if tensor not in self._quantised:
            self._quantised.add(tensor)
            # The type of the quantised tensor follows from QuantizeLinear's third input.
            zero = self._constant(np.asarray(0, np.int8), f"zero/{tensor}")
            scale = scale_name(group)
            quantised = self._node("QuantizeLinear", [tensor, scale, zero], f"q/{tensor}")
            self._node("DequantizeLinear", [quantised, scale, zero], f"dq/{tensor}")
        return name

    def _constant(self, value: npt.NDArray[np.generic], suffix: str) -> str:
        name = f"{_PREFIX}/{suffix}"
        self._model.graph.initializer.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def _node(self, op: str, inputs: list[str], suffix: str) -> str:
        name = f"{_PREFIX}/{suffix}"
        self._model.graph.node.append(self._onnx.helper.make_node(op, inputs, [name], name=name))
        return name


def _rounded(
    weights: npt.NDArray[np.generic], layer: Layer, amax: tuple[float, ...] | None
) -> npt.NDArray[np.float32]:
    """Give the weights as INT8 sees them."""
    shape = [-1 if axis == layer.channel_axis else 1 for axis in range(weights.ndim)]
    scale = weight_scale(weights, layer, amax).reshape(shape)
    steps = np.clip(np.rint(np.asarray(weights, np.float32) / scale), -LEVELS - 1, LEVELS)
    return np.asarray(steps * scale, np.float32)
