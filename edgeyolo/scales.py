"""``scales.json``: every number that INT8 needs, where it came from, and what it belongs to.

Owns the type, its file and the proof that scales, model and preprocess belong together. Refuses to find a
scale (`edgeyolo.calibrate`) and to put one into a graph (`edgeyolo.qdq`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edgeyolo.errors import CalibrationError, StaleScalesError
from edgeyolo.files import write_text
from edgeyolo.spec import Preprocess

__all__ = ["Provenance", "Scales", "TensorScale", "preprocess_sha256", "read_scales"]

T = TypeVar("T")

FORMAT = 2
_LATER = frozenset({"int8_on_onnxruntime"})  # tables that a file of before does not have
LEVELS = 127  # symmetric int8: -127..127 carry the range, scale = amax / 127


@dataclass(frozen=True, kw_only=True)
class TensorScale:
    """The scale of one tensor.

    Args:
        amax: Largest magnitude that is kept; larger ones are clipped. Positive and finite.
        method: What chose it: ``percentile 99.99``, ``mse``, ``largest`` ...

    Examples:
        >>> TensorScale(amax=63.5, method="mse").scale
        0.5
    """

    amax: float
    method: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amax) and self.amax > 0):
            raise CalibrationError(f"amax: a positive finite number expected, {self.amax} found")

    @property
    def scale(self) -> float:
        """Real value of one int8 step."""
        return self.amax / LEVELS


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the scales were made from, by hash and by name.

    Args:
        model_sha256: The float ONNX file.
        preprocess_sha256: The preprocess spec, `preprocess_sha256`.
        manifest_sha256: The manifest of the calibration pictures; empty for scales taken from elsewhere.
        images: Number of pictures that were seen.
        method: ``auto``, ``mse`` ...
        versions: Package to version.
    """

    model_sha256: str
    preprocess_sha256: str
    manifest_sha256: str
    images: int
    method: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scales:
    """All that turns a float model into its INT8 form.

    Args:
        provenance: What it was made from.
        tensors: Tensor name to scale. Tensors that share a scale each have their entry, with one value.
        float_layers: Layer name to the reason why it stays float.
        weight_amax: Layer name to the largest magnitude kept per output channel, where it is not simply the
            largest weight of the channel.
        channel_factors: Tensor name to one factor a channel: the layer that makes the tensor is divided by
            it, the layers that read it are multiplied by it (cross-layer equalisation). `tensors` holds
            the scales of the equalised graph.
        bias_shift: Layer name to what is added to its bias, a channel, in units of the equalised graph.
        weight_steps: Layer name to how many int8 steps each of its weights is off the nearest one, packed
            (`edgeyolo.qdq.weights.packed_steps`). Its `weight_amax` says how large a step is. A layer in
            float takes neither these nor its `bias_shift`.
        offsets: Tensor name to what is taken off it before it is rounded (`edgeyolo.qdq.offsets`). `tensors`
            holds the scale of what is left.
        plain: Scales of the graph as it is, without `channel_factors` and `offsets`, where it has either, and
            of tensors in front of a LeakyRelu with both sides held: what a TensorRT calibration cache needs,
            which cannot change weights. It takes from `tensors` what is not here.
        int8_on_onnxruntime: Those of `float_layers` that are INT8 on ONNX Runtime, and why; may be absent.
        format: Version of this format.
    """

    provenance: Provenance
    tensors: Mapping[str, TensorScale]
    float_layers: Mapping[str, str] = field(default_factory=dict)
    weight_amax: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    channel_factors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bias_shift: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    weight_steps: Mapping[str, str] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    plain: Mapping[str, TensorScale] = field(default_factory=dict)
    int8_on_onnxruntime: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, path: Path | str) -> None:
        """Write ``scales.json``, whole or not at all, one tensor a line so that a diff can be read.

        Raises:
            OutputError: It cannot be written.
        """
        data = dataclasses.asdict(self)
        parts = [f"  {json.dumps(key)}: {_block(value)}" for key, value in data.items()]
        write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")

    def check(self, *, model_sha256: str, preprocess: Preprocess | None = None) -> None:
        """Prove that the scales belong to a model and a preprocess spec.

        Raises:
            StaleScalesError: One of the two is another; the message names it.
        """
        wanted = {"model_sha256": model_sha256}
        if preprocess is not None:
            wanted["preprocess_sha256"] = preprocess_sha256(preprocess)
        for name, expected in wanted.items():
            found = getattr(self.provenance, name)
            if found != expected:
                raise StaleScalesError(
                    f"these scales were made for another {name.removesuffix('_sha256')}: "
                    f"{name} {expected[:12]}… expected, {found[:12]}… found",
                    hint="calibrate again: edgeyolo calibrate MODEL.onnx IMAGES -o DIR",
                )


