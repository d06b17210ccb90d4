"""Suppression in the graph: ONNX's NonMaxSuppression behind the boxes and scores of a detector.

The outputs keep their names and shapes; the score of what was not chosen is 0, and the model's spec says that
its boxes are final. Owns the rewriting. The results are those of the host's suppression (`edgeyolo.vision`):
a box counts for its best class, classes do not suppress each other. But the host first drops boxes that lie
wholly in the letterbox's padding; the graph does not know where that is, and lets them take part.

Source: ONNX, NonMaxSuppression-11. TensorRT has it as INMSLayer from 8.5 on, which looks at the best 5000
boxes of a picture, on SM 5.3 and 6.2 at 2000 (NvInfer.h, setTopKBoxLimit).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.optional import require
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphNms", "nms_from_options", "suppress_in_graph"]

_BOXES, _SCORES = "boxes", "scores"  # docs/design.md, "Graph contract"
_LEAST_OPSET = 11
_PER_CLASS = 300  # as many as the host reports of all classes together


@dataclass(frozen=True, kw_only=True)
class GraphNms:
    """A suppression that is part of an engine.

    Args:
        iou: Boxes of one class that overlap more than this are one object, 0..1.
        conf: Least score that takes part, 0..1; who runs the engine can only ask for more.
    """

    iou: float = 0.45
    conf: float = 0.01

    def __post_init__(self) -> None:
        for name, value in (("--nms-iou", self.iou), ("--nms-conf", self.conf)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name}: 0..1 expected, {value} found")


def nms_from_options(where: str, *, iou: float | None, conf: float | None) -> GraphNms | None:
    """Read the options of a build; None leaves the suppression to who runs the engine.

    Args:
        where: ``host`` or ``graph``.
        iou: Of `GraphNms`; None is its default.
        conf: Of `GraphNms`; None is its default.

    Raises:
        ConfigError: They do not go together, or are out of range.

    Examples:
        >>> nms_from_options("graph", iou=0.6, conf=None)
        GraphNms(iou=0.6, conf=0.01)
    """
    given = {name: value for name, value in (("iou", iou), ("conf", conf)) if value is not None}
    if where == "graph":
        return GraphNms(**given)
    if where != "host":
        raise ConfigError(f"--nms: host or graph expected, {where!r} found")
    if given:
        raise ConfigError(
            f"--nms-{min(given)} goes with --nms graph", hint="on the host: edgeyolo run --conf, --iou"
        )
    return None


def suppress_in_graph(model: onnx.ModelProto, nms: GraphNms) -> frozenset[str]:
    """Put a suppression behind a detector's outputs.

    Args:
        model: A detector with decoded outputs; it is changed.
        nms: What to choose by.

    Returns:
        Names of the new nodes that compute floats.

    Raises:
        ConfigError: It is no such detector, or its boxes are final already.
        GraphError: Its opset is too old.
    """
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if spec is None or spec.outputs != "decoded":
        found = "none" if spec is None else spec.outputs
        raise ConfigError(f"--nms graph goes with the decoded outputs of a detector, {found} outputs found")
    if spec.final:
        raise ConfigError("--nms graph: the boxes of this model are final", hint="leave --nms graph out")
    opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if opset < _LEAST_OPSET:
        raise GraphError(f"--nms graph: opset {_LEAST_OPSET} or newer expected, {opset} found")
    writer = _Writer(model)
    every = writer.renamed(_SCORES)
    writer.constant("classes", np.arange(len(spec.names), dtype=np.int64).reshape(1, 1, -1))
    writer.constant("zero", np.float32(0))
    for name, value in (("iou", nms.iou), ("conf", nms.conf)):
        writer.constant(name, np.array([value], np.float32))
    writer.constant("per_class", np.array([_PER_CLASS], np.int64))
    writer.node("ArgMax", (every,), "best", axis=2, keepdims=1)
    writer.node("Equal", ("best", "classes"), "is_best")
    writer.node("Where", ("is_best", every, "zero"), "best_only")
    writer.node("Transpose", ("best_only",), "by_class", perm=[0, 2, 1])
    writer.node("NonMaxSuppression", (_BOXES, "by_class", "per_class", "iou", "conf"), "chosen")
    writer.node("GatherND", ("by_class", "chosen"), "chosen_scores")
    writer.node("Sub", ("by_class", "by_class"), "none")
    writer.node("ScatterND", ("none", "chosen", "chosen_scores"), "kept")
    writer.node("Transpose", ("kept",), "kept_rows", output=_SCORES, perm=[0, 2, 1])
    require("onnx.helper", why="to write metadata").set_model_props(
        model,
        {entry.key: entry.value for entry in model.metadata_props}
        | dataclasses.replace(spec, final=True).to_metadata(),
    )
    floats = ("best_only", "by_class", "chosen_scores", "none", "kept", "kept_rows")
    return frozenset(map(writer.name, floats))


class _Writer:
    """Adds nodes and constants, each under a name that is free."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._helper = require("onnx.helper", why="to write nodes")
        taken = {tensor.name for tensor in self._graph.initializer}
        taken |= {name for node in self._graph.node for name in (node.name, *node.input, *node.output)}
        self._prefix = "nms_"
        while any(name.startswith(self._prefix) for name in taken):
            self._prefix += "_"
        self._made: set[str] = set()

    def name(self, what: str) -> str:
        """Give the full name of something made here; of anything else, its own."""
        return f"{self._prefix}{what}" if what in self._made else what

    def renamed(self, tensor: str) -> str:
        """Give an output's tensor another name, so that a new node can have the old one."""
        self._made.add("every")
        free = self.name("every")
        for node in self._graph.node:
            for names in (node.input, node.output):
                names[:] = [free if name == tensor else name for name in names]
        return "every"

    def constant(self, what: str, value: Any) -> None:
        self._made.add(what)
        from_array = require("onnx.numpy_helper", why="to write constants").from_array
        self._graph.initializer.append(from_array(np.asarray(value), self.name(what)))

    def node(
        self,
        op_type: str,
        inputs: tuple[str, ...],
        what: str,
        *,
        output: str | None = None,
        **attributes: Any,
    ) -> None:
        words = [self.name(name) for name in inputs]
        self._made.add(what)
        name = self.name(what)
        self._graph.node.append(
            self._helper.make_node(op_type, words, [output or name], name=name, **attributes)
        )
