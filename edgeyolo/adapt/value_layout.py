"""Where boxes, objectness and classes lie in an output tensor that holds them all.

Owns that reading: from how the head put the tensor together, from the number of boxes, from the number of
class names; only where none of them tells, from the usual layout. Refuses to say which family it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.adapt.evidence import Wishes, grid_of

if TYPE_CHECKING:
    from edgeyolo.adapt.view import GraphView, Leaf, Tensor

__all__ = ["ValueLayout", "value_layout"]


@dataclass(frozen=True)
class ValueLayout:
    """Where things are in the output tensor.

    Args:
        output: The tensor.
        axis: 1 or 2: the axis of box values and scores.
        count: Boxes a picture.
        width: Values a box.
        objectness: There is one, at place 4.
        classes: Number of classes; they follow.
        why: What says so.
        guessed: Nothing in the graph does.
        box_leaf: The tensor that the first box values come from.
    """

    output: Tensor
    axis: int
    count: int
    width: int
    objectness: bool
    classes: int
    why: str
    guessed: bool
    box_leaf: str

    @property
    def first_class(self) -> int:
        """Place of the first class."""
        return 5 if self.objectness else 4

    @property
    def ignored(self) -> int:
        """How many values behind the classes are of no use: mask coefficients, keypoints."""
        return self.width - self.first_class - self.classes


def value_layout(view: GraphView, wishes: Wishes) -> ValueLayout | None:
    """Find the output that holds everything, and how it is divided; of several the one with most boxes.

    Args:
        view: The graph.
        wishes: The number of class names decides where the graph leaves a choice.
    """
    found = [
        (output, axis)
        for output in view.outputs
        if len(output.shape) == 3 and (axis := _value_axis(view, output)) is not None
    ]
    if not found:
        return None
    output, axis = max(found, key=lambda item: item[0].shape[3 - item[1]] or 0)
    count, width = output.shape[3 - axis], output.shape[axis]
    assert count is not None  # _value_axis has looked
    assert width is not None
    return _divided(view, wishes, output, axis, count, width)


def _value_axis(view: GraphView, output: Tensor) -> int | None:
    """Tell the axis of values from that of boxes: by strides, by what was joined, else boxes are more."""
    first, second = output.shape[1:]
    if first is None or second is None:
        return None
    counts = {1: second, 2: first}
    fitting = [axis for axis, count in counts.items() if grid_of(view.input_wh, count)]
    if len(fitting) == 1 and (output.shape[fitting[0]] or 0) >= 5:
        return fitting[0]
    joined = [axis for axis in (1, 2) if _box_leaves(view.leaves(output.name, axis))[1]]
    if len(joined) == 1:
        return joined[0]
    axis = 2 if first > second else 1
    return axis if counts[axis] >= 2 * (output.shape[axis] or 0) and (output.shape[axis] or 0) >= 5 else None


def _divided(
    view: GraphView, wishes: Wishes, output: Tensor, axis: int, count: int, width: int
) -> ValueLayout | None:
    """Read boxes, objectness, classes and the rest off the Concat of the head, else off the shape."""
    leaves = view.leaves(output.name, axis)
    boxes, rest = _box_leaves(leaves)
    if len(leaves) > 1 and not boxes and wishes.family is None:
        return None  # joined, and not of a box first: NanoDet's scores and distributions, for one
    joined = _joined(view, boxes, rest, axis)
    guessed = joined is None
    if joined is not None:
        objectness, classes = joined
        why = f"its values are joined as {' + '.join(str(leaf.width) for leaf in leaves)}"
    else:
        grid = grid_of(view.input_wh, count)
        anchored = grid is not None and grid.anchors > 1
        objectness, guessed = axis == 2 or anchored, not anchored
        classes = width - (5 if objectness else 4) - _mask_channels(view, width)
        why = f"{'rows have' if objectness else 'columns have no'} objectness in this layout"
        if anchored:
            why = "several boxes a cell come from anchors, and those have an objectness"
    # One value and all others might be one class and its keypoints.
    unsure = guessed or [leaf.width for leaf in rest] == [1, width - 5]
    if unsure and wishes.classes is not None and wishes.classes != classes:
        objectness, classes, why = _by_names(wishes.classes, width, objectness, classes, why)
    leaf = boxes[0].tensor if boxes else output.name
    return ValueLayout(output, axis, count, width, objectness, classes, why, guessed, leaf)


def _joined(
    view: GraphView, boxes: Sequence[Leaf], rest: Sequence[Leaf], axis: int
) -> tuple[bool, int] | None:
    """Tell objectness and classes from what was joined behind the box; None where nothing was.

    Rules:
        1. 4 + 1 + C, or 2 + 2 + 1 + C: an objectness, unless what follows is no score (`_is_extra`).
        2. 2 + 2 + X with X cut out of something larger: objectness and classes were one (YOLOv5, YOLOX).
        3. 4 + C + ..., or 2 + 2 + C with C fresh from its activation: no objectness (YOLOv8).
    """
    if not boxes or not rest:
        return None
    widths = [leaf.width for leaf in rest]
    if widths[0] == 1 and len(widths) == 2 and not _is_extra(view, rest[1], axis):
        return True, widths[1]
    if len(boxes) == 2 and view.is_cut(rest[0].tensor):
        return True, widths[0] - 1
    return False, widths[0]


def _box_leaves(leaves: Sequence[Leaf]) -> tuple[Sequence[Leaf], Sequence[Leaf]]:
    """Divide the leaves into those of the box, of 4 or of 2 + 2 values, and the others."""
    widths = [leaf.width for leaf in leaves]
    if widths[:1] == [4]:
        return leaves[:1], leaves[1:]
    if widths[:2] == [2, 2]:
        return leaves[:2], leaves[2:]
    return (), ()


def _is_extra(view: GraphView, leaf: Leaf, axis: int) -> bool:
    """Tell one class and its masks or keypoints from objectness and classes.

    Those are no probabilities. In rows, logits may be classes as well: there the channels of a mask decide.
    """
    if view.is_activated(leaf.tensor):
        return False
    return axis == 1 or leaf.width == _mask_channels(view, leaf.width + 5)


def _mask_channels(view: GraphView, width: int) -> int:
    """Give the number of mask coefficients: that of the channels of a second output ``[B, M, h, w]``."""
    masks = [output.shape[1] for output in view.outputs if len(output.shape) == 4]
    return masks[0] if len(masks) == 1 and masks[0] is not None and masks[0] < width - 4 else 0


def _by_names(names: int, width: int, objectness: bool, classes: int, why: str) -> tuple[bool, int, str]:
    """Let the number of class names decide where the graph leaves a choice."""
    for has in (objectness, not objectness):
        if names == width - (5 if has else 4):
            return has, names, f"{names} class names fit {'with' if has else 'without'} objectness"
    if 4 + objectness + names < width:
        return (
            objectness,
            names,
            f"{names} class names, so that {width - 4 - objectness - names} values are left",
        )
    return objectness, classes, why
