"""Detection heads to ONNX: the raw tensor of a head becomes its boxes and scores, in float.

Owns the decode inside the graph. Boxes are ``xyxy_net`` pixels, order anchor, row, column. A head is decoded
as ``[B, A, entries, h * w]``, channels first as the convolution left it: the long axis stays innermost, grid
and anchors broadcast from a few numbers, and each value is moved once, in the two Transposes at the end. On
ONNX Runtime that is about 0.6 of the time of a Transpose at the beginning.

Source: Darknet src/yolo_layer.c (``get_yolo_box``), src/region_layer.c (``get_region_box``),
src/detection_layer.c (``get_detection_detections``); src/gaussian_yolo_layer.c of AlexeyAB/darknet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeyolo.darknet.emit.builder import GraphBuilder
from edgeyolo.darknet.layers import AnchorHead, Detection, GaussianYolo, Region, Yolo

__all__ = ["Decoded", "emit_detection", "emit_gaussian_yolo", "emit_region", "emit_yolo"]


class Decoded(NamedTuple):
    """Tensors of one decoded head.

    Args:
        boxes: Name of ``[B, N, 4]``, ``xyxy_net``.
        scores: Name of ``[B, N, C]``, objectness times class.
        boxes_per_picture: N.
    """

    boxes: str
    scores: str
    boxes_per_picture: int


def emit_yolo(graph: GraphBuilder, layer: Yolo, tensor: str, input_wh: tuple[int, int]) -> Decoded:
    """Append the decode of ``[yolo]``: one Sigmoid over the head, except with `new_coords`."""
    name, classes = layer.name, layer.classes
    raw = _cells(graph, layer, tensor, 5 + classes)
    parts = {"xy": 2, "wh": 2, "objectness": 1, "classes": classes}
    if layer.new_coords:
        # The convolution before has the logistic function already, and sizes are (2 w)^2 anchors.
        xy, wh, objectness, scores = graph.split(raw, name, parts, axis=2)
        size = graph.node("Mul", (wh, wh), f"{name}_square")
        half = _scaled(graph, size, f"{name}_half", 2.0 * _anchors(layer))
    else:
        sigmoid = graph.node("Sigmoid", (raw,), f"{name}_sigmoid")
        xy, _, objectness, scores = graph.split(sigmoid, name, parts, axis=2)
        half = _exponential(graph, layer, graph.slice(raw, f"{name}_log_wh", (2,), (2,), (4,)))
    center = _center(graph, layer, xy, layer.scale_x_y, input_wh)
    weighted = graph.node("Mul", (scores, objectness), f"{name}_weighted")
    return _finished(graph, layer, _corners(graph, name, center, half, axis=2), weighted)


def emit_gaussian_yolo(
    graph: GraphBuilder, layer: GaussianYolo, tensor: str, input_wh: tuple[int, int]
) -> Decoded:
    """Append the decode of ``[Gaussian_yolo]``: the score is reduced by the mean of the four deviations."""
    name = layer.name
    raw = _cells(graph, layer, tensor, 9 + layer.classes)
    sigmoid = graph.node("Sigmoid", (raw,), f"{name}_sigmoid")
    _, objectness, scores = graph.split(
        sigmoid, name, {"box": 8, "objectness": 1, "classes": layer.classes}, axis=2
    )
    xy = graph.slice(sigmoid, f"{name}_xy", (2,), (0,), (4,), (2,))
    half = _exponential(graph, layer, graph.slice(raw, f"{name}_log_wh", (2,), (4,), (8,), (2,)))
    deviations = graph.slice(sigmoid, f"{name}_deviations", (2,), (1,), (8,), (2,))
    total = graph.node(
        "ReduceSum", (deviations, graph.shared([2], np.int64)), f"{name}_deviation", keepdims=1
    )
    doubt = graph.node("Mul", (total, graph.shared(0.25)), f"{name}_doubt")
    certainty = graph.node("Sub", (graph.shared(1.0), doubt), f"{name}_certainty")
    factor = graph.node("Mul", (objectness, certainty), f"{name}_factor")
    weighted = graph.node("Mul", (scores, factor), f"{name}_weighted")
    point = _center(graph, layer, xy, layer.scale_x_y, input_wh)
    if layer.yolo_point != "center":
        # The point is a corner: move it by half the size.
        op_type = "Add" if layer.yolo_point == "left_top" else "Sub"
        point = graph.node(op_type, (point, half), f"{name}_moved")
    return _finished(graph, layer, _corners(graph, name, point, half, axis=2), weighted)


def emit_region(graph: GraphBuilder, layer: Region, tensor: str, input_wh: tuple[int, int]) -> Decoded:
    """Append the decode of ``[region]``.

    Raises:
        UnsupportedOpError: A class hierarchy, masks, or a background class.
    """
    _check_region(graph, layer)
    name, classes = layer.name, layer.classes
    raw = _cells(graph, layer, tensor, 5 + classes)
    xy, wh, objectness, scores = graph.split(
        raw, name, {"xy": 2, "wh": 2, "objectness": 1, "classes": classes}, axis=2
    )
    center = _center(graph, layer, graph.node("Sigmoid", (xy,), f"{name}_sigmoid_xy"), 1.0, input_wh)
    corners = _corners(graph, name, center, _exponential(graph, layer, wh), axis=2)
    # Classes go last before the softmax and not after it: that axis is the fast one for a softmax.
    count = layer.in_shape.h * layer.in_shape.w
    anchors = len(layer.anchors_wh)
    last = graph.node("Transpose", (scores,), f"{name}_classes_last", perm=[0, 1, 3, 2])
    if layer.softmax:
        squashed = graph.node("Softmax", (last,), f"{name}_softmax", axis=3)
    else:
        squashed = graph.node("Sigmoid", (last,), f"{name}_sigmoid_classes")
    sigmoid = graph.node("Sigmoid", (objectness,), f"{name}_sigmoid_objectness")
    column = graph.reshape(sigmoid, f"{name}_column", (anchors, count, 1))
    weighted = graph.node("Mul", (squashed, column), f"{name}_weighted")
    return Decoded(
        _rows(graph, corners, f"{name}_boxes", anchors * count, 4),
        graph.reshape(weighted, f"{name}_scores", (anchors * count, classes)),
        anchors * count,
    )


def emit_detection(graph: GraphBuilder, layer: Detection, tensor: str, input_wh: tuple[int, int]) -> Decoded:
    """Append the decode of ``[detection]`` (YOLOv1): boxes first by cell, then by number."""
    name, classes, cells, num = layer.name, layer.classes, layer.side**2, layer.num
    flat = graph.reshape(tensor, f"{name}_flat", (layer.in_shape.size,))
    sizes = {"classes": cells * classes, "confidences": cells * num, "values": cells * num * 4}
    scores, confidences, values = graph.split(flat, f"{name}_flat", sizes, axis=1)
    scores = graph.reshape(scores, f"{name}_by_cell", (cells, 1, classes))
    if layer.softmax:
        scores = graph.node("Softmax", (scores,), f"{name}_softmax", axis=3)
    column = graph.reshape(confidences, f"{name}_column", (cells, num, 1))
    weighted = graph.node("Mul", (scores, column), f"{name}_weighted")
    boxes = graph.reshape(values, f"{name}_cxcywh", (cells, num, 4))
    xy, wh = graph.split(boxes, name, {"xy": 2, "wh": 2}, axis=3)
    cell_wh = np.array(input_wh) / layer.side
    offset = graph.constant(f"{name}_offset", _grid(layer.side, layer.side, cell_wh).T[None, :, None])
    center = graph.node("Add", (_scaled(graph, xy, f"{name}_relative", cell_wh), offset), f"{name}_center")
    if layer.sqrt:
        wh = graph.node("Mul", (wh, wh), f"{name}_square")
    half = _scaled(graph, wh, f"{name}_half", np.array(input_wh) / 2)
    corners = _corners(graph, name, center, half, axis=3)
    return Decoded(
        graph.reshape(corners, f"{name}_boxes", (cells * num, 4)),
        graph.reshape(weighted, f"{name}_scores", (cells * num, classes)),
        cells * num,
    )


def _check_region(graph: GraphBuilder, layer: Region) -> None:
    for wrong, what in (
        (layer.tree is not None, f"tree={layer.tree}: a class hierarchy (YOLO9000)"),
        (layer.coords != 4, f"coords={layer.coords}: masks"),
        (layer.background, "background=1: a background class"),
    ):
        if wrong:
            raise graph.refusal(
                layer, f"{what} is not supported", hint="--outputs raw gives the head's tensor undecoded"
            )


def _cells(graph: GraphBuilder, layer: AnchorHead, tensor: str, entries: int) -> str:
    """View the head as ``[B, A, entries, h * w]``."""
    width, height = layer.grid_wh
    return graph.reshape(tensor, f"{layer.name}_cells", (len(layer.anchors_wh), entries, height * width))


def _grid(width: int, height: int, cell_wh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Left and top edge of each cell in pixels, ``(2, h * w)``."""
    rows, columns = np.divmod(np.arange(height * width), width)
    return np.stack([columns * cell_wh[0], rows * cell_wh[1]])


