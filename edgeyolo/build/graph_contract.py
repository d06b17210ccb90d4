"""Whether an ONNX graph keeps the contract that engines rely on (docs/design.md, "Graph contract").

Owns the check, on names, shapes and metadata alone, so that every backend's own reader of ONNX can feed it.
Refuses to repair a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeyolo.errors import GraphError, ModelError
from edgeyolo.spec import ModelSpec, TensorSpec

__all__ = ["spec_from_graph"]

_CONVERT = "edgeyolo convert MODEL.cfg MODEL.weights -o MODEL.onnx"


def spec_from_graph(
    path: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    metadata: Mapping[str, str],
) -> ModelSpec:
    """Read the model spec from a graph's metadata and check that the graph is what it says.

    Args:
        path: The ONNX file, for messages.
        inputs: Its inputs; -1 is a dynamic dimension.
        outputs: Its outputs.
        metadata: Its metadata properties.

    Raises:
        GraphError: The metadata is missing or wrong, or a tensor is; the message has every finding.
    """
    try:
        spec = ModelSpec.from_metadata(metadata)
    except ModelError as exc:
        raise GraphError(f"{path}: {exc.message}", hint=exc.hint) from exc
    if spec is None:
        names = ", ".join(tensor.name for tensor in outputs) or "none"
        raise GraphError(
            f"{path}: edgeyolo.* metadata (class names, preprocess, outputs) expected, none found; "
            f"its outputs are {names}",
            hint=f"edgeyolo adapt {path} -o {path.with_suffix('.adapted.onnx')}   (a YOLO of another origin)",
        )
    findings = [*_input_findings(spec, inputs), *_output_findings(spec, outputs)]
    if findings:
        raise GraphError(
            f"{path}: the graph does not keep the contract for {spec.outputs} outputs: {'; '.join(findings)}",
            hint=_CONVERT,
        )
    return spec


def _input_findings(spec: ModelSpec, inputs: Sequence[TensorSpec]) -> Iterator[str]:
    channels = 1 if spec.preprocess.channels == "gray" else 3
    width, height = spec.input_wh
    expected = TensorSpec(
        name=spec.input_name, shape=(spec.batch or -1, channels, height, width), dtype="float32"
    )
    if [tensor.name for tensor in inputs] != [expected.name]:
        found = ", ".join(tensor.name for tensor in inputs) or "none"
        yield f"one input {expected.name!r} expected, {found} found"
    elif inputs[0] != expected:
        yield f"input {_text(expected)} expected, {_text(inputs[0])} found"


def _output_findings(spec: ModelSpec, outputs: Sequence[TensorSpec]) -> Iterator[str]:
    found = {tensor.name: tensor for tensor in outputs}
    batch, classes = spec.batch or -1, len(spec.names)
    expected: dict[str, tuple[int | None, ...]]
    if spec.outputs == "raw":
        expected = {head.output: (batch, None, None, None) for head in spec.heads}
    elif spec.outputs == "probabilities":
        expected = {"probabilities": (batch, classes)}
    else:
        expected = {"boxes": (batch, None, 4), "scores": (batch, None, classes)}
    for name, shape in expected.items():
        wanted = f"float32 [{', '.join('N' if d is None else str(d) for d in shape)}]"
        if name not in found:
            yield f"output {name!r} {wanted} is missing (outputs: {', '.join(found) or 'none'})"
        elif not _fits(found[name], shape):
            yield f"output {name!r} {wanted} expected, {_text(found[name])} found"
    if spec.outputs == "decoded" and {"boxes", "scores"} <= found.keys():
        counts = [found[name].shape[1:2] for name in ("boxes", "scores")]
        if counts[0] != counts[1]:
            yield f"as many boxes as scores expected, {counts[0]} and {counts[1]} found"


def _fits(tensor: TensorSpec, shape: tuple[int | None, ...]) -> bool:
    """Compare with a shape in which None is any fixed size."""
    return (
        tensor.dtype == "float32"
        and len(tensor.shape) == len(shape)
        and all(
            has > 0 if want is None else has == want for has, want in zip(tensor.shape, shape, strict=True)
        )
    )


def _text(tensor: TensorSpec) -> str:
    return f"{tensor.name!r} {tensor.dtype} {list(tensor.shape)}"
