"""A foreign model to one that keeps the graph contract, with the reasoning.

Owns the order of things: refuse, open the input, recognise, decode, name, describe. Refuses to read and write
files (`edgeyolo.pipeline.adapt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.adapt.edit import GraphEdit
from edgeyolo.adapt.evidence import Evidence, Wishes
from edgeyolo.adapt.families import recognise
from edgeyolo.adapt.inputs import has_open_size, open_picture_input, takes_bytes
from edgeyolo.adapt.integers import to_qdq
from edgeyolo.adapt.metadata import metadata_names, metadata_size
from edgeyolo.adapt.opset import with_opset, without_aliases, without_functions
from edgeyolo.adapt.options import AdaptOptions
from edgeyolo.adapt.pixels import pixels_of
from edgeyolo.adapt.view import GraphView
from edgeyolo.class_names import ClassNames, names_for, read_names
from edgeyolo.errors import GraphError
from edgeyolo.optional import require
from edgeyolo.spec import ModelSpec, Preprocess

if TYPE_CHECKING:
    import onnx

__all__ = ["Adapted", "adapt_model", "evidence_of"]

_USUAL_WH = (640, 640)


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A model with the graph contract, and how it came to that.

    Args:
        model: The model.
        spec: What its metadata says.
        evidence: The family and its reasons.
        notes: What was done or chosen beside the family, for the user.
        boxes: Boxes a picture.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    evidence: Evidence
    notes: tuple[str, ...]
    boxes: int


def adapt_model(model: onnx.ModelProto, options: AdaptOptions, provenance: dict[str, str]) -> Adapted:
    """Bring a foreign model to the graph contract; its weights stay bit for bit.

    Args:
        model: Any ONNX model, all tensors inside; it is changed.
        options: What the user says of it.
        provenance: What it was made from.

    Raises:
        ConfigError: An option does not fit.
        GraphError: It is no YOLO that is known, or something that is needed was not given.
        UnsupportedOpError: It is of a kind that is refused by name.
    """
    _refuse_our_own(model)
    is_bytes = takes_bytes(model)
    model, notes = _prepare(model, options)
    view = GraphView(model)
    known = metadata_names(view.metadata) if options.names is None else None
    family, evidence = recognise(view, _wishes(options, known), options.family)
    pixels = pixels_of(view, takes_bytes=is_bytes)
    notes += pixels.notes()
    edit = GraphEdit(model)
    decoded = family.normalise(view, edit, evidence)
    unused = [output.name for output in view.outputs if output.name not in evidence.outputs]
    if unused:
        notes.append(f"outputs that are ignored: {', '.join(unused)}")
    names = _names(evidence, known, options)
    edit.finish(decoded.boxes, decoded.scores, decoded.boxes_per_picture, evidence.classes, view.batch)
    spec = ModelSpec(
        task="detect",
        input_name=view.input.name,
        input_wh=view.input_wh,
        batch=view.batch,
        names=names.names,
        preprocess=options.preprocess_of(pixels.left_of(evidence.preprocess)),
        outputs="decoded",
        final=evidence.final,
        provenance={**provenance, "family": evidence.family},
    )
    _describe(model, spec)
    if spec.final:
        notes.append("its boxes are final: run suppresses none, if not asked to (--nms class)")
    notes += [names.origin, _preprocess_note(spec.preprocess, options)]
    return Adapted(
        model=model, spec=spec, evidence=evidence, notes=tuple(notes), boxes=decoded.boxes_per_picture
    )


def evidence_of(model: onnx.ModelProto) -> Evidence:
    """Say of which family a model is, without changing it; an open size counts as 640x640.

    Raises:
        GraphError: Of none that is known.
        UnsupportedOpError: Of a kind that is refused by name.
    """
    onnx = require("onnx", why="to read an ONNX model")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    options = AdaptOptions(input_wh=_USUAL_WH if has_open_size(copy) else None)
    view = GraphView(_prepare(copy, options)[0])
    return recognise(view, _wishes(options, metadata_names(view.metadata)))[1]


def _prepare(model: onnx.ModelProto, options: AdaptOptions) -> tuple[onnx.ModelProto, list[str]]:
    model = without_functions(model)
    without_aliases(model)
    raised, notes = with_opset(model)
    notes = [*notes, *to_qdq(raised)]
    size = options.input_wh
    if size is None and has_open_size(raised):
        # What it was trained in, where its exporter says so; else the size is asked for.
        size = metadata_size({entry.key: entry.value for entry in raised.metadata_props})
    return raised, [*notes, *open_picture_input(raised, size)]


def _refuse_our_own(model: onnx.ModelProto) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if ModelSpec.from_metadata(metadata) is not None:
        raise GraphError(
            "it has edgeyolo.* metadata already: made by edgeyolo convert or adapt, nothing to adapt",
            hint="edgeyolo build takes it as it is",
        )


def _names(evidence: Evidence, known: ClassNames | None, options: AdaptOptions) -> ClassNames:
    names = known or names_for(evidence.classes, detects=True, path=options.names)
    if len(names.names) != evidence.classes:
        raise GraphError(
            f"{evidence.classes} classes in the graph, {len(names.names)} names in its metadata",
            hint="--names FILE with one name a line",
        )
    return names


def _wishes(options: AdaptOptions, known: ClassNames | None) -> Wishes:
    classes = len(known.names) if known else None
    if options.names is not None:
        classes = len(read_names(options.names))
    return Wishes(
        family=options.family, classes=classes, anchors=options.anchors, strip_nms=options.strip_nms
    )


def _describe(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Add our metadata; the model's own stays, it may hold a licence."""
    for key, value in spec.to_metadata().items():
        model.metadata_props.add(key=key, value=value)


def _preprocess_note(preprocess: Preprocess, options: AdaptOptions) -> str:
    text = (
        f"preprocess: {preprocess.resize}, {preprocess.channels}, "
        f"{'0..255' if preprocess.scale == 1 else f'times {preprocess.scale:.6g}'}, "
        f"padding {preprocess.pad_value:g}"
    )
    if any(preprocess.mean) or any(value != 1 for value in preprocess.std):
        text += f", mean {list(preprocess.mean)}, std {list(preprocess.std)}"
    return text + (
        ", with what --preprocess says"
        if options.preprocess
        else "; a guess by the family, --preprocess changes it"
    )
