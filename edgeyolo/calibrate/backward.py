"""What a rule of differentiation writes with: nodes and constants behind a graph, and the types of a rule.

Owns names that clash with none of the graph's. Refuses to know an operator
(`edgeyolo.calibrate.derivatives`) and to walk a graph (`edgeyolo.calibrate.gradient`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.optional import require

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

__all__ = ["Backward", "Given", "Parts", "Rule"]

Given = Sequence["str | None"]
"""Derivatives of the error by a node's outputs; None for an output without one."""

Parts = Sequence["str | None"] | None
"""Derivatives by its inputs; None where a rule has none."""

Rule = Callable[["Backward", "onnx.NodeProto", Given], Parts]

_PREFIX = "edgeyolo/gradient/node"
_FLOAT = 1  # onnx.TensorProto.FLOAT


class Backward:
    """Adds nodes and constants behind a graph.

    Args:
        model: The graph; grows.
        constants: Its constants by name; grow.
        shapes: Of its tensors.

    Attributes:
        sigmoids: Output of each Sigmoid in the graph to its input.
    """

    def __init__(
        self, model: Any, constants: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._helper = require("onnx.helper", why="to differentiate a model")
        self.model = model
        self.constants = dict(constants)
        self.shapes = shapes
        self.sigmoids = {
            node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Sigmoid"
        }
        self._count = 0

    def wants(self, tensor: str) -> bool:
        """Tell whether the derivative by a tensor is of use."""
        raise NotImplementedError

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output; give its name."""
        return self.add_many(op, inputs, 1, **attributes)[0]

    def add_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs; give their names."""
        self._count += 1
        names = [f"{_PREFIX}/{self._count}/{op}/{index}" for index in range(count)]
        self.model.graph.node.append(self._helper.make_node(op, list(inputs), names, **attributes))
        return names

    def constant(self, value: npt.NDArray[Any] | np.generic) -> str:
        """Add a constant; give its name."""
        array = np.asarray(value)
        text = "x".join(map(str, array.ravel()[:16])) if array.size <= 16 else f"n{len(self.constants)}"
        name = f"{_PREFIX}/constant/{array.dtype}/{array.shape}/{text}"
        self.constants.setdefault(name, array)
        return name

    def number(self, value: float) -> str:
        """Add a float; give its name."""
        return self.constant(np.float32(value))

    def mask(self, op: str, one: str, other: str) -> str:
        """Compare two tensors; give 1 where it holds and 0 where not, to multiply with.

        A Where takes ONNX Runtime ten times as long as such a product: it was half the time of a gradient.
        """
        return self.add("Cast", [self.add(op, [one, other])], to=_FLOAT)

    def like(self, given: str, made: str, wanted: str) -> str | None:
        """Sum over what an operator broadcast: from the shape of its output to that of an input."""
        before, after = self.shapes.get(wanted), self.shapes.get(made)
        if before is None or after is None:
            return None
        if before == after:
            return given
        padded = (1,) * (len(after) - len(before)) + before
        axes = [axis for axis, (one, many) in enumerate(zip(padded, after, strict=True)) if one != many]
        summed = self.add("ReduceSum", [given, self.constant(np.array(axes, np.int64))], keepdims=1)
        return self.add("Reshape", [summed, self.constant(np.array(before, np.int64))])
