"""What a model is, in words that travel with it: task, input, class names, preprocess, heads.

Owns the types and their JSON form, which is the ``edgeyolo.*`` metadata of an ONNX file and the ``spec`` of
an engine's sidecar. Refuses to touch pixels (``edgeyolo.vision``) and to read models.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from edgeyolo.errors import ModelError

__all__ = ["Channels", "Head", "ModelSpec", "Precision", "Preprocess", "Resize", "TensorSpec"]

Precision = Literal["fp32", "fp16", "int8"]
Resize = Literal["letterbox", "letterbox_top_left", "stretch", "center_crop"]
Channels = Literal["rgb", "bgr", "gray"]
Task = Literal["detect", "classify"]
Outputs = Literal["decoded", "raw", "probabilities"]
HeadKind = Literal["yolo", "gaussian_yolo", "region", "detection"]

_METADATA_PREFIX = "edgeyolo."


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How pixels become the input tensor: the only description of it in the project.

    A tensor value is ``(pixel * scale - mean[c]) / std[c]`` with pixel in 0..255.

    Args:
        resize: ``letterbox`` keeps the aspect ratio and centres the picture on padding,
            ``letterbox_top_left`` pads at the right and the bottom, ``stretch`` does not keep the ratio,
            ``center_crop`` scales the short side and cuts the middle (classifiers).
        channels: Channel order of the tensor.
        scale: Factor on the pixel value.
        mean: Subtracted a channel, after `scale`, in the order of `channels`.
        std: Divisor a channel, in the order of `channels`.
        pad_value: Padding in pixel units, 0..255, before `scale`.

    Source:
        The defaults are Darknet's ``letterbox_image`` (src/image.c): padding 0.5 of the range, RGB, 0..1.
    """

    resize: Resize = "letterbox"
    channels: Channels = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad_value: float = 127.5

    def __post_init__(self) -> None:
        _one_of("resize", self.resize, get_args(Resize))
        _one_of("channels", self.channels, get_args(Channels))
        count = 1 if self.channels == "gray" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count:
                raise ModelError(
                    f"preprocess {name}: {count} values expected for {self.channels}, {len(values)} found"
                )
        if any(value == 0 for value in self.std):
            raise ModelError("preprocess std: a value other than 0 expected, 0 found")
        if not 0 <= self.pad_value <= 255:
            raise ModelError(f"preprocess pad_value: 0..255 expected, {self.pad_value} found")


@dataclass(frozen=True, kw_only=True)
class Head:
    """One detection head.

    Args:
        kind: The Darknet section it comes from.
        output: Name of its raw output tensor, ``[B, A*(5+C), h, w]``.
        stride_wh: Input pixels a cell.
        anchors_wh: Width and height of each anchor in pixels of the network input; empty without anchors.
        classes: Number of classes.
        scale_x_y: Darknet's ``scale_x_y``; 1 is the plain sigmoid.
        new_coords: Darknet's ``new_coords`` (Scaled-YOLOv4).
    """

    kind: HeadKind
    output: str
    stride_wh: tuple[int, int]
    anchors_wh: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, shape and type of an I/O tensor; -1 stands for a dynamic dimension."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything that a stage must know of a model beside its graph.

    Args:
        task: What its outputs mean.
        input_name: Name of the image tensor, ``[B, C, H, W]``.
        input_wh: Width and height of the network input, pixels.
        batch: Batch size, or None where it is dynamic.
        names: Class names; the index is the class id.
        preprocess: Pixels to tensor.
        outputs: Which of the graph contracts the outputs follow (docs/design.md).
        heads: Detection heads in cfg order; empty where the origin is not known.
        final: The boxes are final, each object once: no suppression shall follow.
        provenance: What the model was made from: role to sha256 or version.

    Examples:
        >>> spec = ModelSpec(task="detect", input_name="images", input_wh=(320, 320), batch=1,
        ...                  names=("car",), preprocess=Preprocess(), outputs="decoded")
        >>> ModelSpec.from_metadata(spec.to_metadata()) == spec
        True
    """

    task: Task
    input_name: str
    input_wh: tuple[int, int]
    batch: int | None
    names: tuple[str, ...]
    preprocess: Preprocess
    outputs: Outputs
    heads: tuple[Head, ...] = ()
    final: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("task", self.task, get_args(Task))
        _one_of("outputs", self.outputs, get_args(Outputs))

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values; `from_json` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """Read what `to_json` gave.

        Raises:
            ModelError: A field is missing, unknown or has a wrong value.
        """
        try:
            data = dict(value)
            data["preprocess"] = Preprocess(**_tuples(data["preprocess"]))
            data["heads"] = tuple(Head(**_tuples(head)) for head in data.get("heads", ()))
            data["names"] = tuple(str(name) for name in data["names"])
            data["input_wh"] = (int(data["input_wh"][0]), int(data["input_wh"][1]))
            data["provenance"] = dict(data.get("provenance", {}))
            return cls(**data)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as exc:
            if isinstance(exc, ModelError):
                raise
            raise ModelError(
                f"model spec: a field is missing or has a wrong value: {exc}",
                hint="make the file again with this version: edgeyolo convert",
            ) from exc

    def to_metadata(self) -> dict[str, str]:
        """Give ONNX metadata: one ``edgeyolo.<field>`` key a field, JSON values."""
        return {_METADATA_PREFIX + key: json.dumps(item) for key, item in self.to_json().items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelSpec | None:
        """Read ONNX metadata; None where it has no ``edgeyolo.*`` key at all.

        Raises:
            ModelError: The keys are there and a value is wrong.
        """
        found = {
            key.removeprefix(_METADATA_PREFIX): item
            for key, item in metadata.items()
            if key.startswith(_METADATA_PREFIX)
        }
        if not found:
            return None
        try:
            return cls.from_json({key: json.loads(item) for key, item in found.items()})
        except json.JSONDecodeError as exc:
            raise ModelError(f"model metadata edgeyolo.*: JSON expected, {exc}") from exc


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON lists, nested too, back into the tuples of a frozen dataclass."""

    def freeze(item: Any) -> Any:
        return tuple(freeze(part) for part in item) if isinstance(item, (list, tuple)) else item

    return {key: freeze(item) for key, item in value.items()}


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ModelError(f"{name}: one of {', '.join(allowed)} expected, {value!r} found")
