"""Small networks for quantisation, each with the parts that make placement hard."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeyolo.qdq.placement import exact_int8
from edgeyolo.spec import ModelSpec, Preprocess


class Net:
    """Builds a graph line by line; every method gives the name of the tensor that it makes."""

    def __init__(self, *, size: int = 16, channels: int = 3, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.shape = [1, channels, size, size]

    def op(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self, name: str, source: str, out: int, inner: int, size: int = 3, *, stride: int = 1, group: int = 1
    ) -> str:
        fan = inner // group * size * size
        weights = self.rng.normal(0, 1.3 / np.sqrt(fan), (out, inner // group, size, size))
        self.constants[f"{name}_w"] = weights.astype(np.float32)
        self.constants[f"{name}_b"] = self.rng.normal(0, 0.1, out).astype(np.float32)
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self.op("Conv", [source, f"{name}_w", f"{name}_b"], name, group=group, **attributes)

    def leaky(self, source: str) -> str:
        return self.op("LeakyRelu", [source], f"{source}_leaky", alpha=0.1)

    def activation(self, kind: str, source: str) -> str:
        """Put an activation behind a tensor, SiLU and Mish as exporters write them."""
        if kind == "SiLU":
            return self.op("Mul", [source, self.op("Sigmoid", [source], f"{source}_gate")], f"{source}_silu")
        if kind == "Mish":
            soft = self.op("Softplus", [source], f"{source}_soft")
            return self.op("Mul", [source, self.op("Tanh", [soft], f"{source}_gate")], f"{source}_mish")
        if kind == "Clip":
            self.constants |= {"least": np.float32(0), "most": np.float32(6)}
            return self.op("Clip", [source, "least", "most"], f"{source}_clip")
        return self.op(kind, [source], f"{source}_{kind.lower()}")

    def model(self, outputs: list[str], *, opset: int = 16) -> onnx.ModelProto:
        size = self.shape[-1]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        spec = ModelSpec(
            task="detect", input_name="images", input_wh=(size, size), batch=1, names=("car",),
            preprocess=Preprocess(), outputs="raw",
        )  # fmt: skip
        helper.set_model_props(model, spec.to_metadata())
        return model


def detector() -> onnx.ModelProto:
    """Residual, depthwise, max-pool, upsample and concatenation, two heads: a YOLO in eleven layers."""
    net = Net()
    stem = net.leaky(net.conv("stem", "images", 8, 3, stride=2))
    wide = net.leaky(net.conv("wide", stem, 16, 8, 1))
    deep = net.leaky(net.conv("deep", wide, 16, 16, group=16))
    thin = net.conv("thin", deep, 8, 16, 1)
    total = net.op("Add", [stem, thin], "sum")
    pooled = net.op("MaxPool", [total], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    body = net.leaky(net.conv("body", pooled, 16, 8))
    net.conv("head_a", body, 9, 16, 1)
    narrow = net.leaky(net.conv("narrow", body, 8, 16, 1))
    net.constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    bigger = net.op("Resize", [narrow, "", "twice"], "bigger", mode="nearest")
    joined = net.op("Concat", [bigger, total], "joined", axis=1)
    neck = net.leaky(net.conv("neck", joined, 8, 16))
    net.conv("head_b", neck, 9, 8, 1)
    return net.model(["head_a", "head_b"])


def straight(kind: str) -> onnx.ModelProto:
    """One kind of activation behind every layer, a residual sum, a head."""
    net = Net()
    first = net.activation(kind, net.conv("first", "images", 16, 3))
    second = net.activation(kind, net.conv("second", first, 16, 16))
    third = net.activation(kind, net.conv("third", second, 16, 16))
    total = net.op("Add", [first, third], "sum")
    last = net.activation(kind, net.conv("last", total, 16, 16, 1))
    net.conv("head", last, 8, 16, 1)
    return net.model(["head"])


def mobile(kind: str = "SiLU", *, gain: float = 2.0) -> onnx.ModelProto:
    """Depthwise and 1x1 layers in turn, the form of light detectors; every 1x1 reads an activation."""
    net = Net()
    source = net.activation(kind, net.conv("stem", "images", 16, 3))
    for index in range(3):
        deep = net.activation(kind, net.conv(f"deep{index}", source, 16, 16, group=16))
        net.constants[f"deep{index}_w"] *= np.float32(gain)
        source = net.activation(kind, net.conv(f"wide{index}", deep, 16, 16, 1))
    net.conv("head", source, 8, 16, 1)
    for name in ("wide0", "wide1", "wide2", "head"):  # which int8 has exactly
        weights = net.constants[f"{name}_w"]
        step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
        net.constants[f"{name}_w"] = (np.rint(weights / step) * step).astype(np.float32)
    return net.model(["head"])


def images(count: int, *, size: int = 16, seed: int = 1) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Smooth random pictures in 0..1, one a tensor."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 3, size // 4, size // 4), np.float32)
    return [np.kron(picture, np.ones((1, 4, 4), np.float32))[None] for picture in coarse]


def run(model: onnx.ModelProto, image: object, *, fuse: bool = False) -> list[Any]:
    """Run a model in ONNX Runtime; without `fuse`, every node as it is written."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    for key, value in exact_int8().items():  # the fast kernels of x86 without VNNI saturate
        options.add_session_config_entry(key, value)
    if not fuse:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: image}))
