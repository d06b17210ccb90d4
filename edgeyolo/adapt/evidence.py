"""What a family of detectors answers: how it was recognised, what was assumed, and how it sees a picture.

Owns these types and the preprocess of the families. Refuses to recognise anything (the family modules).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeyolo.spec import Preprocess

if TYPE_CHECKING:
    from edgeyolo.adapt.edit import GraphEdit
    from edgeyolo.adapt.view import GraphView

__all__ = [
    "LETTERBOX_114",
    "STRETCH",
    "YOLOX",
    "Evidence",
    "Family",
    "Grid",
    "Normalised",
    "Wishes",
    "grid_of",
]

LETTERBOX_114 = Preprocess(pad_value=114.0)
"""YOLOv5 to YOLO11, v6, v7: letterbox in the middle of grey 114, RGB, 0..1."""

YOLOX = Preprocess(resize="letterbox_top_left", channels="bgr", scale=1.0, pad_value=114.0)
"""YOLOX from release 0.1.1rc0 on: padding at the right and the bottom, BGR, 0..255."""

STRETCH = Preprocess(resize="stretch")
"""RT-DETR and its kin: stretched, RGB, 0..1."""

_STRIDES = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (16, 32),
    (4, 8, 16, 32),
    (4, 8, 16, 32, 64),
    (4, 8, 16),
    (16, 32, 64),
    (8, 16),
    (32,),
    (16,),
    (8,),
)
_ANCHORS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user says of a model, where its graph does not.

    Args:
        family: The family that was asked for; it may take what only its shape speaks for.
        classes: Number of class names that are known from metadata or a file; None where there are none.
        anchors: Width and height of every anchor in pixels, head by head; empty where not given.
        strip_nms: Cut the suppression that the graph does itself.
    """

    family: str | None = None
    classes: int | None = None
    anchors: tuple[tuple[float, float], ...] = ()
    strip_nms: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A graph is of a family, and why.

    Args:
        family: Its name, as ``--family`` takes it.
        reasons: What in the graph says so.
        classes: Number of classes.
        preprocess: How the family is trained to see pictures.
        outputs: The outputs that are used.
        assumed: What the graph does not say and was taken for granted.
        strides: Input pixels a cell, head by head; empty where the family has none.
        final: Its boxes are final, each object once.
        details: What `Family.normalise` of the same family needs of what `Family.matches` found.
    """

    family: str
    reasons: tuple[str, ...]
    classes: int
    preprocess: Preprocess
    outputs: tuple[str, ...]
    assumed: tuple[str, ...] = ()
    strides: tuple[int, ...] = ()
    final: bool = False
    details: dict[str, object] = field(default_factory=dict)


class Normalised(NamedTuple):
    """Names of the tensors ``boxes [B, N, 4]`` (``xyxy_net``) and ``scores [B, N, C]``, and N."""

    boxes: str
    scores: str
    boxes_per_picture: int


class Family(Protocol):
    """One layout of outputs."""

    @property
    def name(self) -> str:
        """As ``--family`` takes it."""

    @property
    def layout(self) -> str:
        """What its outputs look like, for messages."""

    def matches(self, view: GraphView, wishes: Wishes) -> Evidence | None:
        """Say why a graph is of this family, or None.

        Raises:
            GraphError: It is, and something that the user must give is missing.
            UnsupportedOpError: It is of a kind that is refused by name.
        """

    def normalise(self, view: GraphView, edit: GraphEdit, evidence: Evidence) -> Normalised:
        """Append the decode that the graph lacks, in float32."""


class Grid(NamedTuple):
    """How the boxes of a detector lie on the picture."""

    strides: tuple[int, ...]
    anchors: int

    def cells(self, input_wh: tuple[int, int]) -> list[tuple[int, int]]:
        """Give columns and rows of each head."""
        width, height = input_wh
        return [(math.ceil(width / stride), math.ceil(height / stride)) for stride in self.strides]


def grid_of(input_wh: tuple[int, int], count: int | None) -> Grid | None:
    """Find the strides whose cells give that many boxes.

    Args:
        input_wh: Network input, pixels.
        count: Boxes a picture.

    Returns:
        The first of the usual sets of strides that fits, or None.

    Examples:
        >>> grid_of((416, 416), 3549), grid_of((640, 640), 25200), grid_of((640, 640), 300)
        (Grid(strides=(8, 16, 32), anchors=1), Grid(strides=(8, 16, 32), anchors=3), None)
    """
    for anchors in _ANCHORS:
        for strides in _STRIDES:
            grid = Grid(strides, anchors)
            if sum(w * h for w, h in grid.cells(input_wh)) * anchors == count:
                return grid
    return None
