"""A Darknet network and its parameters to one ONNX model with its metadata.

Owns the walk over the layers, what the outputs are, and the model spec that travels in the metadata. Refuses
to know how any layer is written (``emit``), to read files and to choose class names (``names``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, get_args

from edgeyolo.darknet.dialect import dialect_of
from edgeyolo.darknet.emit import HEADS, GraphBuilder, emit_head, emit_layer
from edgeyolo.darknet.layers import AnchorHead, Cost, Detection, Dropout, Layer
from edgeyolo.darknet.network import Network, Parameters
from edgeyolo.errors import ConfigError, GraphError, UnsupportedOpError
from edgeyolo.spec import Head, ModelSpec, Preprocess, Resize

if TYPE_CHECKING:
    import onnx

__all__ = ["INPUT_NAME", "OPSETS", "DetectorResize", "class_count", "onnx_from_network"]

DetectorResize = Literal["letterbox", "stretch"]

INPUT_NAME = "images"
OPSETS = range(13, 22)

_PROTOBUF_LIMIT_BYTES = 2**31 - 1

AnyHead = AnchorHead | Detection


def onnx_from_network(  # noqa: PLR0913  one option of the command line each
    network: Network,
    parameters: Parameters,
    *,
    names: Sequence[str],
    outputs: str = "decoded",
    batch: int | None = 1,
    opset: int = 16,
    resize: DetectorResize | None = None,
    provenance: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write a network as ONNX, batch normalisation folded, heads decoded in the graph.

    A detector's outputs are ``boxes [B, N, 4]`` (``xyxy_net`` pixels) and ``scores [B, N, C]``, or with
    ``outputs="raw"`` one tensor a head, ``[B, A * (5 + C), h, w]``, in cfg order. A classifier's output is
    ``probabilities [B, C]``. The input is ``images [B, C, H, W]`` float32.

    Args:
        network: Layers with their sizes.
        parameters: Darknet's arrays a layer.
        names: Class names; the index is the class id.
        outputs: Detectors only.
        batch: Batch size, or None for a dynamic dimension called ``batch``.
        opset: 13 to 21.
        resize: How pictures are fitted into a detector's input; None as the cfg's own Darknet does it.
        provenance: What the model was made from.

    Returns:
        The model, its spec in the metadata.

    Raises:
        ConfigError: An argument is out of its range, or `names` has the wrong length.
        UnsupportedOpError: A layer that cannot be written.
        GraphError: The model would pass the 2 GB limit of an ONNX file.
    """
    _check_arguments(network, names, outputs, batch, opset)
    _check_resize(network, resize)
    graph = GraphBuilder(source=network.source, opset=opset, batch=batch)
    dialect = dialect_of(network)
    tensors = {-1: graph.input(INPUT_NAME, network.input_shape)}
    heads = network.heads
    ends: Sequence[Layer] = heads or (_last_layer(network),)
    for layer in _needed(network, ends):
        if not isinstance(layer, tuple(HEADS)):
            inputs = [_tensor(graph, tensors, layer, index) for index in layer.inputs]
            arrays = parameters.get(layer.index, {})
            tensors[layer.index] = emit_layer(graph, layer, inputs, arrays, dialect)
    if not heads:
        _emit_probabilities(graph, ends[0], tensors[ends[0].index])
    elif outputs == "raw":
        _emit_raw(graph, heads, tensors)
    else:
        _emit_decoded(graph, network, heads, tensors)
    model = graph.finish("darknet", f"EdgeYOLO, from {PurePath(network.source).name}")
    spec = ModelSpec(
        task="detect" if heads else "classify",
        input_name=INPUT_NAME,
        input_wh=_input_wh(network),
        batch=batch,
        names=tuple(names),
        preprocess=_preprocess(network, resize),
        outputs="probabilities" if not heads else "raw" if outputs == "raw" else "decoded",
        heads=tuple(_head_spec(head, network, tensors[head.inputs[0]]) for head in heads),
        provenance={**(provenance or {}), "batch_norm": dialect.value},
    )
    for key, value in spec.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    return model


def class_count(network: Network) -> int:
    """Give the number of classes: of the heads, or of a classifier's last layer.

    Raises:
        UnsupportedOpError: Heads disagree, or the network has neither heads nor one value a class.
    """
    heads = network.heads
    if not heads:
        return _last_layer(network).out_shape.size
    counts = {head.classes for head in heads}
    if len(counts) > 1:
        found = ", ".join(f"line {head.line}: {head.classes}" for head in heads)
        raise UnsupportedOpError(
            f"{network.source}: heads with the same number of classes expected, found {found}",
            hint="make classes= equal in every head",
        )
    return counts.pop()


def _check_arguments(
    network: Network, names: Sequence[str], outputs: str, batch: int | None, opset: int
) -> None:
    if opset not in OPSETS:
        raise ConfigError(f"opset: {OPSETS[0]} to {OPSETS[-1]} expected, {opset} found", hint="--opset 16")
    if batch is not None and batch < 1:
        raise ConfigError(f"batch: 1 or more, or dynamic, expected, {batch} found", hint="--batch 1")
    if outputs not in ("decoded", "raw"):
        raise ConfigError(f"outputs: decoded or raw expected, {outputs!r} found", hint="--outputs decoded")
    classes = class_count(network)
    if len(names) != classes:
        raise ConfigError(
            f"{network.source}: {classes} class names expected, {len(names)} found",
            hint="--names FILE with one name a line, in the order of training",
        )
    if outputs == "raw" and not network.heads:
        raise ConfigError(
            f"{network.source}: --outputs raw gives one output a detection head, and there is no head",
            hint="leave --outputs out: a classifier gives probabilities",
        )
    size = 4 * network.parameter_count
    if size > _PROTOBUF_LIMIT_BYTES:
        raise GraphError(
            f"{network.source}: {size / 1e9:.1f} GB of weights, and an ONNX file holds at most 2 GB"
        )


