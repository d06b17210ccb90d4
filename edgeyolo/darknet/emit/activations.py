"""Darknet's activation functions in plain ONNX operators.

Owns one expression a function. Each is exact, not an approximation; piecewise functions are written with
Clip, which every engine has, rather than with comparisons.

Source: Darknet src/activations.h (one line a function); mish, hard_mish, swish, gelu and relu6 in
src/activations.c of AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeyolo.darknet.emit.builder import GraphBuilder
from edgeyolo.darknet.layers import Activation

__all__ = ["emit_activation"]


def emit_activation(
    graph: GraphBuilder, activation: Activation, tensor: str, name: str, shape: Sequence[int]
) -> str:
    """Append an activation; its tensor is called ``<name>_<activation>``.

    Args:
        graph: What grows.
        activation: The function; LINEAR appends nothing.
        tensor: Its argument.
        name: Name of the Darknet layer.
        shape: Shape without the batch.

    Returns:
        Name of the result.
    """
    if activation is Activation.LINEAR:
        return tensor
    result = f"{name}_{activation.value}"
    if activation in _ONE_NODE:
        op_type, attributes = _ONE_NODE[activation]
        return graph.node(op_type, (tensor,), result, shape, **attributes)
    return _EXPRESSIONS[activation](_Expression(graph, result, shape), tensor)


class _Expression:
    """Names the inner nodes of one expression; the last has the expression's own name."""

    def __init__(self, graph: GraphBuilder, name: str, shape: Sequence[int]) -> None:
        self._graph = graph
        self._name = name
        self._shape = shape

    def step(self, op_type: str, *inputs: str | float, part: str = "") -> str:
        """Append an element-wise node; numbers become shared constants, `part` marks an inner one."""
        names = [item if isinstance(item, str) else self._graph.shared(item) for item in inputs]
        return self._graph.node(op_type, names, f"{self._name}_{part}" if part else self._name, self._shape)

    def piecewise(self, x: str, outer: float, low: float, high: float, inner: float, shift: float) -> str:
        """Give ``outer * x + inner * clip(x, low, high) + shift``: slope `outer` outside of low..high."""
        middle = self.step("Mul", self.step("Clip", x, low, high, part="clip"), inner, part="inner")
        total = self.step("Mul", x, outer, part="outer")
        if shift == 0:
            return self.step("Add", total, middle)
        return self.step("Add", self.step("Add", total, middle, part="sum"), shift)


def _mish(e: _Expression, x: str) -> str:
    # x * tanh(softplus(x)). There is a Mish operator from opset 18, which engines expand to these three.
    return e.step("Mul", x, e.step("Tanh", e.step("Softplus", x, part="softplus"), part="tanh"))


def _hard_mish(e: _Expression, x: str) -> str:
    # x for x > 0, x * (x + 2) / 2 for -2 < x <= 0, else 0.
    low = e.step("Clip", x, -2.0, 0.0, part="clip")
    factor = e.step("Add", e.step("Mul", low, 0.5, part="half"), 1.0, part="factor")
    return e.step("Add", e.step("Relu", x, part="positive"), e.step("Mul", low, factor, part="negative"))


def _swish(e: _Expression, x: str) -> str:
    return e.step("Mul", x, e.step("Sigmoid", x, part="sigmoid"))


def _gelu(e: _Expression, x: str) -> str:
    # 0.5 x (1 + tanh(0.797885 x + 0.035677 x^3)), Darknet's own digits.
    square = e.step("Mul", x, x, part="square")
    slope = e.step("Add", e.step("Mul", square, 0.035677, part="cubic"), 0.797885, part="slope")
    tanh = e.step("Tanh", e.step("Mul", x, slope, part="argument"), part="tanh")
    return e.step("Mul", e.step("Add", e.step("Mul", tanh, 0.5, part="half"), 0.5, part="gate"), x)


def _loggy(e: _Expression, x: str) -> str:
    # 2 / (1 + exp(-x)) - 1 is tanh(x / 2).
    return e.step("Tanh", e.step("Mul", x, 0.5, part="half"))


def _ramp(e: _Expression, x: str) -> str:
    return e.step("Add", e.step("Relu", x, part="positive"), e.step("Mul", x, 0.1, part="slope"))


def _stair(e: _Expression, x: str) -> str:
    # floor(x / 2), plus the fraction of x where floor(x) is odd.
    step = e.step("Floor", e.step("Mul", x, 0.5, part="half"), part="floor")
    rest = e.step("Sub", x, e.step("Mul", step, 2.0, part="even"), part="rest")
    return e.step("Add", step, e.step("Relu", e.step("Sub", rest, 1.0, part="odd"), part="fraction"))


_ONE_NODE: dict[Activation, tuple[str, dict[str, float]]] = {
    Activation.LEAKY: ("LeakyRelu", {"alpha": 0.1}),
    Activation.RELU: ("Relu", {}),
    Activation.LOGISTIC: ("Sigmoid", {}),
    Activation.TANH: ("Tanh", {}),
    Activation.ELU: ("Elu", {"alpha": 1.0}),
    Activation.SELU: ("Selu", {"alpha": 1.6732, "gamma": 1.0507}),
}
_EXPRESSIONS: dict[Activation, Callable[[_Expression, str], str]] = {
    Activation.RELU6: lambda e, x: e.step("Clip", x, 0.0, 6.0),
    Activation.HARDTAN: lambda e, x: e.step("Clip", x, -1.0, 1.0),
    Activation.LHTAN: lambda e, x: e.piecewise(x, 0.001, 0.0, 1.0, 0.999, 0.0),
    Activation.PLSE: lambda e, x: e.piecewise(x, 0.01, -4.0, 4.0, 0.115, 0.5),
    Activation.RAMP: _ramp,
    Activation.STAIR: _stair,
    Activation.LOGGY: _loggy,
    Activation.GELU: _gelu,
    Activation.SWISH: _swish,
    Activation.MISH: _mish,
    Activation.HARD_MISH: _hard_mish,
}
