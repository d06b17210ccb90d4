"""Files as exporters really write them: open sizes, extra outputs, functions, odd outputs, other strides."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.evidence import grid_of
from edgeyolo.adapt.options import AdaptOptions
from edgeyolo.errors import GraphError
from edgeyolo.qdq import GraphView, quant_plan
from tests.adapt.foreign import BOXES, SIZE, STRIDES, Net, cells, check, corners, picture, run, sigmoid
from tests.adapt.test_predictions import anchor_free, class_scores, yolov5, yolov8


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def with_computed_shapes(classes: int, *, rows: bool = False, opset: int = 17) -> onnx.ModelProto:
    """YOLOv8 as it is exported with open sizes: every reshape takes its sizes from a Shape of its input."""
    net = Net(batch="batch", opset=opset)

    def flat(tensor: str, channels: int) -> str:
        batch = net.op("Gather", net.op("Shape", tensor), net.const(0, np.int64), axis=0)
        sizes = [net.op("Unsqueeze", batch, net.const([0], np.int64)), net.const([channels, -1], np.int64)]
        return net.op("Reshape", tensor, net.concat(*sizes, axis=0))

    def all_strides(channels: int) -> str:
        return net.concat(*(flat(net.conv(channels, stride), channels) for stride in STRIDES), axis=2)

    distances = net.op("Softplus", all_strides(4))
    both = [f"side_{place}" for place in range(2)]
    parts = {"num_outputs": 2} if opset >= 18 else {}
    net.nodes.append(helper.make_node("Split", [distances], both, axis=1, **parts))
    middle = net.const((cells()[:, :2] + 0.5).T[None])
    low, high = net.op("Sub", middle, both[0]), net.op("Add", middle, both[1])
    center = net.op("Div", net.op("Add", low, high), net.const(2.0))
    box = net.op(
        "Mul",
        net.concat(center, net.op("Sub", high, low), axis=1),
        net.const(cells()[:, 2][None, None]),
    )
    joined = net.concat(box, net.op("Sigmoid", all_strides(classes)), axis=1, to=None if rows else "output0")
    if rows:
        net.transpose(joined, 0, 2, 1, to="output0")
    shape = ["batch", "boxes", 4 + classes] if rows else ["batch", 4 + classes, "boxes"]
    return net.model({"output0": shape}, picture=["batch", 3, "height", "width"])


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_open_sizes_with_computed_shapes(classes: int, rows: bool, opset: int) -> None:
    original = with_computed_shapes(classes, rows=rows, opset=opset)
    adapted = adapt(original, input_wh=(SIZE, SIZE))
    raw = run(original, picture(2))["output0"]
    raw = raw if rows else raw.transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture(2))
    assert (adapted.evidence.family, adapted.spec.batch) == ("yolov8", None)
    assert not adapted.evidence.assumed


def test_raw_heads_beside_the_decoded_rows_are_left_out() -> None:
    """YOLOv5 and v7 exported in training mode, or by older scripts: four outputs, the first is whole."""
    original = yolov5()
    for place, node in enumerate([node for node in original.graph.node if node.op_type == "Sigmoid"]):
        stride = STRIDES[place]
        name = f"raw{stride}"
        original.graph.node.append(helper.make_node("Identity", [node.input[0]], [name]))
        shape = [1, 3, (SIZE // stride) ** 2, 8]
        original.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    adapted = adapt(original)
    raw = run(original, picture())["output"]
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:5] * raw[..., 5:].astype(np.float64), picture())
    assert any("raw8, raw16, raw32" in note for note in adapted.notes)


def test_a_transformer_with_boxes_and_scores_in_one_output() -> None:
    """RT-DETR by Ultralytics: rows of queries, boxes as parts of the input's sides."""
    net, queries, classes = Net(), 24, 3
    values = net.reshape(net.conv(queries * (4 + classes), 64), 0, queries, 4 + classes)
    boxes = net.op("Sigmoid", net.part(values, 2, 0, 4))
    net.concat(boxes, net.op("Sigmoid", net.part(values, 2, 4, 4 + classes)), axis=2, to="output0")
    original = net.model({"output0": [1, queries, 4 + classes]})
    adapted = adapt(original)
    raw = run(original, picture())["output0"]
    check(adapted.model, corners(raw[..., :4]) * SIZE, raw[..., 4:].astype(np.float64), picture())
    assert (adapted.spec.final, adapted.spec.preprocess.resize) == (True, "stretch")


