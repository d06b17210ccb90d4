"""Second moments of what each layer reads, in float and as INT8 sees it: all that least squares needs.

Owns the taps on the layers' inputs, the cutting of patches, and the sums. Memory depends on the layers, not
on the number of images. Refuses to solve anything (`edgeyolo.calibrate.reconstruct`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.sessions import run_side_by_side, session_for
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView, attributes_of
from edgeyolo.qdq.layers import Layer
from edgeyolo.qdq.plan import QuantPlan
from edgeyolo.scales import LEVELS

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[np.float32]

__all__ = ["Moments", "collect_moments", "layers_with_moments", "passes"]

# Weights of one filter. The moments are a square matrix of that size, and the errors of so many roundings
# average out: what is beyond keeps its nearest steps.
_MOST_WEIGHTS = 640
_POSITIONS = range(32, 193)  # output positions a layer and image: the more weights the more, within these
_HELD_BYTES = 96 << 20  # activations of one image that are looked at in one pass
_TAP = "edgeyolo/moments/"


@dataclass
class Moments:
    """Sums over output positions, for every group of a convolution.

    ``x`` is what one filter reads within the range, a constant 1 behind it for the bias; ``q`` the same
    behind the Q/DQ pair.

    Args:
        qq: Mean of ``q q^T``, shape ``(groups, n + 1, n + 1)``, ``n`` weights a filter.
        xq: Mean of ``x q^T``, the same shape.
        count: Output positions, of all images.
    """

    qq: npt.NDArray[np.float64]
    xq: npt.NDArray[np.float64]
    count: int


def layers_with_moments(view: GraphView, plan: QuantPlan, left_out: Collection[str]) -> tuple[Layer, ...]:
    """Give the convolutions whose weights can be fitted: of moderate filters, weights and bias their own."""
    users = [name for node in view.nodes for name in node.input]

    def fits(layer: Layer) -> bool:
        if layer.op != "Conv" or layer.name in left_out or layer.bias is None:
            return False
        shape = np.asarray(view.constant(layer.weight)).shape
        alone = users.count(layer.weight) == 1 and users.count(layer.bias) == 1
        padded = attributes_of(view.nodes[layer.node]).get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET")
        sized = [len(view.shapes.get(name, ())) for name in (layer.input, layer.raw_output)] == [4, 4]
        return alone and padded and sized and len(shape) == 4 and math.prod(shape[1:]) <= _MOST_WEIGHTS

    return tuple(layer for layer in plan.layers if fits(layer))


def collect_moments(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    scales: Mapping[str, float],
    batches: Iterable[Array],
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Moments]:
    """Run the float model and sum up what each layer reads.

    An image's error does not carry over to the next layer: every layer reads the float value through its own
    Q/DQ pair, so that all of them can be fitted at once.

    Args:
        model: The float model, equalised where the scales are.
        layers: `layers_with_moments` of it.
        scales: Input tensor to the real value of one int8 step.
        batches: Input tensors of one image each; iterated several times where the activations are large.
        progress: Called with the number of images done, of all passes.

    Returns:
        Layer name to its moments; the same for the same images in the same order.
    """
    view = GraphView(model)
    totals: dict[str, _Sums] = {}
    done = 0
    for part in _parts(view, layers):
        sums = {layer.name: _Sums(view, layer, scales[layer.input]) for layer in part}
        names = sorted({layer.input for layer in part})
        session, workers = session_for(_with_outputs(model, names))
        taps = [_TAP + name for name in names]
        for index, (outputs, _) in enumerate(run_side_by_side(session, taps, batches, workers)):
            found = dict(zip(names, outputs, strict=True))
            for layer in part:
                sums[layer.name].add(found[layer.input][0], index)
            done += 1
            if progress is not None:
                progress(done)
        totals.update(sums)
    return {name: sums.moments() for name, sums in totals.items()}


def passes(view: GraphView, layers: Sequence[Layer]) -> int:
    """Tell how many times `collect_moments` will run over the images."""
    return sum(1 for _ in _parts(view, layers))


def _parts(view: GraphView, layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Cut the layers into parts whose inputs fit into memory side by side."""
    part: list[Layer] = []
    held: dict[str, int] = {}
    for layer in layers:
        size = 4 * math.prod(abs(side) for side in view.shapes[layer.input])
        if part and layer.input not in held and sum(held.values()) + size > _HELD_BYTES:
            yield part
            part, held = [], {}
        part.append(layer)
        held[layer.input] = size
    if part:
        yield part


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """Make tensors the only outputs, so that what is behind the last of them is not computed."""
    onnx = require("onnx", why="to look into a model's tensors")
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    for name in names:  # by an Identity, because an input cannot be an output
        tapped.graph.node.append(onnx.helper.make_node("Identity", [name], [_TAP + name]))
        tapped.graph.output.append(onnx.helper.make_empty_tensor_value_info(_TAP + name))
    return bytes(tapped.SerializeToString())


