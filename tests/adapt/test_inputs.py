"""Awkward inputs: open sizes, FP16, uint8, sizes as inputs, models of integers; the options' text."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper

from edgeyolo.adapt.adapt import adapt_model
from edgeyolo.adapt.options import AdaptOptions, options_from_text
from edgeyolo.errors import ConfigError, GraphError, ModelError
from edgeyolo.pipeline.adapt import adapt as adapt_file
from tests.adapt.foreign import BOXES, SIZE, STRIDES, Net, check, corners, picture, run
from tests.adapt.test_predictions import anchor_free, class_scores, yolov8
from tests.command import edgeyolo


def adapt(model: onnx.ModelProto, **options: Any) -> Any:
    return adapt_model(copy.deepcopy(model), AdaptOptions(**options), {})


def expected(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = raw.transpose(0, 2, 1).astype(np.float64)
    return corners(rows[..., :4]), rows[..., 4:]


def any_size() -> onnx.ModelProto:
    """A YOLOX of any size: its reshapes take what comes."""
    net = Net(batch="b")
    heads = []
    for stride in STRIDES:
        scores = net.op("Sigmoid", net.conv(4, stride))
        joined = net.concat(net.conv(4, stride), net.part(scores, 1, 0, 1), net.part(scores, 1, 1, 4), axis=1)
        heads.append(net.reshape(joined, 0, 8, -1))
    net.transpose(net.concat(*heads, axis=2), 0, 2, 1, to="output")
    return net.model({"output": ["b", "anchors", 8]}, picture=["b", 3, "height", "width"])


def test_an_open_size_is_asked_for() -> None:
    with pytest.raises(GraphError, match="its height and width are open") as caught:
        adapt(any_size())
    assert "--size" in str(caught.value.hint)


def test_an_open_size_is_fixed() -> None:
    adapted = adapt(any_size(), input_wh=(96, 64))
    assert adapted.spec.input_wh == (96, 64)
    assert adapted.spec.batch is None
    assert adapted.boxes == 12 * 8 + 6 * 4 + 3 * 2
    value = np.random.default_rng(0).uniform(0, 1, (2, 3, 64, 96)).astype(np.float32)
    assert run(adapted.model, value)["boxes"].shape == (2, adapted.boxes, 4)


def test_an_open_size_is_that_of_the_metadata_unless_another_is_asked_for() -> None:
    model = any_size()
    model.metadata_props.add(key="imgsz", value="[64, 96]")
    assert adapt(model).spec.input_wh == (96, 64)
    assert adapt(model, input_wh=(64, 64)).spec.input_wh == (64, 64)
    model.metadata_props[0].value = "large"
    with pytest.raises(GraphError, match="its height and width are open"):
        adapt(model)


def test_another_size_than_the_graphs_is_refused() -> None:
    with pytest.raises(GraphError, match="is 64x64 in the graph, 96x96 asked"):
        adapt(yolov8(), input_wh=(96, 96))


def test_fp16_is_decoded_in_float() -> None:
    original = yolov8(dtype=np.float16)
    adapted = adapt(original)
    raw = run(original, picture().astype(np.float16))["output0"]
    # One FP16 step at 64 pixels and more: ONNX Runtime takes the rounding between two Casts out.
    check(adapted.model, *expected(raw), picture(), atol=2**-4)
    casts = [node for node in adapted.model.graph.node if node.name.endswith("float32")]
    assert casts
    assert any("float16" in note for note in adapted.notes)


def test_uint8_gets_a_cast() -> None:
    net = Net()
    net.op("Identity", "x", to="keep_the_name_free")
    net.nodes.clear()
    net.nodes.append(helper.make_node("Cast", ["pixels"], ["asfloat"], to=TensorProto.FLOAT))
    net.nodes.append(helper.make_node("Mul", ["asfloat", net.const(1 / 255)], ["images"]))
    net.concat(anchor_free(net), class_scores(net, 3), axis=1, to="output0")
    original = net.model({"output0": [1, 7, BOXES]})
    original.graph.input[0].name = "pixels"
    original.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    value = np.random.default_rng(2).integers(0, 256, (1, 3, SIZE, SIZE))
    adapted = adapt(original)
    raw = run(original, value.astype(np.uint8))["output0"]
    check(adapted.model, *expected(raw), value.astype(np.float32))
    assert adapted.spec.preprocess.scale == 1


@pytest.mark.parametrize("bytes_in", [True, False])
def test_what_the_graph_does_to_pixels_is_left_to_it(bytes_in: bool) -> None:
    """YOLO-NAS as super-gradients exports it: BGR of 0..255 goes in, RGB of 0..1 comes to the layers."""
    net = Net()
    source = net.cast("pixels", TensorProto.FLOAT) if bytes_in else "pixels"
    turned = net.op("Gather", source, net.const([2, 1, 0], np.int64), axis=1)
    net.op("Div", turned, net.const(255.0), to="images")
    net.concat(anchor_free(net), class_scores(net, 3), axis=1, to="output0")
    original = net.model({"output0": [1, 7, BOXES]})
    original.graph.input[0].name = "pixels"
    if bytes_in:
        original.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    adapted = adapt(original)
    preprocess = adapted.spec.preprocess
    assert (preprocess.channels, preprocess.scale) == ("bgr", 1.0)
    assert any("order of the channels" in note for note in adapted.notes)


def test_means_in_the_graph_are_not_taken_away_twice() -> None:
    net = Net()
    centered = net.op("Sub", "pixels", net.const(np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)))
    net.op("Div", centered, net.const(np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)), to="images")
    parts = [net.concat(net.op("Sigmoid", net.conv(3, s)), net.conv(32, s), axis=1) for s in STRIDES]
    flat = net.concat(*(net.reshape(part, 0, 35, -1) for part in parts), axis=2)
    net.transpose(flat, 0, 2, 1, to="output")
    original = net.model({"output": [1, BOXES, 35]})
    original.graph.input[0].name = "pixels"
    preprocess = adapt(original).spec.preprocess
    assert (preprocess.mean, preprocess.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert preprocess.scale == 1 / 255  # such means are of 0..1


def test_more_than_a_file_holds_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeyolo.graph import onnx_file

    onnx.save(yolov8(), tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_file, "_LIMIT_BYTES", 1000)
    with pytest.raises(GraphError, match="holds 2 GB") as caught:
        adapt_file(tmp_path / "m.onnx", tmp_path / "a.onnx", options_from_text())
    assert "float16" in str(caught.value.hint)
    assert not (tmp_path / "a.onnx").exists()


def test_a_size_that_is_an_input_keeps_boxes_in_network_pixels() -> None:
    """RT-DETR's exporter multiplies relative boxes by an input of two numbers."""
    net = Net()
    boxes = net.transpose(anchor_free(net, corners_out=True), 0, 2, 1)
    relative = net.op("Div", boxes, net.const(float(SIZE)))
    wh = net.cast("orig_target_sizes", TensorProto.FLOAT)
    net.op("Mul", relative, net.reshape(net.concat(wh, wh, axis=1), 1, 1, 4), to="b")
    net.transpose(class_scores(net, 3), 0, 2, 1, to="s")
    sizes = helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2])
    adapted = adapt(net.model({"b": [1, BOXES, 4], "s": [1, BOXES, 3]}, inputs=[sizes]))
    found = run(adapted.model, picture())
    reference = run(onnx.shape_inference.infer_shapes(adapted.model), picture())
    assert np.array_equal(found["boxes"], reference["boxes"])
    # A cell's middle plus and minus its distances: the mean over all is near the picture's middle.
    assert SIZE * 0.4 < found["boxes"].mean() < SIZE * 0.6
    assert any("orig_target_sizes" in note for note in adapted.notes)