def _center(
    graph: GraphBuilder, layer: AnchorHead, xy: str, scale_x_y: float, input_wh: tuple[int, int]
) -> str:
    """Give ``(cell + s * xy - (s - 1) / 2) * pixels a cell``, ``[B, A, 2, h * w]``."""
    cell_wh = np.array(input_wh) / layer.grid_wh
    scaled = _scaled(graph, xy, f"{layer.name}_relative", (scale_x_y * cell_wh)[:, None])
    grid = _grid(*layer.grid_wh, cell_wh) - ((scale_x_y - 1) / 2 * cell_wh)[:, None]
    offset = graph.constant(f"{layer.name}_offset", grid[None, None])
    return graph.node("Add", (scaled, offset), f"{layer.name}_center")


def _exponential(graph: GraphBuilder, layer: AnchorHead, log_wh: str) -> str:
    """Give half of ``exp(wh) * anchor``."""
    exponential = graph.node("Exp", (log_wh,), f"{layer.name}_exp")
    return _scaled(graph, exponential, f"{layer.name}_half", 0.5 * _anchors(layer))


def _anchors(layer: AnchorHead) -> npt.NDArray[np.float64]:
    """Anchors in pixels, ``(A, 2, 1)``."""
    return np.array(layer.anchors_wh, np.float64)[:, :, None]