class _Sums:
    """The running sums of one layer."""

    def __init__(self, view: GraphView, layer: Layer, scale: float) -> None:
        attributes = attributes_of(view.nodes[layer.node])
        shape = np.asarray(view.constant(layer.weight)).shape
        self._patches = _Patches(shape[2:], view.shapes[layer.raw_output][2:], attributes)
        self._groups, self._weights, self._scale = layer.groups, math.prod(shape[1:]), scale
        self._positions = min(max(self._weights, _POSITIONS[0]), _POSITIONS[-1])
        self._seed = layer.node
        side = self._weights + 1
        self._qq = np.zeros((layer.groups, side, side))
        self._xq = np.zeros_like(self._qq)
        self._count = 0

    def add(self, activation: Array, image: int) -> None:
        """Take some output positions of one image, others in every image."""
        generator = np.random.default_rng((self._seed, image))
        patches = self._patches.at(activation, generator, self._positions)
        x = patches.reshape(self._groups, self._weights, -1)
        # Clipped on both sides: a fit would bend all weights to make up for a few outliers, which the choice
        # of the range found to be of no use at the outputs.
        x = np.clip(x / self._scale, -LEVELS - 1, LEVELS)
        x, q = x * np.float32(self._scale), np.rint(x) * np.float32(self._scale)
        ones = np.ones((self._groups, 1, x.shape[2]), np.float32)
        x, q = np.concatenate([x, ones], axis=1), np.concatenate([q, ones], axis=1)
        transposed = q.transpose(0, 2, 1)
        self._qq += q @ transposed
        self._xq += x @ transposed
        self._count += x.shape[2]

    def moments(self) -> Moments:
        return Moments(self._qq / self._count, self._xq / self._count, self._count)


class _Patches:
    """Cuts out what a convolution reads for one output position."""

    def __init__(
        self, kernel: tuple[int, ...], out_hw: tuple[int, ...], attributes: Mapping[str, Any]
    ) -> None:
        self._out_hw = out_hw
        self._strides = attributes.get("strides", [1, 1])
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
        self._pads = ((0, 0), (top, bottom), (left, right))
        dilations = attributes.get("dilations", [1, 1])
        y, x = np.mgrid[: kernel[0], : kernel[1]].reshape(2, -1)
        self._y, self._x = y * dilations[0], x * dilations[1]

    def at(self, activation: Array, generator: np.random.Generator, count: int) -> Array:
        """Give patches at random output positions, shape ``(C, kernel, positions)``."""
        places = math.prod(self._out_hw)
        chosen = generator.integers(0, places, count) if places > count else np.arange(places)
        row, column = np.divmod(chosen, self._out_hw[1])
        y = self._y[:, None] + row * self._strides[0]
        x = self._x[:, None] + column * self._strides[1]
        return np.asarray(np.pad(activation, self._pads)[:, y, x])
