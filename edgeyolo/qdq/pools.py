"""A MaxPool goes in front of the LeakyRelu before it where both are INT8: fewer values to look up.

A LeakyRelu keeps the order of values, and so does rounding: the largest value is the same one before and
behind it, so no result changes by a bit. ONNX Runtime has the LeakyRelu of a float convolution in its kernel,
but QLinearLeakyRelu is a pass of its own.

Owns the exchange. Refuses to place a pair (`edgeyolo.qdq.placement` did).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from edgeyolo.qdq.graph import attributes_of

if TYPE_CHECKING:
    import onnx

__all__ = ["with_pools_first"]


def with_pools_first(nodes: Sequence[onnx.NodeProto], outputs: Collection[str]) -> list[onnx.NodeProto]:
    """Exchange LeakyRelu and MaxPool where nothing else reads what is between them.

    Args:
        nodes: Of a Q/DQ graph, in topological order; those that are exchanged are changed.
        outputs: Names of the graph's outputs.

    Returns:
        The nodes in topological order.
    """
    found = list(nodes)
    place = {name: index for index, node in enumerate(nodes) for name in node.output}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(index)

    def behind(start: int, *kinds: str) -> list[int]:
        """Follow the only readers of a node's result, as far as they are of these kinds."""
        way = [start]
        for kind in kinds:
            made = nodes[way[-1]].output
            after = readers.get(made[0], [])
            if len(made) > 1 or made[0] in outputs or len(after) != 1 or nodes[after[0]].op_type != kind:
                break
            way.append(after[0])
        return way

    for start, leaky in enumerate(nodes):
        before = place.get(leaky.input[0]) if leaky.op_type == "LeakyRelu" else None
        if before is None or nodes[before].op_type != "DequantizeLinear":
            continue
        way = behind(start, "QuantizeLinear", "DequantizeLinear", "MaxPool", "QuantizeLinear")
        if len(way) < 5 or attributes_of(leaky).get("alpha", 0.01) < 0:
            continue
        # LeakyRelu, Q, DQ, MaxPool become MaxPool, Q, DQ, LeakyRelu; the pair has the scale in front of it.
        quantise, dequantise, pool = (nodes[index] for index in way[1:4])
        found[start], found[way[3]] = pool, leaky
        pooled, scale = pool.output[0], list(nodes[before].input[1:])
        pool.input[0], pool.output[0] = leaky.input[0], f"{pooled}_largest"
        quantise.input[:] = [pool.output[0], *scale]
        dequantise.input[1:] = scale
        leaky.input[0], leaky.output[0] = dequantise.output[0], pooled
    return found
