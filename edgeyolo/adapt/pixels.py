"""What a graph does to its pixels before the first layer: scaling, means, channels in the other order.

Owns that reading, and what it leaves for the preprocess to do. super-gradients, for one, exports a model that
takes bytes, turns BGR into RGB and divides by 255. Refuses to guess what a graph does not show.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from edgeyolo.adapt.view import GraphView
    from edgeyolo.spec import Channels, Preprocess

__all__ = ["Pixels", "pixels_of"]

_LEAST_RANGE = 100.0  # who divides by more, or takes more away, has pixels of 0..255


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What a graph takes.

    Args:
        whole: Pixels of 0..255.
        normalised: Means and deviations are in the graph.
        reversed: The graph turns the order of the channels round.
    """

    whole: bool = False
    normalised: bool = False
    reversed: bool = False

    def left_of(self, preprocess: Preprocess) -> Preprocess:
        """Give what is left to do of what the layers want."""
        if self.whole or self.normalised:
            scale = 1.0 if self.whole else 1 / 255
            preprocess = dataclasses.replace(
                preprocess, scale=scale, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
            )
        if self.reversed:
            other: Channels = "bgr" if preprocess.channels == "rgb" else "rgb"
            preprocess = dataclasses.replace(preprocess, channels=other)
        return preprocess

    def notes(self) -> list[str]:
        """Tell what was found."""
        return [
            text
            for text, holds in (
                ("the graph scales pixels itself: 0..255 go in", self.whole),
                ("the graph takes means away itself", self.normalised),
                ("the graph turns the order of the channels round itself", self.reversed),
            )
            if holds
        ]


def pixels_of(view: GraphView, *, takes_bytes: bool) -> Pixels:
    """Follow the picture to the first operator that is more than arithmetic with constants.

    Args:
        view: The graph.
        takes_bytes: The model's own input is uint8.
    """
    found, tensor = Pixels(whole=takes_bytes), view.input.name
    while (node := view.only_reader(tensor)) is not None:
        if node.op_type in ("Cast", "Identity"):
            pass
        elif node.op_type == "Gather" and _axis(node) == 1:
            order = view.constant(node.input[1])
            if order is None or order.ravel().tolist() not in ([2, 1, 0], [0, 1, 2]):
                break
            found = dataclasses.replace(found, reversed=found.reversed ^ (order.ravel()[0] == 2))
        elif node.op_type in ("Add", "Div", "Mul", "Sub"):
            others = [view.constant(name) for name in node.input if name != tensor]
            if len(others) != 1 or others[0] is None:
                break
            found = _after(found, node.op_type, np.abs(others[0].astype(np.float64)))
        else:
            break
        tensor = node.output[0]
    return found


def _after(found: Pixels, kind: str, constant: npt.NDArray[np.float64]) -> Pixels:
    largest, smallest = float(constant.max(initial=0.0)), float(constant.min(initial=np.inf))
    scales = (kind == "Div" and largest >= _LEAST_RANGE) or (kind == "Mul" and smallest <= 1 / _LEAST_RANGE)
    if scales or (kind in ("Add", "Sub") and largest >= _LEAST_RANGE):
        found = dataclasses.replace(found, whole=True)
    return found if scales else dataclasses.replace(found, normalised=True)


def _axis(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "axis"), 0)
