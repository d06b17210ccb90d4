"""A smaller graph that computes the same: onnx-simplifier, and the proof that it did no harm.

Owns the order of things: read, refuse what must not be simplified, simplify, compare with the input on random
tensors, write. Nothing is written that was not proved.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.errors import GraphError
from edgeyolo.files import sha256_of
from edgeyolo.graph.compare import Difference, prove_equal
from edgeyolo.graph.onnx_file import read_onnx, write_onnx
from edgeyolo.optional import require
from edgeyolo.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

__all__ = ["FOREIGN_PROVENANCE_KEY", "SimplifyReport", "node_counts", "simplify"]

_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_PROVENANCE_KEY = "edgeyolo.provenance"
FOREIGN_PROVENANCE_KEY = "simplified_from_sha256"
"""Metadata key in a foreign model; ``edgeyolo.*`` keys are of models that keep the graph contract."""


@dataclass(frozen=True, kw_only=True)
class SimplifyReport:
    """What `simplify` did.

    Args:
        before: Nodes by operator in the input.
        after: Nodes by operator in the output.
        differences: Largest difference an output on random tensors.
        runs: How many random inputs were compared.
    """

    before: Counter[str]
    after: Counter[str]
    differences: tuple[Difference, ...]
    runs: int


def simplify(source: Path | str, output: Path | str, *, runs: int = 3) -> SimplifyReport:
    """Simplify an ONNX file, prove it on ONNX Runtime, write it.

    Metadata, the names of inputs and outputs, and a dynamic batch stay as they are.

    Args:
        source: Any ONNX file, also with external data.
        output: Where the result goes, as one file.
        runs: Random inputs to compare on.

    Returns:
        Node counts before and after, and the differences that were measured.

    Raises:
        GraphError: No ONNX file, one that has Q/DQ nodes already, or one that the simplifier cannot take.
        MismatchError: The simplified graph computes something else; nothing is written.
        OutputError: `output` cannot be written.

    Source:
        https://github.com/onnxsim/onnxsim
    """
    source = Path(source)
    model = read_onnx(source)
    _refuse_quantized(model, source)
    simplified = _simplified(model, source)
    _check_interface(model, simplified)
    differences = prove_equal(model, simplified, runs=runs)
    _keep_metadata(model, simplified, sha256_of(source))
    write_onnx(simplified, output)
    return SimplifyReport(
        before=node_counts(model), after=node_counts(simplified), differences=differences, runs=runs
    )


def node_counts(model: onnx.ModelProto) -> Counter[str]:
    """Count nodes by operator, those in subgraphs of If and Loop too."""
    return Counter(node.op_type for node in _nodes(model.graph))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for subgraph in attribute.graphs:
                yield from _nodes(subgraph)


def _refuse_quantized(model: onnx.ModelProto, source: Path) -> None:
    found = {kind: count for kind, count in node_counts(model).items() if kind in _QUANTIZED}
    found |= {kind: count for kind, count in node_counts(model).items() if kind.startswith("QLinear")}
    if found:
        raise GraphError(
            f"{source}: a float model expected, {sum(found.values())} nodes of "
            f"{', '.join(sorted(found))} found, "
            "and folding them would lose the scales",
            hint="simplify first, then calibrate: edgeyolo simplify, edgeyolo calibrate",
        )


def _simplified(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    onnxsim = require("onnxsim", why="to simplify an ONNX graph")
    said = io.StringIO()
    try:
        # It prints to stdout, where only our result belongs. Its own check is off: ours follows.
        with contextlib.redirect_stdout(said), _native_stderr_to(said):
            simplified: onnx.ModelProto = onnxsim.simplify(model, check_n=0)[0]
    except Exception as exc:
        last = (said.getvalue().strip().splitlines() or [""])[-1]
        raise GraphError(
            f"{source}: the simplifier failed: {exc} {last}".rstrip(),
            hint="use the model as it is: edgeyolo build takes it without simplify, too",
        ) from exc
    return simplified


@contextlib.contextmanager
def _native_stderr_to(said: io.StringIO) -> Iterator[None]:
    """Keep what C++ writes to stderr: of a graph with open sizes, a warning for each node it cannot fold."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            said.write(caught.read().decode(errors="replace"))


def _check_interface(model: onnx.ModelProto, simplified: onnx.ModelProto) -> None:
    """Check that inputs and outputs kept name, type and shape, dynamic dimensions included."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for what, before, after in (
        ("input", [item for item in model.graph.input if item.name not in weights], simplified.graph.input),
        ("output", model.graph.output, simplified.graph.output),
    ):
        old = {item.name: _signature(item) for item in before}
        new = {item.name: _signature(item) for item in after}
        if what == "output":
            # A size that was unknown may have become known; one that was known must stay.
            fits = old.keys() == new.keys() and all(_refines(new[name], old[name]) for name in old)
        else:
            fits = old == new
        if not fits:
            raise GraphError(f"the simplifier changed the {what}s: {old} expected, {new} found")


def _signature(item: onnx.ValueInfoProto) -> list[int | str]:
    tensor = item.type.tensor_type
    dims: list[int | str] = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    return [tensor.elem_type, *dims]


def _refines(new: list[int | str], old: list[int | str]) -> bool:
    if len(old) == 1 or len(old) != len(new):  # no shape was given
        return old == new or len(old) == 1
    return all(a == b or not isinstance(b, int) for a, b in zip(new, old, strict=True))


def _keep_metadata(model: onnx.ModelProto, simplified: onnx.ModelProto, source_sha256: str) -> None:
    """Give the result the metadata of the input, and the input's hash."""
    metadata = {item.key: item.value for item in model.metadata_props}
    if ModelSpec.from_metadata(metadata) is not None:
        provenance = json.loads(metadata.get(_PROVENANCE_KEY, "{}"))
        metadata[_PROVENANCE_KEY] = json.dumps({**provenance, "simplified_from_sha256": source_sha256})
    else:
        metadata[FOREIGN_PROVENANCE_KEY] = source_sha256
    del simplified.metadata_props[:]
    for key, value in metadata.items():
        simplified.metadata_props.add(key=key, value=value)
    simplified.graph.name = model.graph.name
    simplified.doc_string = model.doc_string
    simplified.producer_name, simplified.producer_version = model.producer_name, model.producer_version
