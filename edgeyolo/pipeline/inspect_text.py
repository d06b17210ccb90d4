"""The facts of ``inspect`` as lines for people.

Owns the layout only; every number comes from ``inspect``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgeyolo.pipeline.inspect_calibration import lines_of_cache, lines_of_manifest, lines_of_scales
from edgeyolo.pipeline.inspect_rules import lines_of_rules

__all__ = ["lines_from_facts"]

Facts = Mapping[str, Any]
_HEADS = {"yolo", "gaussian_yolo", "region", "detection"}  # said below the table
_NEUTRAL = (0, 1, (0, 0), (1, 1), None, "none", "linear")


def lines_from_facts(facts: Facts) -> Iterator[str]:
    """Lay out what `edgeyolo.pipeline.inspect.inspect` gave.

    Args:
        facts: Its result.

    Yields:
        Lines without their ends.
    """
    yield f"{facts['name']}: {facts['what']}"
    yield from {
        "cfg": _cfg,
        "weights": _weights,
        "onnx": _onnx,
        "engine": _engine,
        "scales": lines_of_scales,
        "trt_cache": lines_of_cache,
        "manifest": lines_of_manifest,
        "rules": lines_of_rules,
    }[facts["kind"]](facts)


def _cfg(facts: Facts) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("layer", "kind", "options", "reads", "output", "parameters", "GFLOPs")]
    rows += [
        (
            str(layer["index"]),
            layer["kind"],
            _options(layer),
            " ".join("input" if index < 0 else str(index) for index in layer["inputs"]),
            _shape(layer["out"]),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            f"{layer['gflops']:.3f}" if layer["gflops"] else "",
        )
        for layer in facts["layers"]
    ]
    yield from _table(rows, right={0, 5, 6})
    yield f"input        {_shape(facts['input'])} (channels, height, width)"
    yield f"parameters   {facts['parameters']:,}; a .weights file of {facts['weights_bytes']:,} bytes"
    yield f"computation  {facts['gflops']:.2f} GFLOPs (2 a multiply-accumulate) for one picture"
    for head in facts["heads"]:
        anchors = f", {len(head['anchors_wh'])} anchors" if "anchors_wh" in head else ""
        stride = f", stride {_pair(head['stride_wh'])}" if "stride_wh" in head else ""
        where = f"layer {head['layer']}: {head['kind']}"
        yield f"head         {where}, {head['classes']} classes{anchors}{stride}"
    yield from (f"warning      {warning}" for warning in facts["warnings"])


def _options(layer: Facts) -> str:
    """Say what a section asks for, such as ``3x3/2 64 leaky bn``; what changes nothing is left out."""
    if layer["kind"] in _HEADS:
        return ""
    options = dict(layer["options"])
    words = []
    if layer["kind"] == "convolutional":
        words += [f"{options['size']}x{options.pop('size')}/{_pair(options.pop('stride_wh'))}"]
        words += [str(options.pop("filters")), options.pop("activation")]
        words += ["bn"] * options.pop("batch_normalize")
        options.pop("pad_wh")
    elif "size_wh" in options:
        words += [f"{_shape(options.pop('size_wh'))}/{_pair(options.pop('stride_wh'))}"]
    elif options.get("groups", 1) > 1:
        words += [f"part {options.pop('group_id') + 1} of {options.pop('groups')}"]
    words += [f"{key}={_value(value)}" for key, value in options.items() if value not in _NEUTRAL]
    return " ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _weights(facts: Facts) -> Iterator[str]:
    yield f"format       {facts['format']}, {facts['pictures_seen']:,} pictures seen in training"
    yield f"parameters   {facts['parameters']:,} floats"
    yield f"fits         {', '.join(facts['fits']) or 'no built-in architecture by its length'}"
    if beside := facts["cfg_beside"]:
        verdict = "as this file has" if beside["fits"] else "not what this file has"
        yield f"cfg beside   {beside['name']} wants {beside['parameters']:,} floats, {verdict}"


def _onnx(facts: Facts) -> Iterator[str]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts["opset"].items())
    yield f"opset        {opsets}; IR version {facts['ir_version']}; made by {facts['producer'] or '?'}"
    yield from _tensors(facts)
    yield f"parameters   {facts['parameters']:,}"
    yield f"nodes        {facts['nodes']}: " + ", ".join(f"{n} {op}" for op, n in facts["ops"].items())
    if facts["spec"]:
        yield from _spec(facts["spec"])
    else:
        yield "metadata     none of EdgeYOLO's: not made by edgeyolo convert or adapt"
        yield from _family(facts["name"], facts["family"])


def _family(path: str, family: Facts) -> Iterator[str]:
    if family["name"] is None:
        yield f"family       none: {family['why']}"
        if family["hint"]:
            yield f"             {family['hint']}"
        return
    yield f"family       {family['name']}, {family['classes']} classes"
    for label, key in (("because", "reasons"), ("assumed", "assumed")):
        yield from (f"  {label:10} {line}" for line in family[key])
    yield f"  next       edgeyolo build {path} -o OUT.engine"


def _engine(facts: Facts) -> Iterator[str]:
    yield f"backend      {facts['backend']}, {facts['precision']}, {facts['bytes']:,} bytes"
    yield from _tensors(facts)
    yield from _spec(facts["spec"])
    for key in ("made_from", "versions", "machine"):
        yield from (f"{key.replace('_', ' '):12} {name}: {value}" for name, value in facts[key].items())
    yield from _built_with(facts["extra"])
    yield f"built        {facts['built_at']}: {facts['command']}"
    for layer in facts.get("layers", ()):
        told = [layer["name"], layer["kind"], *layer["outputs"], layer["tactic"]]
        yield "layer        " + "; ".join(filter(None, told))


def _built_with(extra: Facts) -> Iterator[str]:
    """Tell what an engine was built with, and what its layers compute in."""
    for name, value in extra.items():
        if name == "precision_by_layer":
            counts = Counter(kind or "not told" for kind in value.values())
            if counts:
                yield "layers       " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        elif value not in (None, False, [], {}):
            words = ", ".join(map(str, value)) if isinstance(value, list) else value
            words = (
                ", ".join(f"{key} {item}" for key, item in value.items())
                if isinstance(value, dict)
                else words
            )
            yield f"option       {name.replace('_', ' ')}: {words}"


def _tensors(facts: Facts) -> Iterator[str]:
    for side in ("input", "output"):
        for tensor in facts[side + "s"]:
            yield f"{side:12} {tensor['name']} {tensor['dtype']} {_shape(tensor['shape'])}"


def _spec(spec: Facts) -> Iterator[str]:
    names = spec["names"]
    some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    final = ", boxes final" if spec["final"] else ""
    yield f"task         {spec['task']}, outputs {spec['outputs']}{final}, {len(names)} classes: {some}"
    preprocess = spec["preprocess"]
    yield "preprocess   " + ", ".join(
        f"{key} {round(value, 6) if isinstance(value, float) else value}"
        for key, value in preprocess.items()
        if key in {"resize", "channels", "scale", "pad_value"}
    )
    for head in spec["heads"]:
        yield (
            f"head         {head['output']}: {head['kind']}, {head['classes']} classes, "
            f"{len(head['anchors_wh'])} anchors, stride {_pair(head['stride_wh'])}"
        )
    yield from (f"provenance   {role}: {value}" for role, value in spec["provenance"].items())


def _table(rows: list[tuple[str, ...]], *, right: set[int]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _shape(sizes: Iterable[Any]) -> str:
    return "x".join(map(str, sizes))


def _pair(pair: Iterable[int]) -> str:
    width, height = pair
    return str(width) if width == height else f"{width}x{height}"