def _scaled(graph: GraphBuilder, tensor: str, name: str, factor: npt.NDArray[np.float64]) -> str:
    return graph.node("Mul", (tensor, graph.constant(f"{name}_factor", factor)), name)


def _corners(graph: GraphBuilder, name: str, center: str, half: str, axis: int) -> str:
    """Give ``center - half`` and ``center + half`` along `axis`."""
    low = graph.node("Sub", (center, half), f"{name}_x0y0")
    high = graph.node("Add", (center, half), f"{name}_x1y1")
    return graph.node("Concat", (low, high), f"{name}_xyxy", axis=axis)


def _rows(graph: GraphBuilder, tensor: str, name: str, count: int, size: int) -> str:
    """Turn ``[B, A, size, h * w]`` into ``[B, A * h * w, size]``."""
    last = graph.node("Transpose", (tensor,), f"{name}_last", perm=[0, 1, 3, 2])
    return graph.reshape(last, name, (count, size))


def _finished(graph: GraphBuilder, layer: AnchorHead, corners: str, weighted: str) -> Decoded:
    count = len(layer.anchors_wh) * layer.in_shape.h * layer.in_shape.w
    return Decoded(
        _rows(graph, corners, f"{layer.name}_boxes", count, 4),
        _rows(graph, weighted, f"{layer.name}_scores", count, layer.classes),
        count,
    )