def test_boxes_of_four_dimensions_as_parts_of_the_sides() -> None:
    """YOLOv4 in PyTorch: corners ``[B, N, 1, 4]`` from 0 to 1, scores ``[B, N, C]``."""
    net = Net()
    pixels = net.transpose(anchor_free(net, corners_out=True), 0, 2, 1)
    net.op(
        "Reshape", net.op("Div", pixels, net.const(64.0)), net.const([0, BOXES, 1, 4], np.int64), to="boxes"
    )
    net.transpose(class_scores(net, 3), 0, 2, 1, to="confs")
    original = net.model({"boxes": [1, BOXES, 1, 4], "confs": [1, BOXES, 3]})
    adapted = adapt(original)
    raw = run(original, picture())
    boxes = raw["boxes"][:, :, 0].astype(np.float64) * SIZE
    check(adapted.model, boxes, raw["confs"].astype(np.float64), picture())


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_box_in_two_halves_beside_fresh_scores_has_no_objectness(classes: int) -> None:
    """A simplifier joins the Concat of a box with that of the head: 2 + 2 + C; YOLOv5 has 2 + 2 + (1 + C)."""
    net = Net()
    sides = net.op("Softplus", net.concat(*(net.reshape(net.conv(4, s), 0, 4, -1) for s in STRIDES), axis=2))
    stride = net.const(cells()[:, 2][None, None])
    middle = net.op("Mul", net.const((cells()[:, :2] + 0.5).T[None]), stride)
    pixels = net.op("Mul", sides, stride)
    center = net.op("Add", middle, net.part(pixels, 1, 0, 2))
    size = net.op("Mul", net.part(pixels, 1, 2, 4), net.const(2.0))
    net.concat(center, size, class_scores(net, classes), axis=1, to="output0")
    original = net.model({"output0": [1, 4 + classes, BOXES]})
    adapted = adapt(original)
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture())
    assert adapted.evidence.classes == classes


def test_weights_that_are_listed_as_inputs() -> None:
    original = yolov8()
    for tensor in original.graph.initializer:
        original.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    raw = run(yolov8(), picture())["output0"].transpose(0, 2, 1)
    check(adapt(original).model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture())


def test_a_bias_under_a_second_name_is_still_a_bias() -> None:
    """PyTorch stores equal tensors once; a layer whose bias an Identity gives must not be lost for INT8."""
    original = yolov8()
    convolutions = [node for node in original.graph.node if node.op_type == "Conv"]
    aliases = []
    for place, node in enumerate(convolutions):
        aliases.append(helper.make_node("Identity", [node.input[2]], [f"alias_{place}"]))
        node.input[2] = f"alias_{place}"
    everything = [*aliases, *original.graph.node]
    del original.graph.node[:]
    original.graph.node.extend(everything)
    adapted = adapt(original)
    assert len(quant_plan(GraphView(adapted.model)).layers) == len(convolutions)
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture())


def test_weights_that_are_constant_nodes() -> None:
    original = yolov8()
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in original.graph.initializer
    ]
    everything = [*nodes, *original.graph.node]
    del original.graph.node[:], original.graph.initializer[:]
    original.graph.node.extend(everything)
    adapted = adapt(original)
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture())
    assert adapted.evidence.family == "yolov8"


def test_functions_of_the_model_are_looked_into() -> None:
    """PyTorch's exporter may leave operators as functions of the file."""
    original = yolov8()
    silly = helper.make_function(
        "pkg.torch",
        "Joined",
        ["a", "b"],
        ["y"],
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=1)],
        [helper.make_opsetid("", 13)],
    )
    last = original.graph.node[-1]
    assert last.op_type == "Concat"
    call = helper.make_node("Joined", list(last.input), list(last.output), domain="pkg.torch")
    del original.graph.node[-1]
    original.graph.node.append(call)
    original.functions.append(silly)
    original.opset_import.append(helper.make_opsetid("pkg.torch", 1))
    adapted = adapt(original)
    assert not adapted.model.functions
    raw = run(original, picture())["output0"].transpose(0, 2, 1)
    check(adapted.model, corners(raw[..., :4]), raw[..., 4:].astype(np.float64), picture())
    assert not adapted.evidence.assumed


def test_metadata_as_ultralytics_writes_it() -> None:
    metadata = {
        "description": "a model",
        "stride": "32",
        "task": "detect",
        "batch": "1",
        "imgsz": "[64, 64]",
        "names": "{0: 'person', 1: \"driver's seat\", 2: 'bus'}",
        "args": "{'batch': 1, 'half': False}",
    }
    adapted = adapt(yolov8(metadata=metadata))
    assert adapted.spec.names == ("person", "driver's seat", "bus")
    kept = {entry.key: entry.value for entry in adapted.model.metadata_props}
    assert kept.items() >= metadata.items()


