"""Derivatives against central differences that ONNX Runtime computes from the graph itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgeyolo.calibrate.gradient import (  # noqa: E402
    Differentiable,
    cotangent_name,
    differentiable,
    gradient_name,
)
from edgeyolo.qdq import GraphView, QuantPlan, int8_model, quant_plan  # noqa: E402
from edgeyolo.scales import Provenance, Scales, TensorScale  # noqa: E402
from tests.qdq.nets import detector, images  # noqa: E402

PROVENANCE = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=1, method="")
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order() -> None:
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state


C, H, W = 4, 6, 8
Nodes = Callable[["Net"], str]


class Net:
    """A Conv, whose input has a pair; then what is under test, on a tensor of shape (1, 4, 6, 8)."""

    def __init__(self) -> None:
        self.nodes = [helper.make_node("Conv", ["images", "w"], ["x"], pads=[1, 1, 1, 1], name="first")]
        self.constants: dict[str, Any] = {"w": RNG.normal(0, 0.4, (C, 2, 3, 3)).astype(np.float32)}

    def add(self, op: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        names = []
        for value in inputs:
            if isinstance(value, str):
                names.append(value)
            else:
                names.append(f"c{len(self.constants)}")
                self.constants[names[-1]] = np.asarray(value)
        made = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, names, made, name=made[0], **attributes))
        return made[0] if outputs == 1 else made

    def model(self, output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 2, H, W])],
            [helper.make_empty_tensor_value_info(output)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def weights(*shape: int) -> Any:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def f32(value: float) -> Any:
    return np.float32(value)


def conv(shape: tuple[int, ...], **attributes: Any) -> Nodes:
    return lambda n: n.add("Conv", "x", weights(*shape), **attributes)


def split(n: Net) -> str:
    parts = n.add("Split", "x", np.array([1, 2, 1]), outputs=3, axis=1)
    return str(n.add("Mul", parts[1], n.add("Exp", parts[1])))


def spp(n: Net) -> Any:
    parts = [n.add("MaxPool", "x", kernel_shape=[k, k], strides=[1, 1], pads=[k // 2] * 4) for k in (3, 5, 7)]
    return n.add("Concat", *parts, "x", axis=1)


def silu_of_a_sigmoid(n: Net) -> Any:
    x = n.add("Sigmoid", n.add("Sub", "x", f32(2)))  # far from its own sigmoid
    return n.add("Mul", x, n.add("Sigmoid", x))


def silu_with_a_read_gate(n: Net) -> Any:
    gate = n.add("Sigmoid", "x")
    return n.add("Add", n.add("Mul", gate, "x"), n.add("Exp", gate))


CASES: dict[str, Nodes] = {
    "conv": conv((3, C, 3, 3), pads=[1, 1, 1, 1]),
    "conv without padding": conv((3, C, 3, 3)),
    "conv dilated": conv((3, C, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2]),
    "conv padded unevenly": conv((3, C, 3, 3), pads=[0, 1, 2, 1]),
    "conv padded beyond its reach": conv((3, C, 1, 1), pads=[1, 1, 1, 1]),
    "conv SAME_UPPER": conv((3, C, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv SAME_LOWER": conv((3, C, 2, 2), auto_pad="SAME_LOWER"),
    "conv strided": conv((3, C, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv strided, rest left over": conv((3, C, 3, 3), strides=[2, 3]),
    "conv grouped": conv((6, 2, 3, 3), pads=[1, 1, 1, 1], group=2),
    "conv depthwise": conv((C, 1, 3, 3), pads=[1, 1, 1, 1], group=C),
    "conv depthwise strided": conv((C, 1, 3, 3), pads=[1, 1, 1, 1], group=C, strides=[2, 2]),
    "conv transposed": lambda n: n.add("ConvTranspose", "x", weights(C, 3, 2, 2), strides=[2, 2]),
    "leaky": lambda n: n.add("LeakyRelu", "x", alpha=0.1),
    "relu": lambda n: n.add("Relu", "x"),
    "clip": lambda n: n.add("Clip", "x", f32(-0.3), f32(0.6)),
    "sigmoid": lambda n: n.add("Sigmoid", "x"),
    "silu": lambda n: n.add("Mul", "x", n.add("Sigmoid", "x")),
    "silu, its gate read by another": silu_with_a_read_gate,
    "silu of a sigmoid": silu_of_a_sigmoid,
    "mish": lambda n: n.add("Mul", "x", n.add("Tanh", n.add("Softplus", "x"))),
    "hard swish": lambda n: n.add("HardSwish", n.add("Mul", "x", f32(4))),
    "hard sigmoid": lambda n: n.add("HardSigmoid", n.add("Mul", "x", f32(4)), alpha=0.25, beta=0.4),
    "exp": lambda n: n.add("Exp", "x"),
    "log and sqrt": lambda n: n.add("Log", n.add("Sqrt", n.add("Exp", "x"))),
    "power": lambda n: n.add("Pow", n.add("Sigmoid", "x"), f32(2.0)),
    "add a channel's constant": lambda n: n.add("Exp", n.add("Add", weights(C, 1, 1), "x")),
    "sub": lambda n: n.add("Sub", n.add("Sigmoid", "x"), n.add("Exp", "x")),
    "div": lambda n: n.add("Div", n.add("Sigmoid", "x"), n.add("Exp", "x")),
    "neg": lambda n: n.add("Exp", n.add("Neg", "x")),
    "broadcast": lambda n: n.add("Mul", "x", n.add("Sigmoid", n.add("GlobalAveragePool", "x"))),
    "concat and a second reader": lambda n: n.add("Concat", "x", n.add("Exp", "x"), axis=1),
    "split, one part read": split,
    "slice": lambda n: n.add(
        "Slice", n.add("Exp", "x"), np.array([1, -5]), np.array([3, -1]), np.array([1, 3])
    ),
    "reshape and transpose": lambda n: n.add(
        "Transpose", n.add("Reshape", n.add("Exp", "x"), np.array([1, C, H * W])), perm=[0, 2, 1]
    ),
    "softmax": lambda n: n.add("Softmax", n.add("Mul", "x", f32(3)), axis=1),
    "mean": lambda n: n.add("ReduceMean", n.add("Exp", "x"), axes=[2, 3], keepdims=0),
    "sum": lambda n: n.add("ReduceSum", n.add("Exp", "x"), np.array([1]), keepdims=1),
    "matmul": lambda n: n.add("MatMul", n.add("Exp", "x"), weights(W, 3)),
    "gemm": lambda n: n.add("Gemm", n.add("Flatten", "x"), weights(3, C * H * W), transB=1, alpha=0.5),
    "max pool": lambda n: n.add("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2]),
    "max pool, windows that overlap": lambda n: n.add(
        "MaxPool", "x", kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]
    ),
    "max pools of one tensor": spp,
    "max pool, windows of other shapes": lambda n: n.add("MaxPool", "x", kernel_shape=[3, 2], strides=[3, 2]),
    "resize": lambda n: n.add(
        "Resize", n.add("Exp", "x"), "", np.array([1, 1, 2, 2], np.float32), mode="nearest"
    ),
}


def run(model: bytes, feeds: dict[str, Any], outputs: list[str]) -> list[Any]:
    return list(ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(outputs, feeds))


def scales_of(plan: QuantPlan, amax: float, *, only: str | None = None) -> Scales:
    tensors = {name: TensorScale(amax=amax, method="") for group in plan.groups for name in group}
    as_float = {layer.name: "" for layer in plan.layers if only not in (None, layer.name)}
    return Scales(provenance=PROVENANCE, tensors=tensors, float_layers=as_float)


def derivative(graph: Differentiable, given: dict[str, Any]) -> Any:
    """Run one graph behind the other, as learning does."""
    forward = {name: value for name, value in given.items() if "/by/" not in name}
    saved = run(graph.forward, forward, list(graph.saved))
    session = ort.InferenceSession(graph.backward, providers=["CPUExecutionProvider"])
    read = {value.name for value in session.get_inputs()}
    own = given | dict(zip(graph.saved, saved, strict=True))
    own = {name: value for name, value in own.items() if name in read}
    return session.run([gradient_name("images")], own)[0]


@pytest.mark.parametrize("name", CASES)
def test_an_operator(name: str) -> None:
    """A step changes only by how its clipped values move: with all of them clipped, the graph is smooth."""
    net = Net()
    model = net.model(CASES[name](net))
    view = GraphView(model)
    plan = quant_plan(view)
    scales = scales_of(plan, 0.5, only="first")
    graph = differentiable(int8_model(model, scales, "tensorrt", plan=plan), view.shapes)
    assert graph.stopped == ()
    assert graph.reached == ("images",)
    image = np.where(RNG.random((1, 2, H, W)) < 0.5, -9.0, 9.0).astype(np.float32)
    output = model.graph.output[0].name
    feeds = {"images": image}
    where = graph.steps["images"]
    steps = np.array([0.004, 0.006], np.float32)

    def out(values: Any) -> Any:
        found = run(graph.forward, {**feeds, where: values.astype(np.float32)}, [output])[0]
        return np.asarray(found, np.float64)

    cotangent = RNG.normal(0, 1, out(steps).shape).astype(np.float32)
    given = {**feeds, where: steps, cotangent_name(output): cotangent}
    found = derivative(graph, given)
    for channel in range(2):
        change = np.zeros(2)
        change[channel] = 0.005
        moved = (out(steps * np.exp(change)) - out(steps * np.exp(-change))) / 0.01
        expected = float((moved * cotangent).sum())
        scale = float(np.abs(moved * cotangent).sum())
        assert found[channel] == pytest.approx(expected, abs=0.02 * scale + 1e-4)


def test_rounded_and_clipped_values_by_hand() -> None:
    """0.3 steps round to 0 and move by -0.3, 2.6 by 0.4, what is clipped by -128 or 127 steps."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "w"], ["y"], name="only")],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 4])],
        [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    view = GraphView(model)
    plan = quant_plan(view)
    made = differentiable(int8_model(model, scales_of(plan, 1.0), "tensorrt", plan=plan), view.shapes)
    image = np.array([0.3, 2.6, -500, 500], np.float32).reshape(1, 1, 1, 4) * 0.25
    for place, moved in enumerate((-0.3, 0.4, -128, 127)):
        cotangent = np.zeros((1, 1, 1, 4), np.float32)
        cotangent[..., place] = 1
        feeds = {
            "images": image,
            made.steps["images"]: np.array([0.25], np.float32),
            cotangent_name("y"): cotangent,
        }
        found = derivative(made, feeds)
        assert found == pytest.approx([moved * 0.25], rel=1e-4)


def test_an_operator_without_a_rule_stops_the_gradient_and_is_named() -> None:
    net = Net()
    model = net.model(net.add("Sin", "x"))
    view = GraphView(model)
    plan = quant_plan(view)
    graph = differentiable(int8_model(model, scales_of(plan, 1.0), "tensorrt", plan=plan), view.shapes)
    assert graph.stopped == ("Sin",)
    assert graph.reached == ()
    onnx.load_from_string(graph.backward)


def test_the_forward_graph_is_the_int8_graph_with_its_weights_in_float() -> None:
    model = detector()
    view = GraphView(model)
    plan = quant_plan(view)
    scales = scales_of(plan, 2.0)
    graph = differentiable(int8_model(model, scales, "tensorrt", plan=plan), view.shapes)
    assert set(graph.reached) == set(graph.steps)
    image = images(1, seed=8)[0]
    steps = {name: np.full(graph.channels[t], 2 / 127, np.float32) for t, name in graph.steps.items()}
    names = [value.name for value in model.graph.output]
    coarse = run(graph.forward, {view.inputs[0]: image, **steps}, names)
    fine = {name: np.full_like(value, 1e-6) for name, value in steps.items()}
    assert any(
        not np.allclose(a, b)
        for a, b in zip(coarse, run(model.SerializeToString(), {view.inputs[0]: image}, names), strict=True)
    )
    assert run(graph.forward, {view.inputs[0]: image, **fine}, names)[0].std() < coarse[0].std()
