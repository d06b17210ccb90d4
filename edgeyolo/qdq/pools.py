"""A MaxPool goes in front of the LeakyRelu before it, where ONNX Runtime would compute both in INT8.

A LeakyRelu keeps the order of values, and so does rounding: the largest value is the same one before and
behind it, so no result changes by a bit. QLinearLeakyRelu is a pass of its own, over a quarter of the values
then. Behind a float convolution ONNX Runtime would move the pool's Q up to it, and pool bytes, which takes it
longer than floats; past a LeakyRelu it moves none.

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
        if before is None or attributes_of(leaky).get("alpha", 0.01) < 0:
            continue
        pair = ("QuantizeLinear", "DequantizeLinear") if nodes[before].op_type == "DequantizeLinear" else ()
        kinds = (*pair, "MaxPool", "QuantizeLinear")
        way = behind(start, *kinds)
        if len(way) <= len(kinds):
            continue
        # LeakyRelu, Q, DQ, MaxPool become MaxPool, Q, DQ, LeakyRelu; the pair has the scale in front of it.
        between, pool = [nodes[index] for index in way[1:-2]], nodes[way[-2]]
        found[start], found[way[-2]] = pool, leaky
        made, last = pool.output[0], f"{pool.output[0]}_largest"
        pool.input[0], pool.output[0] = leaky.input[0], last
        for node in between:
            node.input[:] = [last, *nodes[before].input[1:]]
            last = node.output[0]
        leaky.input[0], leaky.output[0] = last, made
    return found