def preprocess_sha256(preprocess: Preprocess) -> str:
    """Give the fingerprint of a preprocess spec.

    Examples:
        >>> preprocess_sha256(Preprocess()) == preprocess_sha256(Preprocess(pad_value=114))
        False
    """
    text = json.dumps(dataclasses.asdict(preprocess), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_scales(path: Path | str) -> Scales:
    """Read ``scales.json``.

    Raises:
        CalibrationError: The file is absent, is no scales file, or has a wrong value.
        StaleScalesError: It was written in another format.
    """
    path = Path(path)
    hint = "edgeyolo calibrate MODEL.onnx IMAGES -o DIR writes one"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or "format" not in data:
            raise CalibrationError(f"a scales file expected, {_found(data)}")
        if data["format"] != FORMAT:
            raise StaleScalesError(f"{path}: format {FORMAT} expected, {data['format']} found", hint=hint)
        return _from_json(data)
    except OSError as exc:
        raise CalibrationError(f"{path}: cannot be read: {exc.strerror or exc}", hint=hint) from exc
    except StaleScalesError:
        raise
    except CalibrationError as exc:
        raise CalibrationError(f"{path}: {exc.message}", hint=hint) from exc
    except ValueError as exc:
        raise CalibrationError(f"{path}: a scales file expected, no JSON found: {exc}", hint=hint) from exc


def _from_json(data: dict[str, Any]) -> Scales:
    def table(key: str, convert: Callable[[Any], T], expected: str) -> dict[str, T]:
        values = data.get(key, {} if key in _LATER else None)
        if not isinstance(values, dict):
            raise CalibrationError(f"{key}: a table expected, {_found(values)}")
        found = {}
        for name, value in values.items():
            try:
                found[name] = convert(value)
            except (CalibrationError, ValueError, KeyError, TypeError) as exc:
                words = f"{key}: {expected} expected for {name!r}, {_found(value)}"
                raise CalibrationError(words) from exc
        return found

    def tensors(key: str) -> dict[str, TensorScale]:
        return table(key, _tensor_scale, "a positive finite amax and a method")

    def channels(key: str) -> dict[str, tuple[float, ...]]:
        return table(key, lambda values: tuple(float(value) for value in values), "numbers")

    def words(key: str) -> dict[str, str]:
        return table(key, str, "words")

    try:
        provenance = Provenance(**data.get("provenance", {}))
    except TypeError as exc:
        names = ", ".join(each.name for each in dataclasses.fields(Provenance))
        found = _found(data.get("provenance"))
        raise CalibrationError(f"provenance: a table of {names} expected, {found}") from exc
    return Scales(
        provenance=provenance,
        tensors=tensors("tensors"),
        float_layers=words("float_layers"),
        weight_amax=channels("weight_amax"),
        channel_factors=channels("channel_factors"),
        bias_shift=channels("bias_shift"),
        weight_steps=words("weight_steps"),
        offsets=table("offsets", float, "a number"),
        plain=tensors("plain"),
        int8_on_onnxruntime=words("int8_on_onnxruntime"),
        format=data["format"],
    )


def _tensor_scale(item: Any) -> TensorScale:
    return TensorScale(amax=float(item["amax"]), method=str(item["method"]))


def _found(value: object) -> str:
    return "nothing found" if value is None else f"{json.dumps(value):.60} found"


def _block(value: object) -> str:
    """Give JSON with one entry of a table a line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    lines = [
        f"    {json.dumps(key, ensure_ascii=False)}: {json.dumps(item, ensure_ascii=False)}"
        for key, item in value.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n  }"
