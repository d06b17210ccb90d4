"""The usual ways of making a picture into the input of a detector, as candidates beside a given one.

Owns the lists: what the values are, in which order, how a picture is fitted, what it is padded with. Refuses
to try any (`edgeyolo.pipeline.tune`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from edgeyolo.spec import Channels, Preprocess, Resize

__all__ = ["changes", "other_fits", "other_pads", "other_values"]

# Factor, mean and deviation in the order R, G, B.
_VALUES: tuple[tuple[float, tuple[float, ...], tuple[float, ...]], ...] = (
    (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # 0..1: Darknet, YOLOv5 to 12
    (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # 0..255: YOLOX
    (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's: torchvision, PaddleDetection
    (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # -1..1: TensorFlow's
    (1.0, (122.7717, 115.9465, 102.9801), (1.0, 1.0, 1.0)),  # means taken away: Caffe's
)
_ORDERS: tuple[tuple[Channels, int], ...] = (("rgb", 1), ("bgr", -1))  # and the step through R, G, B
_RESIZES: tuple[Resize, ...] = ("letterbox", "letterbox_top_left", "stretch")
_PADS = (0.0, 114.0, 127.5)


def other_values(before: Preprocess) -> Iterator[Preprocess]:
    """Give other ranges, means and channel orders.

    Examples:
        >>> len(list(other_values(Preprocess())))
        9
    """
    for channels, step in _ORDERS:
        for scale, mean, std in _VALUES:
            candidate = dataclasses.replace(
                before, channels=channels, scale=scale, mean=mean[::step], std=std[::step]
            )
            if candidate != before:
                yield candidate


def other_fits(before: Preprocess) -> Iterator[Preprocess]:
    """Give other ways of fitting a picture into the input."""
    for resize in _RESIZES:
        if resize != before.resize:
            yield dataclasses.replace(before, resize=resize)


def other_pads(before: Preprocess) -> Iterator[Preprocess]:
    """Give other paddings; none where nothing is padded."""
    for pad in _PADS if before.resize != "stretch" else ():
        if pad != before.pad_value:
            yield dataclasses.replace(before, pad_value=pad)


def changes(one: Preprocess, other: Preprocess) -> int:
    """Count the questions that two answer in different ways: range and means, order, fit, padding."""
    values = one.scale, one.mean, one.std
    return sum(
        (
            one.channels != other.channels,
            values != (other.scale, other.mean, other.std),
            one.resize != other.resize,
            one.pad_value != other.pad_value,
        )
    )
