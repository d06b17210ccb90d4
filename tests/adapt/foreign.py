"""Small foreign detectors with random weights, each with the layout of a family's exporter, as ONNX graphs.

A picture of 64x64 goes through one convolution a stride (8, 16, 32) to a map; what follows is the head as the
family's own exporter writes it. `run` gives every output of a graph by name, so that a test can decode the
family's raw values in NumPy by itself and compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
STRIDES = (8, 16, 32)
CELLS = tuple((SIZE // stride) ** 2 for stride in STRIDES)  # 64, 16, 4
BOXES = sum(CELLS)  # 84


class Net:
    """A growing graph; every method gives the name of a tensor."""

    def __init__(
        self, seed: int = 0, *, opset: int = 13, dtype: type = np.float32, batch: int | str = 1
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset, self.dtype, self.batch = opset, dtype, batch
        self.nodes: list[Any] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.count = 0

    def op(self, kind: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        self.count += 1
        name = to or f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, tensor: str, kind: int, to: str | None = None) -> str:
        name = self.op("Identity", tensor, to=to)
        self.nodes[-1] = helper.make_node("Cast", [tensor], [name], to=kind)
        return name

    def const(self, value: Any, dtype: Any = None) -> str:
        self.count += 1
        name = f"w{self.count}"
        self.weights[name] = np.asarray(value, dtype or self.dtype)
        return name

    def conv(self, channels: int, stride: int, tensor: str = "images", spread: float = 2.0) -> str:
        """One convolution that looks at a whole cell."""
        weights = self.rng.normal(0, spread / stride, (channels, 3, stride, stride))
        return self.op(
            "Conv",
            tensor,
            self.const(weights),
            self.const(self.rng.normal(0, 0.3, channels)),
            strides=[stride, stride],
        )

    def part(self, tensor: str, axis: int, begin: int, end: int) -> str:
        limits = [self.const([value], np.int64) for value in (begin, end, axis)]
        return self.op("Slice", tensor, *limits)

    def reshape(self, tensor: str, *shape: int) -> str:
        return self.op("Reshape", tensor, self.const(shape, np.int64))

    def transpose(self, tensor: str, *perm: int, to: str | None = None) -> str:
        return self.op("Transpose", tensor, perm=list(perm), to=to)

    def concat(self, *tensors: str, axis: int, to: str | None = None) -> str:
        return self.op("Concat", *tensors, axis=axis, to=to)

    def model(
        self,
        outputs: Mapping[str, Sequence[int | str]],
        *,
        metadata: Mapping[str, str] | None = None,
        picture: Sequence[int | str] | None = None,
        inputs: Sequence[Any] = (),
        input_type: int | None = None,
    ) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        shape = picture or [self.batch, 3, SIZE, SIZE]
        graph = helper.make_graph(
            self.nodes,
            "foreign",
            [helper.make_tensor_value_info("images", input_type or kind, shape), *inputs],
            [helper.make_tensor_value_info(name, kind, dims) for name, dims in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        for key, value in (metadata or {}).items():
            model.metadata_props.add(key=key, value=value)
        return model


def picture(batch: int = 1, seed: int = 5, scale: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, scale, (batch, 3, SIZE, SIZE)).astype(np.float32)


def run(model: onnx.ModelProto, value: NDArray[Any]) -> dict[str, NDArray[Any]]:
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: value}), strict=True))


def cells() -> NDArray[np.float64]:
    """Column, row and stride of each box of an anchor-free head, row by row, finest stride first."""
    rows = []
    for stride in STRIDES:
        side = math.ceil(SIZE / stride)
        rows += [(x, y, stride) for y in range(side) for x in range(side)]
    return np.array(rows, np.float64)


def corners(cxcywh: NDArray[Any]) -> NDArray[np.float64]:
    """``[..., cx cy w h]`` to ``[..., x0 y0 x1 y1]``, one value at a time."""
    cx, cy, w, h = np.moveaxis(cxcywh.astype(np.float64), -1, 0)
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=-1)


def sigmoid(value: NDArray[Any]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-value.astype(np.float64)))
    return result


def check(
    model: onnx.ModelProto,
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    value: NDArray[Any],
    *,
    atol: float = 1e-4,
) -> None:
    """Compare an adapted model with boxes and scores that the test decoded."""
    found = run(model, value)
    assert list(found) == ["boxes", "scores"]
    assert found["boxes"].dtype == found["scores"].dtype == np.float32
    assert found["boxes"].shape == boxes.shape
    assert found["scores"].shape == scores.shape
    assert np.ptp(scores) > 0.1, "random weights that tell boxes apart"
    np.testing.assert_allclose(found["boxes"], boxes, atol=atol, rtol=1e-5)
    np.testing.assert_allclose(found["scores"], scores, atol=atol)


def weights_of(model: onnx.ModelProto) -> set[tuple[str, bytes]]:
    return {(item.name, numpy_helper.to_array(item).tobytes()) for item in model.graph.initializer}


def is_kept(before: onnx.ModelProto, after: onnx.ModelProto) -> bool:
    """Say whether every weight of a convolution is still there, bit for bit."""
    used = {name for node in before.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    return {item for item in weights_of(before) if item[0] in used} <= weights_of(after)


def float_input(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
