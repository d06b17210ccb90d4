"""Detection heads: region (YOLOv2), yolo (YOLOv3 and later), Gaussian_yolo, detection (YOLOv1).

Owns their fields. Refuses to decode boxes: `out_shape` is that of the input, the raw tensor. With A anchors
and C classes, channel order is anchor-major: channel ``a * entries + e``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Layer

__all__ = ["AnchorHead", "Detection", "GaussianYolo", "Region", "Yolo"]


@dataclass(frozen=True, kw_only=True)
class AnchorHead(Layer):
    """A head with anchors on a grid of cells.

    Args:
        classes: Number of classes, C.
        anchors_wh: Width and height of each anchor of *this* head, in pixels of the network input, whatever
        the
            unit in the cfg. In the order of the channels (for `Yolo`: in the order of `mask`).
        stride_wh: Pixels of the network input a cell.
    """

    classes: int
    anchors_wh: tuple[tuple[float, float], ...]
    stride_wh: tuple[int, int]

    @property
    def grid_wh(self) -> tuple[int, int]:
        """Cells in x and y."""
        return self.in_shape.w, self.in_shape.h


@dataclass(frozen=True, kw_only=True)
class Yolo(AnchorHead):
    """``[yolo]``: entries ``x, y, w, h, objectness, classes``, A * (5 + C) channels.

    ``x, y``, objectness and classes pass the logistic function, then ``x = (col + s * sigmoid - (s - 1) /
    2)`` cells with ``s = scale_x_y``, and ``w = exp(w) * anchor`` pixels. With `new_coords` nothing passes
    the logistic here (the convolution before has it) and ``w = (2 w) ** 2 * anchor``.

    Args:
        mask: Which anchors of the cfg's list this head uses.
        scale_x_y: Stretch of the cell-relative centre; 1 is the plain sigmoid.
        new_coords: Scaled-YOLOv4 coordinates.

    Source:
        src/yolo_layer.c, ``get_yolo_box``.
    """

    kind: ClassVar[str] = "yolo"

    mask: tuple[int, ...]
    scale_x_y: float
    new_coords: bool


@dataclass(frozen=True, kw_only=True)
class GaussianYolo(AnchorHead):
    """``[Gaussian_yolo]``: a mean and a deviation for each coordinate, A * (9 + C) channels.

    Entries ``mu_x, sigma_x, mu_y, sigma_y, mu_w, sigma_w, mu_h, sigma_h, objectness, classes``. ``mu_x,
    mu_y``, all sigma, objectness and classes pass the logistic function; the score of a class is ``objectness
    * class * (1 - mean of the four sigma)``.

    Args:
        mask: Which anchors of the cfg's list this head uses.
        scale_x_y: Stretch of the cell-relative centre.
        yolo_point: ``center``, ``left_top`` or ``right_bottom``: which point of the box x and y are.

    Source:
        src/gaussian_yolo_layer.c of AlexeyAB/darknet.
    """

    kind: ClassVar[str] = "gaussian_yolo"

    mask: tuple[int, ...]
    scale_x_y: float
    yolo_point: str


@dataclass(frozen=True, kw_only=True)
class Region(AnchorHead):
    """``[region]``: entries ``x, y, w, h, objectness, classes``, A * (1 + coords + C) channels.

    ``x, y`` and objectness pass the logistic function; classes pass a softmax, or the logistic function where
    `softmax` is false. The cfg gives anchors in cells; `anchors_wh` are pixels here (cells times stride).

    Args:
        coords: Coordinates a box; other than 4 (masks) is refused.
        softmax: Softmax over the classes.
        background: The last class is background (pjreddie's ``background=1``): objectness is not squashed.
        tree: File with a class hierarchy (YOLO9000) as the cfg names it, or None.

    Source:
        src/region_layer.c.
    """

    kind: ClassVar[str] = "region"

    coords: int
    softmax: bool
    background: bool
    tree: str | None


@dataclass(frozen=True, kw_only=True)
class Detection(Layer):
    """``[detection]``, YOLOv1: a flat input of ``side**2 * (C + (1 + coords) * num)`` values.

    Order: all class probabilities (cell-major), all box confidences, all boxes (``x, y, w, h`` a box; x, y
    relative to the cell, w, h of the picture, square-rooted where `sqrt`).

    Args:
        classes: Number of classes, C.
        coords: Coordinates a box, 4.
        num: Boxes a cell.
        side: Cells in x and y.
        softmax: Softmax over the classes.
        sqrt: Sizes are square roots.

    Source:
        src/detection_layer.c, ``get_detection_boxes``.
    """

    kind: ClassVar[str] = "detection"

    classes: int
    coords: int
    num: int
    side: int
    softmax: bool
    sqrt: bool