@pytest.mark.parametrize("classes", [1, 2, 20, 80])
@pytest.mark.parametrize("objectness", [True, False])
@pytest.mark.parametrize("columns", [True, False])
def test_classes_are_counted_from_the_head_not_from_the_width(
    classes: int, objectness: bool, columns: bool
) -> None:
    """[B,N,6] is one class with objectness or two without; [B,5,N] is one class without."""
    net = Net()
    ones = [net.op("Sigmoid", net.concat(*(net.reshape(net.conv(1, s), 0, 1, -1) for s in STRIDES), axis=2))]
    parts = [anchor_free(net), *(ones if objectness else []), class_scores(net, classes)]
    joined = net.concat(*parts, axis=1, to="o" if columns else None)
    width = 4 + objectness + classes
    if not columns:
        net.transpose(joined, 0, 2, 1, to="o")
    original = net.model({"o": [1, width, BOXES] if columns else [1, BOXES, width]})
    adapted = adapt(original)
    raw = run(original, picture())["o"]
    raw = raw.transpose(0, 2, 1) if columns else raw
    scores = raw[..., 5:] * raw[..., 4:5] if objectness else raw[..., 4:]
    assert adapted.evidence.classes == classes
    check(adapted.model, corners(raw[..., :4]), scores.astype(np.float64), picture())


@pytest.mark.parametrize(
    ("input_wh", "strides", "anchors"),
    [
        ((640, 640), (8, 16, 32), 1),
        ((640, 384), (8, 16, 32), 1),
        ((640, 384), (8, 16, 32), 3),
        ((1280, 1280), (8, 16, 32, 64), 3),
        ((640, 640), (4, 8, 16, 32), 1),
        ((640, 640), (4, 8, 16), 1),
        ((640, 640), (4, 8, 16, 32, 64), 1),
        ((416, 416), (16, 32), 3),
        ((320, 320), (8, 16, 32, 64), 1),
        ((640, 640), (16, 32, 64), 1),
        ((300, 300), (8, 16, 32), 1),
    ],
)
def test_grids_of_real_detectors(input_wh: tuple[int, int], strides: tuple[int, ...], anchors: int) -> None:
    count = anchors * sum(-(-input_wh[0] // s) * -(-input_wh[1] // s) for s in strides)
    grid = grid_of(input_wh, count)
    assert grid is not None
    assert (grid.strides, grid.anchors) == (strides, anchors)


def test_yolox_of_one_map_a_stride() -> None:
    """YOLOX cut before its strides are joined, as for chips that decode outside."""
    net, outputs, classes = Net(), {}, 3
    for stride in STRIDES:
        side = SIZE // stride
        parts = (
            net.conv(4, stride, spread=0.5),
            net.op("Sigmoid", net.conv(1, stride)),
            net.op("Sigmoid", net.conv(classes, stride)),
        )
        net.concat(*parts, axis=1, to=f"o{stride}")
        outputs[f"o{stride}"] = [1, 5 + classes, side, side]
    original = net.model(outputs)
    adapted = adapt(original)
    raw = run(original, picture())
    rows = np.concatenate(
        [raw[f"o{s}"].reshape(1, 5 + classes, -1).transpose(0, 2, 1) for s in STRIDES], axis=1
    ).astype(np.float64)
    grid = cells()
    center, size = (rows[..., :2] + grid[:, :2]) * grid[:, 2:], np.exp(rows[..., 2:4]) * grid[:, 2:]
    boxes = corners(np.concatenate([center, size], axis=-1))
    check(adapted.model, boxes, rows[..., 4:5] * rows[..., 5:], picture())
    assert adapted.evidence.family == "yolox"


def test_logits_are_seen_behind_quantised_layers() -> None:
    net = Net()
    scale, zero = net.const(0.05), net.const(0, np.int8)
    logits = net.concat(*(net.reshape(net.conv(3, s), 0, 3, -1) for s in STRIDES), axis=2)
    rounded = net.op("DequantizeLinear", net.op("QuantizeLinear", logits, scale, zero), scale, zero)
    net.transpose(rounded, 0, 2, 1, to="scores")
    net.transpose(anchor_free(net, corners_out=True), 0, 2, 1, to="boxes")
    original = net.model({"scores": [1, BOXES, 3], "boxes": [1, BOXES, 4]})
    raw = run(original, picture())
    check(adapt(original).model, raw["boxes"].astype(np.float64), sigmoid(raw["scores"]), picture())


def test_what_is_no_detector_is_said() -> None:
    net = Net()
    net.op("Identity", net.conv(21, 8), to="masks")
    with pytest.raises(GraphError, match="map"):
        adapt(net.model({"masks": [1, 21, 8, 8]}, metadata={"names": "{0: 'a'}"}), family=None)
