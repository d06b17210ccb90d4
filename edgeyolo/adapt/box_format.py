"""How the four values of a box are meant: corners or a centre and a size, in pixels or as parts of the sides.

Owns the reading of the last operators before a box tensor, a look at its values where these do not tell, and
the way to corners in pixels. Refuses to guess: None is an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from edgeyolo.adapt.view import LAYOUT

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView

__all__ = ["PIXEL_CENTERS", "PIXEL_CORNERS", "BoxFormat", "box_format", "format_of_values", "pixel_corners"]

_SCALINGS = {"Div", "Mul"}
_LEAST_BOXES = 8  # fewer tell too little
_LARGEST_PART = 4.0  # boxes of noise stick out of the picture, but pixels reach its far side


class BoxFormat(NamedTuple):
    """What four values are.

    Args:
        values: ``xyxy`` or ``cxcywh``.
        relative: Parts of the sides of the network input, else pixels of it.
        why: What says so; empty where it is an assumption.
    """

    values: Literal["xyxy", "cxcywh"]
    relative: bool = False
    why: str = ""

    def __str__(self) -> str:
        what = {"xyxy": "x0 y0 x1 y1", "cxcywh": "cx cy w h"}[self.values]
        where = "as parts of the input's sides" if self.relative else "in pixels of the network input"
        return f"{what} {where}{', ' if self.why else ''}{self.why}"


PIXEL_CORNERS, PIXEL_CENTERS = BoxFormat("xyxy"), BoxFormat("cxcywh")


def box_format(view: GraphView, tensor: str, values: npt.NDArray[np.generic] | None) -> BoxFormat | None:
    """Tell the format of boxes by what made them, else by what they are for a picture of noise.

    Rules:
        1. A Sigmoid gives values from 0 to 1: centre and size, parts of the input's sides (DETR's kin).
        2. Two halves of which the second is a sum: a point plus a distance, so corners.
        3. Two halves of which the second is a difference, a power, an exponential or a product: a size.
        4. Four values of which the third is a sum: corners.
        5. The values: corners where no box is inside out.
        6. The values again: parts of the sides where none is far outside 0 to 1.

    Args:
        view: The graph.
        tensor: Where the boxes come from, ``[B, N, 4]`` or ``[B, 4, N]``.
        values: Boxes of a picture of noise, ``[B, N, 4]``.

    Returns:
        The format, None where no rule fits.
    """
    found = _by_structure(view, tensor)
    seen = None if values is None else format_of_values(values)
    if found is None or seen is None:
        return found or seen
    return found._replace(relative=found.relative or seen.relative)


def pixel_corners(edit: GraphEdit, boxes: str, axis: int, found: BoxFormat, input_wh: tuple[int, int]) -> str:
    """Append what brings boxes to ``xyxy_net``.

    Args:
        edit: The graph.
        boxes: The tensor.
        axis: Axis of the four values, 1 or 2.
        found: What they are.
        input_wh: Network input, pixels.
    """
    if found.values == "cxcywh":
        boxes = edit.xyxy(boxes, axis)
    if found.relative:
        sides = np.array([*input_wh, *input_wh], np.float32).reshape((4, 1) if axis == 1 else (4,))
        boxes = edit.multiply(boxes, sides, "in_pixels")
    return boxes


def _by_structure(view: GraphView, tensor: str) -> BoxFormat | None:
    node = view.behind(tensor)
    while node is not None and node.op_type in _SCALINGS and any(map(view.is_constant, node.input)):
        data = [part for part in node.input if not view.is_constant(part)]
        node = view.behind(data[0]) if data else None
    if node is None:
        return None
    if node.op_type == "Sigmoid":
        return BoxFormat("cxcywh", relative=True, why="as a Sigmoid made them")
    if node.op_type != "Concat":
        return None
    place = {2: 1, 4: 2}.get(len(node.input))
    second = view.behind(node.input[place], past=LAYOUT | {"Clip"}) if place is not None else None
    if second is None:
        return None
    if second.op_type == "Add":
        return BoxFormat("xyxy", why="as a sum made the second corner")
    if len(node.input) == 2 and second.op_type in {"Exp", "Mul", "Pow", "Sub"}:
        return BoxFormat("cxcywh", why=f"as {second.op_type} made the size")
    return None


def format_of_values(values: npt.NDArray[np.generic]) -> BoxFormat | None:
    """Tell the format by the rules of values alone.

    Args:
        values: Boxes of a picture of noise, ``[B, N, 4]``.
    """
    boxes = values.astype(np.float64).reshape(-1, 4)
    # Rows of zeros are padding.
    boxes = boxes[np.isfinite(boxes).all(axis=1) & boxes.any(axis=1)]
    if len(boxes) < _LEAST_BOXES:
        return None
    relative = bool(np.abs(boxes).max() <= _LARGEST_PART)
    if (boxes[:, 2:] >= boxes[:, :2]).all():
        return BoxFormat("xyxy", relative, "as none is inside out for a picture of noise")
    if (boxes[:, 2:] >= 0).all():
        return BoxFormat("cxcywh", relative, "as these are no corners for a picture of noise")
    return None
