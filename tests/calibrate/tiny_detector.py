"""A detector of a few convolutions, small enough to calibrate in a test, and not a toy of one layer.

It looks at the cells of a coarse grid; what it finds are boxes on cells whose colour stands out. The weights
are random but fixed, and scaled so that activations stay near 1. Needs onnx.
"""

from pathlib import Path
from typing import Any

import numpy as np

from edgeyolo.spec import ModelSpec, Preprocess

NAMES = ("a", "b", "c")
SPEC = ModelSpec(
    task="detect",
    input_name="images",
    input_wh=(64, 64),
    batch=1,
    names=NAMES,
    preprocess=Preprocess(),
    outputs="decoded",
)


def write_detector(path: Path, *, poison: float | None = None, dead: bool = False) -> Path:
    """Write the detector.

    Args:
        path: The ONNX file.
        poison: A bias of the second layer, such as infinity.
        dead: Whether the second layer gives nothing but zeros.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {}
    nodes = []

    def conv(name: str, source: str, shape: tuple[int, int, int], stride: int, *, leaky: bool = True) -> str:
        out, inner, size = shape
        weights = rng.normal(0, 1.4 / np.sqrt(inner * size * size), (out, inner, size, size))
        constants[f"{name}_w"] = weights.astype(np.float32)
        constants[f"{name}_b"] = rng.normal(0, 0.1, out).astype(np.float32)
        raw = f"{name}_raw" if leaky else name
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        nodes.append(
            helper.make_node("Conv", [source, f"{name}_w", f"{name}_b"], [raw], name=raw, **attributes)
        )
        if leaky:
            nodes.append(helper.make_node("LeakyRelu", [raw], [name], name=name, alpha=0.1))
        return name

    first = conv("first", "images", (8, 3, 3), 2)
    second = conv("second", first, (16, 8, 3), 2)
    third = conv("third", second, (16, 16, 1), 1)
    nodes.append(helper.make_node("Add", [third, second], ["sum"], name="sum"))
    pooled = "pooled"
    nodes.append(
        helper.make_node("MaxPool", ["sum"], [pooled], name=pooled, kernel_shape=[2, 2], strides=[2, 2])
    )
    head = conv("head", pooled, (len(NAMES), 16, 1), 1, leaky=False)
    constants["head_b"] += 1  # so that about half of the cells have a box
    if poison is not None:
        constants["second_b"][3] = poison
    if dead:
        constants["second_w"][:] = 0
        constants["second_b"][:] = 0
    cells = 8
    y, x = np.mgrid[0:cells, 0:cells].reshape(2, -1) * (64 // cells)
    constants["cells"] = np.stack([x, y, x + 8, y + 8], axis=1)[None].astype(np.float32)
    constants["shape"] = np.array([1, len(NAMES), cells * cells])
    constants["sharp"] = np.array(4, np.float32)
    nodes += [
        helper.make_node("Reshape", [head, "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["logits"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["logits", "sharp"], ["sharper"]),
        helper.make_node("Sigmoid", ["sharper"], ["scores"]),
        helper.make_node("Identity", ["cells"], ["boxes"]),
    ]
    count = cells * cells
    graph = helper.make_graph(
        nodes,
        "grid",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, count, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, count, len(NAMES)]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    helper.set_model_props(model, SPEC.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
