"""Run the float model over the calibration images and count the values of every tensor that needs a scale.

Owns the taps, small sub-graphs behind each tensor that hand out a sample of its values and its exact range,
and the threads that run them. Memory depends on the number of tensors, not of images. Refuses to choose a
range (`edgeyolo.calibrate.amax`).

The cost is kept near that of the bare forward passes in four ways: a LeakyRelu's input is not looked at,
since its output tells it; concatenated and pooled tensors are not either, since their sources do; a tap
takes every n-th position by a MaxPool of size one, which ONNX Runtime runs in its own blocked layout, and
the taps of one grid leave the graph as one tensor; and images run side by side, one thread each, which
serves small networks better than many threads for one image.
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
_PREFIX = "edgeyolo/tap"


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
    def output(self) -> str:
        """Graph output that carries the sample, one for all taps of one grid."""
        if not self.shape:
            return self.tensor
        rows, columns = (-(-size // self.stride) for size in self.shape[1:])
        return f"{_PREFIX}/{rows}x{columns}"


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
    flat = {layer.output for layer in plan.layers if layer.slope is not None and layer.slope <= 0.5}
    order = [*view.inputs, *(name for node in view.nodes for name in node.output)]
    return tuple(_tap(view, name, samples, signed=name not in flat) for name in order if name in wanted)


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
        CalibrationError: No batch at all, or a tensor with NaN or Inf, which is named.
    """
    statistics = Statistics({tap.tensor: Histogram() for tap in taps})
    counter = _Counter(taps, statistics)
    session, workers = session_for(_tapped(model, taps), workers=workers)
    for outputs, count in run_side_by_side(session, counter.outputs, batches, workers):
        counter.take(outputs)
        statistics.images += count
        if progress is not None:
            progress(statistics.images)
    if not statistics.images:
        raise CalibrationError("no calibration image came", hint="give a folder with pictures of the scene")
    counter.flush()
    return statistics


class _Counter:
    """Cuts the shared outputs into the taps' samples and counts them, many images at a time."""

    def __init__(self, taps: Sequence[Tap], statistics: Statistics) -> None:
        self._statistics = statistics
        self._slots: dict[str, list[Tap]] = {}
        for tap in taps:
            self._slots.setdefault(tap.output, []).append(tap)
        self._high = [tap for tap in taps if tap.shape]
        self._low = [tap for tap in self._high if tap.signed]
        self.outputs = [*self._slots]
        self.outputs += [f"{_PREFIX}/high"] * bool(self._high) + [f"{_PREFIX}/low"] * bool(self._low)
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
        self._extremes(columns, "high", self._high, 1)
        self._extremes(columns, "low", self._low, -1)
        for name, taps in self._slots.items():
            start = 0
            for tap in taps:
                stop = start + tap.shape[0] if tap.shape else None
                values = np.concatenate([array[:, start:stop] for array in columns[name]])
                low, high = values.min(axis=(0, *range(2, values.ndim))), values.max()
                _require_finite(low, tap.tensor)  # a NaN anywhere is the least and the largest value
                _require_finite(high, tap.tensor)
                self._statistics.histograms[tap.tensor].add(values, float(low.min()), float(high))
                self._keep_channels(tap.tensor, -low)
                start = stop or 0

    def _extremes(
        self, columns: dict[str, tuple[npt.NDArray[np.float32], ...]], name: str, taps: list[Tap], sign: int
    ) -> None:
        """Take the exact range of every tap, a channel."""
        if not taps:
            return
        every = np.concatenate([array[:, :, 0, 0] for array in columns[f"{_PREFIX}/{name}"]]).max(axis=0)
        start = 0
        for tap in taps:
            stop = start + tap.shape[0]
            value = every[start:stop]
            start = stop
            _require_finite(value, tap.tensor)
            self._keep_channels(tap.tensor, value)
            extreme = sign * float(value.max())
            self._statistics.histograms[tap.tensor].reach(min(extreme, 0.0), max(extreme, 0.0))

    def _keep_channels(self, tensor: str, value: npt.NDArray[np.float32]) -> None:
        known = self._statistics.channel_amax
        known[tensor] = np.maximum(known.get(tensor, np.float32(0)), value)


def _require_finite(values: npt.NDArray[np.float32], tensor: str) -> None:
    if not np.isfinite(values).all():
        raise CalibrationError(
            f"tensor {tensor!r} has NaN or infinite values: no scale can hold them",
            hint="does the float model find anything on these pictures? check its preprocess and weights",
        )


def _tapped(model: onnx.ModelProto, taps: Sequence[Tap]) -> bytes:
    """Add the taps to a copy of the model; its own outputs stay, nobody asks for them."""
    onnx = require("onnx", why="to look into a model's tensors")
    helper = onnx.helper
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    graph = tapped.graph
    own = {value.name for value in graph.output}
    joined: dict[str, list[str]] = {}

    def node(op: str, tensor: str, suffix: str, **attributes: Any) -> str:
        name = f"{_PREFIX}/{suffix}/{tensor}"
        graph.node.append(helper.make_node(op, [tensor], [name], name=name, **attributes))
        return name

    for tap in taps:
        if not tap.shape:
            if tap.tensor not in own:
                graph.output.append(helper.make_empty_tensor_value_info(tap.tensor))
            continue
        strides = [tap.stride, tap.stride]
        sample = node("MaxPool", tap.tensor, "sample", kernel_shape=[1, 1], strides=strides)
        joined.setdefault(tap.output, []).append(sample)
        joined.setdefault(f"{_PREFIX}/high", []).append(node("GlobalMaxPool", tap.tensor, "high"))
        if tap.signed:
            negative = node("Neg", tap.tensor, "negative")
            joined.setdefault(f"{_PREFIX}/low", []).append(node("GlobalMaxPool", negative, "low"))
    for name, parts in joined.items():
        graph.node.append(helper.make_node("Concat", parts, [name], name=name, axis=1))
        graph.output.append(helper.make_empty_tensor_value_info(name))
    return bytes(tapped.SerializeToString())
