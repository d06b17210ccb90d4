"""Models small enough to check by hand, that keep the graph contract.

The detector looks at four quarters of its 32x32 input and says of each how red and how green it is; the
classifier says whether the picture is red, green or blue. Needs onnx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeyolo.spec import ModelSpec, Preprocess

# Quarter by quarter, row by row, xyxy_net.
QUARTERS = ((0, 0, 16, 16), (16, 0, 32, 16), (0, 16, 16, 32), (16, 16, 32, 32))
DETECTOR_NAMES = ("red", "green")
CLASSIFIER_NAMES = ("red", "green", "blue")


def spec(**changes: Any) -> ModelSpec:
    """Give the detector's spec, with changes."""
    fields: dict[str, Any] = {
        "task": "detect", "input_name": "images", "input_wh": (32, 32), "batch": 1,
        "names": DETECTOR_NAMES, "preprocess": Preprocess(), "outputs": "decoded",
    }  # fmt: skip
    return ModelSpec(**{**fields, **changes})


def write_detector(
    path: Path, *, batch: int | None = 1, rename: str = "boxes", metadata: bool = True
) -> Path:
    """Write the detector; `batch` None is dynamic, `rename` breaks the contract."""
    from onnx import TensorProto, helper, numpy_helper

    size: int | str = batch or "B"
    constants = {
        "quarters": np.array([QUARTERS], np.float32),
        "zero": np.zeros((1,), np.float32),
        "start": np.array([0]), "end": np.array([2]), "axis": np.array([1]),
        "rows": np.array([0, 2, 4]), "two": np.array([2]),
    }  # fmt: skip
    nodes = [
        helper.make_node("AveragePool", ["images"], ["mean"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Slice", ["mean", "start", "end", "axis"], ["red_green"]),
        helper.make_node("Reshape", ["red_green", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["scores"], perm=[0, 2, 1]),
        # The boxes are constants; what follows only gives them the batch of the scores.
        helper.make_node("ReduceSum", ["scores", "two"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["quarters", "nothing"], [rename]),
    ]
    graph = helper.make_graph(
        nodes,
        "quarters",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [size, 3, 32, 32])],
        [
            helper.make_tensor_value_info(rename, TensorProto.FLOAT, [size, 4, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [size, 4, 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _save(graph, spec(batch=batch) if metadata else None, path)


def write_classifier(path: Path) -> Path:
    """Write the classifier: softmax of ten times the mean colour."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.array([10], np.float32), "ten")],
    )
    changes = {"task": "classify", "names": CLASSIFIER_NAMES, "outputs": "probabilities"}
    return _save(graph, spec(**changes, preprocess=Preprocess(resize="center_crop")), path)


def picture(*colours_bgr: tuple[int, int, int], wh: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Give a picture of four quarters, row by row; one colour fills it all."""
    width, height = wh
    top_left, top_right, low_left, low_right = colours_bgr if len(colours_bgr) == 4 else colours_bgr * 4
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = top_left, top_right
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = low_left, low_right
    return image


def _save(graph: Any, model_spec: ModelSpec | None, path: Path) -> Path:
    import onnx
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    if model_spec is not None:
        helper.set_model_props(model, model_spec.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
