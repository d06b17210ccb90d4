"""How the four values of a box were made: corners, a centre and a size, or a sigmoid of the whole picture.

Owns the reading of the last operators before a box tensor. Refuses to guess: None is an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgeyolo.adapt.view import LAYOUT

if TYPE_CHECKING:
    from edgeyolo.adapt.view import GraphView

__all__ = ["BoxFormat", "box_format"]

BoxFormat = Literal["xyxy", "cxcywh", "cxcywh_relative"]

_SCALINGS = {"Div", "Mul"}


def box_format(view: GraphView, tensor: str) -> BoxFormat | None:
    """Tell the format of a box tensor by what made it.

    Rules:
        1. A Sigmoid gives values from 0 to 1: centre and size, parts of the input's sides (DETR's kin).
        2. Two halves of which the second is a sum: a point plus a distance, so corners.
        3. Two halves of which the second is a difference, a power, an exponential or a product: a size.
        4. Four values of which the third is a sum: corners.

    Args:
        view: The graph.
        tensor: ``[B, N, 4]`` or ``[B, 4, N]``.

    Returns:
        The format, None where no rule fits.
    """
    node = view.behind(tensor)
    while node is not None and node.op_type in _SCALINGS and any(map(view.is_constant, node.input)):
        data = [part for part in node.input if not view.is_constant(part)]
        node = view.behind(data[0]) if data else None
    if node is None:
        return None
    if node.op_type == "Sigmoid":
        return "cxcywh_relative"
    if node.op_type != "Concat":
        return None
    place = {2: 1, 4: 2}.get(len(node.input))
    second = view.behind(node.input[place], past=LAYOUT | {"Clip"}) if place is not None else None
    if second is None:
        return None
    if second.op_type == "Add":
        return "xyxy"
    if len(node.input) == 2 and second.op_type in {"Exp", "Mul", "Pow", "Sub"}:
        return "cxcywh"
    return None