def test_opset_is_named() -> None:
    model = yolov8()
    model.opset_import[0].version = 10
    with pytest.raises(GraphError, match="opset 11 to 21 expected, 10 found"):
        adapt(model)


def test_channels_last_is_refused() -> None:
    net = Net()
    net.op("Identity", net.conv(6, 8), to="o")
    with pytest.raises(GraphError, match=r"\[B,3,H,W\]"):
        adapt(net.model({"o": [1, 6, 8, 8]}, picture=[1, 64, 64, 3]))


def test_what_is_adapted_is_not_adapted_again() -> None:
    with pytest.raises(GraphError, match="nothing to adapt"):
        adapt(adapt(yolov8()).model)


def test_external_data_ends_in_one_file(tmp_path: Path) -> None:
    model = yolov8()
    onnx.save(
        copy.deepcopy(model),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.bin",
        size_threshold=0,
    )
    adapted = adapt_file(tmp_path / "m.onnx", tmp_path / "out" / "a.onnx", options_from_text())
    assert adapted.spec.provenance["family"] == "yolov8"
    check(onnx.load(tmp_path / "out" / "a.onnx"), *expected(run(model, picture())["output0"]), picture())


def test_preprocess_changes_the_familys() -> None:
    options = options_from_text(preprocess="channels=bgr,scale=1,mean=1/2/3,std=4/5/6,pad=0,resize=stretch")
    spec = adapt(yolov8(), preprocess=options.preprocess).spec.preprocess
    assert (spec.channels, spec.scale, spec.mean, spec.std, spec.pad_value, spec.resize) == (
        "bgr", 1.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 0.0, "stretch",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["colour=rgb", "scale", "scale=x", "scale=1/0", "mean="])
def test_preprocess_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="--preprocess"):
        options_from_text(preprocess=text)


def test_preprocess_of_a_wrong_value() -> None:
    with pytest.raises(ModelError, match="channels"):
        adapt(yolov8(), preprocess={"channels": "cmyk"})


@pytest.mark.parametrize("text", ["640x", "0", "axb", "1x2x3"])
def test_size_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="--size"):
        options_from_text(size=text)


def test_the_command_line(tmp_path: Path) -> None:
    source, output, names = tmp_path / "m.onnx", tmp_path / "a.onnx", tmp_path / "n.txt"
    onnx.save(yolov8(), source)
    names.write_text("x\ny\nz\n", encoding="utf-8")
    done = edgeyolo("adapt", source, "-o", output, "--names", names)
    assert done.returncode == 0, done.stderr
    assert "yolov8, 3 classes, 84 boxes at 64x64" in done.stdout
    assert "because" in done.stdout
    built = edgeyolo("build", output, "-o", tmp_path / "a.engine", "--backend", "onnxruntime")
    assert built.returncode == 0, built.stderr


def test_an_unknown_family_lists_the_known(tmp_path: Path) -> None:
    onnx.save(yolov8(), tmp_path / "m.onnx")
    done = edgeyolo("adapt", tmp_path / "m.onnx", "-o", tmp_path / "a.onnx", "--family", "yolo99")
    assert done.returncode == 2
    assert "yolox" in done.stderr
    assert not (tmp_path / "a.onnx").exists()