def _last_layer(network: Network) -> Layer:
    """Give the last layer that computes something, which must have one value a class."""
    for layer in reversed(network.layers):
        if isinstance(layer, (Cost, Dropout)):
            continue
        if layer.out_shape.h * layer.out_shape.w > 1:
            raise UnsupportedOpError(
                f"{network.source}: a detection head or one value a class expected at the end, "
                f"[{layer.kind}] of {layer.out_shape} found at line {layer.line}",
                hint="add the [yolo], [region], [detection], [softmax] or [avgpool] section that is missing",
            )
        return layer
    raise UnsupportedOpError(f"{network.source}: no layer that computes anything")


def _needed(network: Network, ends: Sequence[Layer]) -> list[Layer]:
    """Give the layers that the ends depend on, in order; Darknet computes the others for nothing."""
    wanted = {end.index for end in ends}
    for layer in reversed(network.layers):
        if layer.index in wanted:
            wanted.update(layer.inputs)
    return [layer for layer in network.layers if layer.index in wanted]


def _tensor(graph: GraphBuilder, tensors: Mapping[int, str], layer: Layer, index: int) -> str:
    if index not in tensors:
        raise graph.refusal(
            layer,
            f"reads layer {index}, a detection head, which has no feature map",
            hint="point it at the convolution before the head",
        )
    return tensors[index]


def _emit_probabilities(graph: GraphBuilder, last: Layer, tensor: str) -> None:
    graph.node("Flatten", (tensor,), "probabilities", axis=1)
    graph.output("probabilities", (last.out_shape.size,))


def _emit_raw(graph: GraphBuilder, heads: Sequence[AnyHead], tensors: Mapping[int, str]) -> None:
    seen: set[str] = set()
    for head in heads:
        tensor = _tensor(graph, tensors, head, head.inputs[0])
        if tensor in seen:
            raise graph.refusal(
                head, "reads the same tensor as a head before it", hint="leave --outputs raw out"
            )
        seen.add(tensor)
        graph.output(tensor, head.in_shape)


def _emit_decoded(
    graph: GraphBuilder, network: Network, heads: Sequence[AnyHead], tensors: Mapping[int, str]
) -> None:
    input_wh = _input_wh(network)
    decoded = [
        emit_head(graph, head, _tensor(graph, tensors, head, head.inputs[0]), input_wh) for head in heads
    ]
    count = sum(item.boxes_per_picture for item in decoded)
    # A Concat of one is an Identity, which any runtime removes, and it gives the output its name.
    graph.node("Concat", [item.boxes for item in decoded], "boxes", axis=1)
    graph.node("Concat", [item.scores for item in decoded], "scores", axis=1)
    graph.output("boxes", (count, 4))
    graph.output("scores", (count, class_count(network)))


def _head_spec(head: AnyHead, network: Network, tensor: str) -> Head:
    kinds: dict[str, Literal["yolo", "gaussian_yolo", "region", "detection"]] = {
        "yolo": "yolo",
        "gaussian_yolo": "gaussian_yolo",
        "region": "region",
        "detection": "detection",
    }
    if isinstance(head, Detection):
        stride_wh = (network.input_shape.w // head.side, network.input_shape.h // head.side)
        anchors: tuple[tuple[float, float], ...] = ()
    else:
        stride_wh, anchors = head.stride_wh, head.anchors_wh
    return Head(
        kind=kinds[head.kind],
        output=tensor,
        stride_wh=stride_wh,
        anchors_wh=anchors,
        classes=head.classes,
        scale_x_y=getattr(head, "scale_x_y", 1.0),
        new_coords=getattr(head, "new_coords", False),
    )


def _check_resize(network: Network, resize: str | None) -> None:
    if resize is not None and resize not in get_args(DetectorResize):
        raise ConfigError(f"resize: letterbox or stretch expected, {resize!r} found", hint="--resize stretch")
    if resize is not None and not network.heads:
        raise ConfigError(
            f"{network.source}: a classifier, whose pictures are cut to their middle; resize={resize} found",
            hint="leave --resize out",
        )


def _input_wh(network: Network) -> tuple[int, int]:
    return network.input_shape.w, network.input_shape.h


def _preprocess(network: Network, resize: DetectorResize | None) -> Preprocess:
    """Give what the cfg's own Darknet does with a picture, or what was asked for.

    Source:
        ``letterbox_image``, ``center_crop_image`` (src/image.c); for the two Darknets' detectors
        `edgeyolo.darknet.network.Network.stretched`.
    """
    channels = network.input_shape.c
    if channels not in (1, 3):
        raise UnsupportedOpError(
            f"{network.source}: [net] channels of 1 (gray) or 3 (colour) expected, {channels} found"
        )
    fitted: Resize = "center_crop"
    if network.heads:
        fitted = resize or ("stretch" if network.stretched else "letterbox")
    if channels == 1:
        return Preprocess(resize=fitted, channels="gray", mean=(0.0,), std=(1.0,))
    return Preprocess(resize=fitted)
