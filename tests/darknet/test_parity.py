"""Our ONNX against Darknet itself, on the same input tensor: boxes to 1e-3 px, scores to 1e-5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeyolo.darknet.cfg import read_cfg
from edgeyolo.darknet.layers import Region, Yolo
from edgeyolo.darknet.network import Network, Parameters, network_from_cfg
from edgeyolo.darknet.to_onnx import class_count, onnx_from_network
from edgeyolo.darknet.weights import load_parameters, random_parameters, write_weights
from tests.reference import libdarknet

pytestmark = pytest.mark.needs("libdarknet", "onnx", "onnxruntime", "opencv")

Array = npt.NDArray[np.float32]

BOX_TOLERANCE_PX = 1e-3
SCORE_TOLERANCE = 1e-5

REAL_PAIRS = ["yolo-fastest-1.1-xl", "yolo-fastest-1.1", "yoloface-50k", "yolo-lite-coco-trial6"]
# Debian's cfgs with a head, and the input side that keeps Darknet's plain C loops short. Left out: yolov3-voc
# and yolov2-voc (yolov3 and yolov2 with other classes), yolov1 ([local]), yolo9000 (class hierarchy).
DETECTORS = [
    ("yolov3", 64),
    ("yolov3-tiny", 96),
    ("yolov3-spp", 64),
    ("yolov3-openimages", 64),
    ("yolov2", 64),
    ("yolov2-tiny", 96),
    ("yolov2-tiny-voc", 96),
    ("yolov1-tiny", None),
]
CLASSIFIERS = [
    ("darknet", 96),
    ("darknet19", 64),
    ("darknet53", 64),
    ("resnet18", 64),
    ("resnet34", 64),
    ("resnet50", 64),
    ("resnet101", 64),
    ("resnet152", 64),
    ("resnext50", 64),
    ("densenet201", 64),
    ("vgg-16", 64),
    ("alexnet", 96),
    ("extraction", 64),
    ("strided", 64),
    ("tiny", 96),
    ("cifar", None),
]


@pytest.mark.parametrize("name", REAL_PAIRS)
def test_real_weights_give_darknets_boxes(name: str, shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "darknet" / f"{name}.weights"
    cfg = libdarknet.cfg_for(shared_data / "darknet" / f"{name}.cfg", tmp_path)
    network = network_from_cfg(read_cfg(cfg))
    scores = compare_detector(network, load_parameters(network, weights), cfg, weights)
    assert scores.max() > 0.3  # the picture shows something that the model knows: not a comparison of zeros


@pytest.mark.needs("darknet-cfgs")
@pytest.mark.parametrize(("name", "side"), DETECTORS)
def test_random_weights_give_darknets_boxes(name: str, side: int | None, tmp_path: Path) -> None:
    cfg = debian_cfg(name, side, tmp_path)
    network = network_from_cfg(read_cfg(cfg))
    parameters = with_sane_heads(network, random_parameters(network, 0))
    weights = tmp_path / "random.weights"
    write_weights(weights, network, parameters)
    scores = compare_detector(network, parameters, cfg, weights)
    assert np.ptp(scores) > 1e-3  # the random weights did not saturate


@pytest.mark.needs("darknet-cfgs")
@pytest.mark.parametrize(("name", "side"), CLASSIFIERS)
def test_random_weights_give_darknets_probabilities(name: str, side: int | None, tmp_path: Path) -> None:
    cfg = debian_cfg(name, side, tmp_path)
    network = network_from_cfg(read_cfg(cfg))
    parameters = random_parameters(network, 0)
    weights = tmp_path / "random.weights"
    write_weights(weights, network, parameters)
    tensor = photo(network)
    (found,) = run(network, parameters, tensor)
    expected = libdarknet.output(cfg, weights, tensor)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=SCORE_TOLERANCE)
    # Probabilities of a thousand classes are small: compare their ratios, too.
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-7)
    assert np.ptp(expected) > 1e-5
    print(f"{name}: probabilities to {np.abs(found[0] - expected).max():.1e}")


def compare_detector(network: Network, parameters: Parameters, cfg: Path, weights: Path) -> Array:
    tensor = photo(network)
    boxes, scores = run(network, parameters, tensor)
    found = libdarknet.boxes_and_scores(cfg, weights, tensor, class_count(network))
    expected_boxes, expected_scores = (item[darknet_order(network)] for item in found)
    np.testing.assert_allclose(boxes[0], expected_boxes, rtol=0, atol=BOX_TOLERANCE_PX)
    np.testing.assert_allclose(scores[0], expected_scores, rtol=0, atol=SCORE_TOLERANCE)
    gaps = (np.abs(boxes[0] - expected_boxes).max(), np.abs(scores[0] - expected_scores).max())
    print(f"{cfg.stem}: boxes to {gaps[0]:.1e} px, scores to {gaps[1]:.1e}")  # pytest -s shows it
    return scores


def run(network: Network, parameters: Parameters, tensor: Array, outputs: str = "decoded") -> Sequence[Array]:
    import onnxruntime

    names = [f"class_{i}" for i in range(class_count(network))]
    model = onnx_from_network(network, parameters, names=names, outputs=outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": tensor[None]})


def darknet_order(network: Network) -> npt.NDArray[np.intp]:
    """Where Darknet has each of our boxes: [yolo] lists a cell's anchors together, we an anchor's cells."""
    order: list[npt.NDArray[np.intp]] = []
    start = 0
    for head in network.heads:
        if isinstance(head, (Yolo, Region)):
            anchors, cells = len(head.anchors_wh), head.in_shape.h * head.in_shape.w
        else:
            anchors, cells = head.num, head.side**2
        places = np.arange(anchors * cells)
        if isinstance(head, Yolo):
            places = places.reshape(cells, anchors).T.ravel()
        order.append(start + places)
        start += anchors * cells
    return np.concatenate(order)


def debian_cfg(name: str, side: int | None, folder: Path) -> Path:
    """Copy a cfg of Debian's darknet, smaller, and its [crop] with it."""
    size = None if side is None else (side, side)
    copy = libdarknet.cfg_for(libdarknet.CFG_DIR / f"{name}.cfg", folder, input_wh=size)
    if side is not None:
        copy.write_text(re.sub(r"(crop_(?:height|width))\s*=\s*\d+", rf"\1={side - 16}", copy.read_text()))
    return copy


def photo(network: Network) -> Array:
    """Give a photograph as the input tensor; stretched, as both get the same."""
    import cv2

    image = cv2.imread("/usr/share/darknet/data/dog.jpg")
    small = cv2.resize(image, (network.input_shape.w, network.input_shape.h), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)


def with_sane_heads(network: Network, parameters: Parameters) -> Parameters:
    """Scale what feeds each head to a deviation of 0.3, so that ``exp`` gives boxes of hundreds of pixels.

    A millionth of a box of 1e9 px, which unscaled random weights give, says nothing of pixels.
    """
    raw = run(network, parameters, photo(network), outputs="raw")
    scaled: dict[int, Mapping[str, Array]] = dict(parameters)
    for head, values in zip(network.heads, raw, strict=True):
        factor = np.float32(0.3 / values.std())
        index = head.inputs[0]
        while not network.layers[index].parameters:
            index = network.layers[index].inputs[0]
        arrays = parameters[index]
        scaled[index] = {**arrays, "weights": arrays["weights"] * factor, "biases": arrays["biases"] * factor}
    return scaled
