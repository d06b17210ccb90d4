"""Run the float model over the calibration images and count the values of every tensor that needs a scale.

Owns the taps, small sub-graphs behind each tensor that hand out a sample of its values and its exact range,
and the threads that run them. Memory depends on the number of tensors, not of images. Refuses to choose a
range (`edgeyolo.calibrate.amax`).

The cost is kept near that of the bare forward passes in five ways: a LeakyRelu's input is not looked at,
since its output tells it; concatenated and pooled tensors are not either, since their sources do; a tap
takes every n-th position by a MaxPool of size one, which ONNX Runtime runs in its own blocked layout; a
tensor is looked at when it is made, while it is in the caches, and freed; and images run side by side, one
thread each, which serves small networks better than many threads for one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.calibrate.histogram import Histogram
from edgeyolo.calibrate.sessions import run_side_by_side, session_for
from edgeyolo.errors import CalibrationError
from edgeyolo.optional import require
from edgeyolo.qdq.graph import GraphView
from edgeyolo.qdq.grids import FLOORS
from edgeyolo.qdq.layers import Layer
from edgeyolo.qdq.plan import QuantPlan

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["Statistics", "Tap", "collect", "taps_for"]

# Values a tensor and image, about. Against every single value, 294 pictures through yolo-fastest-1.1 move a
# 99.99th percentile by 7 % (root mean square over its tensors), which is less than a search step; 16384
# still move it by 5 %: what is left comes from the borders, whose rows and columns 0 are seen more often.
SAMPLES = 4096
_HELD_BYTES = 16 << 20  # samples held back: many images a count, and no session waits for one
_LOOK_AT_FLOAT = "does the float model find anything on these pictures? check its preprocess and weights"
_PREFIX = "edgeyolo/tap"
_ALL = f"{_PREFIX}/all"  # one output: sample, largest, and negative of the least of every tap, side by side


@dataclass(frozen=True)
class Tap:
    """One tensor that is looked at.

    Args:
        tensor: Its name.
        shape: ``(C, H, W)``; empty for tensors of another rank or of unknown size, which are taken whole.
        stride: Every how many-th row and column is sampled.
        signed: Whether its smallest value must be known exactly too, not only from the sample.
    """

    tensor: str
    shape: tuple[int, ...]
    stride: int
    signed: bool

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of the sample of one image."""
        return (self.shape[0], *(-(-size // self.stride) for size in self.shape[1:]))


@dataclass
class Statistics:
    """What was seen of every tapped tensor.

    Args:
        histograms: Tensor to histogram.
        channel_amax: Tensor to the largest magnitude of each channel, shape ``(C,)``, over all images.
        images: Number of images.
    """

    histograms: dict[str, Histogram] = field(default_factory=dict)
    channel_amax: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    images: int = 0


def taps_for(view: GraphView, plan: QuantPlan, *, samples: int = SAMPLES) -> tuple[Tap, ...]:
    """Say which tensors to look at.

    Returns:
        A tap for the sources of every group, but for the input of a LeakyRelu or Relu, and for the layers'
        outputs that no group holds: TensorRT's calibration cache wants those of the heads too.
    """
    told = {layer.raw_output for layer in plan.layers if layer.slope is not None}
    wanted = {name for group in plan.groups for name in plan.sources[group[0]]} - told
    wanted |= {layer.output for layer in plan.layers if layer.output not in plan.group_of}
    flat = {layer.output for layer in plan.layers if _flat_below_0(layer)}
    order = [*view.inputs, *(name for node in view.nodes for name in node.output)]
    return tuple(_tap(view, name, samples, signed=name not in flat) for name in order if name in wanted)


def _flat_below_0(layer: Layer) -> bool:
    """Tell whether a layer's activation leaves little of what is below 0: a sample tells it well enough."""
    return layer.activation in FLOORS or (layer.slope is not None and layer.slope <= 0.5)


def _tap(view: GraphView, tensor: str, samples: int, *, signed: bool) -> Tap:
    shape = view.shapes.get(tensor, ())[1:]
    if len(shape) != 3 or min(shape) < 1:
        return Tap(tensor, (), 1, signed)
    channels, height, width = shape
    stride = max(1, round(math.sqrt(channels * height * width / samples)))
    # At least a few positions of each channel, however many channels there are.
    stride = min(stride, max(1, min(height, width) // 3))
    return Tap(tensor, (channels, height, width), stride, signed)


def collect(
    model: onnx.ModelProto,
    taps: Sequence[Tap],
    batches: Iterable[npt.NDArray[np.float32]],
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Statistics:
    """Run the model over all batches and count.

    Args:
        model: The float model.
        taps: `taps_for` it.
        batches: Tensors ``(B, C, H, W)``, float32, as `run` would feed them; iterated once.
        workers: Images that run side by side; as many as there are cores, four at most, by default.
        progress: Called with the number of images done.

    Returns:
        The statistics; the same for any number of workers and any order of the batches.

    Raises:
        CalibrationError: No batch at all, or a tensor or an output with NaN or Inf, which is named.
    """
    statistics = Statistics({tap.tensor: Histogram() for tap in taps})
    counter = _Counter(taps, statistics)
    counted = len(counter.outputs)
    # What is behind the last layer has no tap; a decode can overflow there.
    untapped = [value.name for value in model.graph.output if value.name not in counter.outputs]
    broken: list[str] = []
    session, workers = session_for(_tapped(model, taps), workers=workers)
    for outputs, count in run_side_by_side(session, counter.outputs + untapped, batches, workers):
        counter.take(outputs[:counted])
        for name, values in zip(untapped, outputs[counted:], strict=True):
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                broken.append(name)
        statistics.images += count
        if progress is not None:
            progress(statistics.images)
    if not statistics.images:
        raise CalibrationError("no calibration image came", hint="give a folder with pictures of the scene")
    counter.flush()  # first, since it names the tensor where it began
    if broken:
        raise CalibrationError(
            f"output {broken[0]!r} of the float model has NaN or infinite values",
            hint=_LOOK_AT_FLOAT,
        )
    return statistics


class _Counter:
    """Cuts the taps' outputs into samples and extremes and counts them, many images at a time."""

    def __init__(self, taps: Sequence[Tap], statistics: Statistics) -> None:
        self._statistics = statistics
        self._sized = [tap for tap in taps if tap.shape]
        self._whole = [tap for tap in taps if not tap.shape]
        self.outputs = [_ALL] * bool(self._sized) + [tap.tensor for tap in self._whole]
        self._held: list[list[npt.NDArray[np.float32]]] = []
        self._held_bytes = 0

    def take(self, outputs: list[npt.NDArray[np.float32]]) -> None:
        """Take the outputs of one run."""
        self._held.append(outputs)
        self._held_bytes += sum(array.nbytes for array in outputs)
        if self._held_bytes > _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Count what is held back."""
        if not self._held:
            return
        columns = dict(zip(self.outputs, zip(*self._held, strict=True), strict=True))
        self._held, self._held_bytes = [], 0
        start = 0

        def cut(size: int) -> npt.NDArray[np.float32]:
            nonlocal start
            start += size
            return np.concatenate([array[:, start - size : start] for array in columns[_ALL]])

        for tap in self._sized:
            self._count(tap.tensor, cut(math.prod(tap.sample)).reshape(-1, *tap.sample))
            self._extreme(tap.tensor, cut(tap.shape[0]), 1)
            if tap.signed:
                self._extreme(tap.tensor, cut(tap.shape[0]), -1)
        for tap in self._whole:
            self._count(tap.tensor, np.concatenate(columns[tap.tensor]))

    def _count(self, tensor: str, values: npt.NDArray[np.float32]) -> None:
        """Count a sample."""
        least = np.atleast_1d(values.min(axis=0))  # first along the images, whose values lie far apart: fast
        low, high = least.reshape(len(least), -1).min(axis=1), values.max()
        _require_finite(low, tensor)  # a NaN anywhere is the least and the largest value
        _require_finite(high, tensor)
        self._statistics.histograms[tensor].add(values, float(low.min()), float(high))
        self._keep_channels(tensor, -low)

    def _extreme(self, tensor: str, values: npt.NDArray[np.float32], sign: int) -> None:
        """Take the exact end of a range, a channel: the largest value, or the negative of the least."""
        value = values.max(axis=0)
        _require_finite(value, tensor)
        self._keep_channels(tensor, value)
        extreme = sign * float(value.max())
        self._statistics.histograms[tensor].reach(min(extreme, 0.0), max(extreme, 0.0))

    def _keep_channels(self, tensor: str, value: npt.NDArray[np.float32]) -> None:
        known = self._statistics.channel_amax
        known[tensor] = np.maximum(known.get(tensor, np.float32(0)), value)


def _require_finite(values: npt.NDArray[np.float32], tensor: str) -> None:
    if not np.isfinite(values).all():
        raise CalibrationError(
            f"tensor {tensor!r} has NaN or infinite values: no scale can hold them",
            hint=_LOOK_AT_FLOAT,
        )


def _tapped(model: onnx.ModelProto, taps: Sequence[Tap]) -> bytes:
    """Add the taps to a copy of the model; its own outputs stay."""
    onnx = require("onnx", why="to look into a model's tensors")
    helper = onnx.helper
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    graph = tapped.graph
    own = {value.name for value in graph.output}
    parts: list[str] = []

    def node(op: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        name = f"{_PREFIX}/{suffix}/{inputs[0]}"
        graph.node.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def part(value: str) -> str:
        return node("Flatten", [value], "flat", axis=1)

    # ONNX Runtime numbers the nodes while it optimises, and begins with what the last of the graph need: the
    # first tensor's taps come last, and all lead to one node, or they would be computed behind the network.
    for tap in reversed(taps):
        if not tap.shape:
            if tap.tensor not in own:
                graph.output.append(helper.make_empty_tensor_value_info(tap.tensor))
            continue
        strides = [tap.stride, tap.stride]
        found = [part(node("MaxPool", [tap.tensor], "sample", kernel_shape=[1, 1], strides=strides))]
        found.append(part(node("GlobalMaxPool", [tap.tensor], "high")))
        if tap.signed:
            # A convolution by -1 and no Neg, which would have the whole tensor reordered first.
            minus = f"{_PREFIX}/minus/{tap.shape[0]}"
            negative = node("Conv", [tap.tensor, minus], "negative", group=tap.shape[0])
            found.append(part(node("GlobalMaxPool", [negative], "low")))
        parts = found + parts
    for channels in sorted({tap.shape[0] for tap in taps if tap.shape and tap.signed}):
        weights = np.full((channels, 1, 1, 1), -1, np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(weights, f"{_PREFIX}/minus/{channels}"))
    if parts:
        graph.node.append(helper.make_node("Concat", parts, [_ALL], name=_ALL, axis=1))
        graph.output.append(helper.make_empty_tensor_value_info(_ALL))
    return bytes(tapped.SerializeToString())
