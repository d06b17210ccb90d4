"""What a board's TensorRT will refuse, move or slow down in a graph: rules, each with its source.

Owns the rules that need no compiler. Refuses to judge what NVIDIA's own parser judges better
(`edgeyolo.build.check` runs it).

Source: TensorRT developer guide, "Working with Quantized Types" and "Working with DLA"; the ONNX
parser's import rules of each release (onnx-tensorrt, ``onnxOpImporters.cpp``): an int8 initializer in front
of DequantizeLinear from 10.0 on, FP16 scales from 10.0 on, NonMaxSuppression from 8.5 on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from edgeyolo.boards import Board, JetPack, jetpacks_of
from edgeyolo.optional import require

if TYPE_CHECKING:
    import onnx

__all__ = ["Finding", "findings_for"]

Level = Literal["refused", "warning", "note"]

_STANDARD_DOMAINS = ("", "ai.onnx")
# What stays on the DLA, by operator. Restrictions on sizes are not modelled: a build reports what they move.
_ON_DLA = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose",
        "DequantizeLinear", "GlobalAveragePool", "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "PRelu", "Pow",
        "QuantizeLinear", "Relu", "Resize", "Sigmoid", "Sub", "Tanh",
    }
)  # fmt: skip
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know.

    Args:
        level: ``refused``: a build fails; ``warning``: it works otherwise than one may think; ``note``.
        text: What, where, and on which board or release.
        hint: What to do about it.
    """

    level: Level
    text: str
    hint: str | None = None


def findings_for(model: onnx.ModelProto, board: Board | None) -> tuple[Finding, ...]:
    """Judge a graph by rules.

    Args:
        model: A model with its weights.
        board: Where it shall run; None asks only what no TensorRT takes.
    """
    facts = _Facts(model)
    found = [*_everywhere(facts)]
    if board is not None:
        found += _on_board(facts, board)
        found += _on_releases(facts, jetpacks_of(board))
    return tuple(found)


