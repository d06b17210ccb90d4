"""An ONNX file becomes TensorRT's network: parsed by NVIDIA's own parser, every refusal told with its node.

Owns parsing and the names of types. Knows both modules with this interface, ``tensorrt`` and
``tensorrt_rtx``. Refuses to configure and to build.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.build.trt_log import BuildLog
from edgeyolo.errors import ParseError
from edgeyolo.files import mapped
from edgeyolo.spec import TensorSpec

if TYPE_CHECKING:
    import tensorrt

__all__ = ["Network", "layers_of_nodes", "parse_network", "parser_messages", "tensor_spec"]

# Own table: trt.nptype() fails with NumPy 1.24 and newer up to TensorRT 8.5.2, which uses np.bool.
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "UINT8": "uint8",
    "INT32": "int32", "INT64": "int64", "BOOL": "bool", "FP8": "float8",
}  # fmt: skip


# "[ONNX Layer: name | property | ...]". Source: onnx-tensorrt, importerUtils.cpp, from 8.6 on.
_NODE = re.compile(r"\[ONNX Layer: (.*?)(?: \| .*)?\]")


@dataclass(frozen=True)
class Network:
    """A parsed network and what must live as long as it does.

    Args:
        network: TensorRT's ``INetworkDefinition``.
        builder: What it was made with.
        parser: What filled it; TensorRT keeps weights in it until the build.
        strongly_typed: Whether types are the graph's own.
    """

    network: tensorrt.INetworkDefinition
    builder: tensorrt.Builder
    parser: tensorrt.OnnxParser
    strongly_typed: bool

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """I/O tensors that go in."""
        return tuple(tensor_spec(self.network.get_input(i)) for i in range(self.network.num_inputs))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """I/O tensors that come out."""
        return tuple(tensor_spec(self.network.get_output(i)) for i in range(self.network.num_outputs))


def parse_network(
    trt: Any, path: Path, log: BuildLog, *, strongly_typed: bool, nodes: Sequence[str] = ()
) -> Network:
    """Parse an ONNX file.

    Args:
        trt: The module ``tensorrt`` or ``tensorrt_rtx``.
        path: An ONNX file without external data.
        log: Gets what is said.
        strongly_typed: Ask for types as the graph has them; from TensorRT 11 on there is no other way.
        nodes: What to call each node of the file, for the releases that give its number alone.

    Raises:
        ParseError: The parser refused the file; the message has every finding with its node.
    """
    logger = log.logger(trt)
    builder = trt.Builder(logger)
    flags = _creation_flags(trt, strongly_typed=strongly_typed)
    network = log.made(builder.create_network(flags), "network")
    parser = trt.OnnxParser(network, logger)
    with mapped(path) as data:
        parsed = parser.parse(data)
    messages = parser_messages(parser, nodes)
    if not parsed or messages:
        said = "\n".join(f"  {line}" for line in messages) or log.last() or "  (it gives no reason)"
        raise ParseError(
            f"{path}: {trt.__name__} {trt.__version__} refuses it:\n{said}",
            hint=f"edgeyolo check {path}   (what each board takes, and what to do about it)",
        )
    return Network(network, builder, parser, strongly_typed)


def layers_of_nodes(
    network: tensorrt.INetworkDefinition, nodes: Collection[str]
) -> Iterator[tensorrt.ILayer]:
    """Give the layers that the parser made of some nodes.

    A layer has the node's name. Where a node becomes several (a Split is a slice an output) the others have
    made-up names, and it is their metadata that names the node. The constants and the arithmetic of shapes
    that the parser adds belong to no node.

    Args:
        network: TensorRT's.
        nodes: Names of nodes of the ONNX file.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        found = _NODE.fullmatch(layer.metadata)
        if (found[1] if found else layer.name) in nodes:
            yield layer


def parser_messages(parser: tensorrt.OnnxParser, nodes: Sequence[str] = ()) -> tuple[str, ...]:
    """Give every error of a parser with the ONNX node that it is about.

    Args:
        parser: TensorRT's.
        nodes: What to call each node, for the releases that give its number alone.
    """
    found = []
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        index = error.node()
        label = f"node {index}"
        if hasattr(error, "node_operator"):  # from 10 on
            label += f" {error.node_name()!r} ({error.node_operator()})"
        elif 0 <= index < len(nodes):
            label += f" {nodes[index]}"
        found.append(f"{label}: {error.desc()} [{error.code()}]".replace("ErrorCode.", ""))
    return tuple(found)


def tensor_spec(tensor: tensorrt.ITensor) -> TensorSpec:
    """Describe an I/O tensor."""
    dtype = str(tensor.dtype).rsplit(".", 1)[-1]
    return TensorSpec(
        name=tensor.name, shape=tuple(int(size) for size in tensor.shape), dtype=_DTYPES.get(dtype, dtype)
    )


def _creation_flags(trt: Any, *, strongly_typed: bool) -> int:
    known = trt.NetworkDefinitionCreationFlag
    flags = 0
    for name in ("EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if strongly_typed else [])):
        if hasattr(
            known, name
        ):  # required up to 8.6, ignored in 10, gone in 11; strong typing came with 10.0
            flags |= 1 << int(getattr(known, name))
    return flags