class _Facts:
    """What the rules ask of a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.operators = Counter(node.op_type for node in self.nodes)
        self.opset = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
        self.quantized = bool({"QuantizeLinear", "DequantizeLinear"} & self.operators.keys())
        self._numpy_helper = require("onnx.numpy_helper", why="to read a model's constants")
        self.types = require("onnx", why="to read a model's types").TensorProto

    def pairs(self) -> Iterator[onnx.NodeProto]:
        return (node for node in self.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear"))

    def type_of(self, node: onnx.NodeProto, slot: int) -> int | None:
        """Give the type of a constant input; None where it is none."""
        tensor = self.constants.get(node.input[slot]) if len(node.input) > slot else None
        return None if tensor is None else tensor.data_type

    def value_of(self, node: onnx.NodeProto, slot: int) -> Any:
        tensor = self.constants.get(node.input[slot]) if len(node.input) > slot else None
        return None if tensor is None else self._numpy_helper.to_array(tensor)


def _everywhere(facts: _Facts) -> Iterator[Finding]:
    foreign = [node for node in facts.nodes if node.domain not in _STANDARD_DOMAINS or "_TRT" in node.op_type]
    if foreign:
        yield Finding(
            "refused",
            f"{_named(foreign)}: operators of another domain need a plugin, and EdgeYOLO loads none",
            "export the model without NMS and plugins; EdgeYOLO does NMS itself",
        )
    integer = [node for node in facts.nodes if node.op_type.startswith("QLinear")]
    if integer:
        yield Finding(
            "refused", f"{_named(integer)}: TensorRT takes QuantizeLinear/DequantizeLinear pairs only"
        )
    biases = [node for node in facts.pairs() if facts.type_of(node, 0) == facts.types.INT32]
    if biases:
        yield Finding(
            "refused",
            f"{_named(biases)}: an int32 bias behind DequantizeLinear, and TensorRT wants the bias in FP32",
            "quantise with edgeyolo calibrate, or with QuantizeBias=False",
        )
    shifted = [node for node in facts.pairs() if _zero_point_shifted(facts, node)]
    if shifted:
        yield Finding(
            "refused",
            f"{_named(shifted)}: a zero point other than 0; TensorRT is symmetric",
            "quantise with edgeyolo calibrate --target tensorrt, or with ActivationSymmetric=True",
        )
    elif unsigned := [node for node in facts.pairs() if facts.type_of(node, 2) == facts.types.UINT8]:
        yield Finding("warning", f"{_named(unsigned)}: uint8 Q/DQ; int8 is what every TensorRT takes")
    if facts.quantized and facts.opset < 13:
        yield Finding("refused", f"opset 13 or newer expected for per-channel scales, {facts.opset} found")


def _on_board(facts: _Facts, board: Board) -> Iterator[Finding]:
    can = board.capability
    sm = f"{can.architecture}, SM {board.sm[0]}.{board.sm[1]}"
    if facts.quantized and not can.fast_int8:
        yield Finding(
            "refused", f"{board.title} ({sm}) has no fast INT8 arithmetic", "build from the float model: fp16"
        )
    elif facts.quantized and not can.all_qdq_layers:
        yield Finding(
            "warning",
            f"{board.title} ({sm}): some layers have no INT8 kernel behind Q/DQ nodes there, and a build "
            "can end with 'could not find any implementation'",
            "edgeyolo build MODEL.onnx --precision int8 --calibration DIR --implicit",
        )
    if board.dla_cores:
        yield from _on_dla(facts, board)
    else:
        yield Finding("note", f"{board.title} has no DLA")


def _on_dla(facts: _Facts, board: Board) -> Iterator[Finding]:
    away = [node for node in facts.nodes if node.op_type not in _ON_DLA]
    cores = f"{board.dla_cores} DLA core{'s' if board.dla_cores > 1 else ''}"
    if away:
        yield Finding(
            "note",
            f"{board.title} has {cores}; with --dla these would run on the GPU: {_named(away)}",
            "--dla 0 --gpu-fallback; convert --outputs raw leaves the decode to the processor",
        )
    else:
        yield Finding("note", f"{board.title} has {cores}, and every operator of this graph can run there")


def _on_releases(facts: _Facts, lines: tuple[JetPack, ...]) -> Iterator[Finding]:
    """Ask each release that a board can have; what only older ones refuse is a warning."""
    by_line = [list(_on_release(facts, line)) for line in lines]
    newest_takes_it = all(finding.level != "refused" for finding in by_line[-1])
    for finding in chain.from_iterable(by_line):
        lower = newest_takes_it and finding.level == "refused"
        yield replace(finding, level="warning") if lower else finding


def _on_release(facts: _Facts, line: JetPack) -> Iterator[Finding]:
    where = f"JetPack {line.versions} (TensorRT {'.'.join(map(str, line.tensorrt))})"
    if line.tensorrt < (8, 6) and facts.nodes:
        yield Finding(
            "note",
            f"{where} has Python {line.python}: EdgeYOLO does not run there and serves it by files",
            f"edgeyolo build MODEL.onnx --trtexec {line.tensorrt[0]}.{line.tensorrt[1]} -o FOLDER",
        )
    if line.tensorrt < (10,):
        stored = [
            node
            for node in facts.pairs()
            if node.op_type == "DequantizeLinear" and facts.type_of(node, 0) == facts.types.INT8
        ]
        if stored:
            yield Finding(
                "refused",
                f"{where}: {_named(stored)}: weights stored as int8 are not taken before TensorRT 10",
                "quantise with edgeyolo calibrate, which keeps FP32 weights in front of the pair",
            )
        halves = [node for node in facts.pairs() if facts.type_of(node, 1) == facts.types.FLOAT16]
        if halves:
            yield Finding(
                "refused", f"{where}: {_named(halves)}: scales in FP16 are not taken before TensorRT 10"
            )
    if line.tensorrt < (8, 5) and facts.operators["NonMaxSuppression"]:
        yield Finding("refused", f"{where}: NonMaxSuppression is not taken before TensorRT 8.5")


def _zero_point_shifted(facts: _Facts, node: onnx.NodeProto) -> bool:
    value = facts.value_of(node, 2)
    return value is not None and bool(value.any())


def _named(nodes: list[onnx.NodeProto]) -> str:
    """Name some nodes: ``3 Exp and 1 Split ('a', 'b', ...)``."""
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(n.op_type for n in nodes).most_common())
    names = ", ".join(repr(node.name or node.output[0]) for node in nodes[:_SHOWN])
    return f"{counts} ({names}{', ...' if len(nodes) > _SHOWN else ''})"
