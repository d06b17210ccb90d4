"""Detection heads: region (YOLOv2), yolo (YOLOv3 and later), Gaussian_yolo, detection (YOLOv1).

Owns their fields. Refuses to decode boxes: `out_shape` is that of the input, the raw tensor. With A anchors
and C classes, channel order is anchor-major: channel ``a * entries + e``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeyolo.darknet.layers.base import Layer
from edgeyolo.darknet.layers.reader import SectionReader

__all__ = ["AnchorHead", "Detection", "GaussianYolo", "Region", "Yolo"]


@dataclass(frozen=True, kw_only=True)
class AnchorHead(Layer):
    """A head with anchors on a grid of cells.

    Args:
        classes: Number of classes, C.
        anchors_wh: Width and height of each anchor of *this* head, in pixels of the network input, whatever
            the unit in the cfg. In the order of the channels (for `Yolo`: in the order of `mask`).
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

    @classmethod
    def read(cls, section: SectionReader) -> Yolo:
        """Resolve a ``[yolo]`` section.

        Raises:
            CfgError: Anchors, mask, classes and the channels of the layer before do not agree.
        """
        classes = section.integer("classes", 20, at_least=1)
        mask, anchors_wh = _masked_anchors(section)
        _check_channels(section, len(mask), 5, classes)
        return cls(
            **section.here(),
            out_shape=section.in_shape,
            classes=classes,
            anchors_wh=anchors_wh,
            stride_wh=_stride_wh(section),
            mask=mask,
            scale_x_y=section.number("scale_x_y", 1.0),
            new_coords=section.flag("new_coords"),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> GaussianYolo:
        """Resolve a ``[Gaussian_yolo]`` section.

        Raises:
            CfgError: Anchors, mask, classes and the channels of the layer before do not agree.
        """
        classes = section.integer("classes", 20, at_least=1)
        mask, anchors_wh = _masked_anchors(section)
        _check_channels(section, len(mask), 9, classes)
        return cls(
            **section.here(),
            out_shape=section.in_shape,
            classes=classes,
            anchors_wh=anchors_wh,
            stride_wh=_stride_wh(section),
            mask=mask,
            scale_x_y=section.number("scale_x_y", 1.0),
            yolo_point=section.one_of("yolo_point", "center", ("center", "left_top", "right_bottom")),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Region:
        """Resolve a ``[region]`` section.

        Raises:
            CfgError: Anchors, num, classes and the channels of the layer before do not agree.
            UnsupportedOpError: ``coords`` other than 4.
        """
        coords = section.integer("coords", 4)
        if coords != 4:
            raise section.unsupported(f"coords={coords} is not supported, only 4 (boxes) is", key="coords")
        classes = section.integer("classes", 20, at_least=1)
        cells_wh = _all_anchors(section)
        _check_channels(section, len(cells_wh), coords + 1, classes)
        stride_w, stride_h = _stride_wh(section)
        return cls(
            **section.here(),
            out_shape=section.in_shape,
            classes=classes,
            anchors_wh=tuple((w * stride_w, h * stride_h) for w, h in cells_wh),
            stride_wh=(stride_w, stride_h),
            coords=coords,
            softmax=section.flag("softmax"),
            background=section.flag("background"),
            tree=section.text("tree"),
        )


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

    @classmethod
    def read(cls, section: SectionReader) -> Detection:
        """Resolve a ``[detection]`` section.

        Raises:
            CfgError: The values of the layer before are not those of the grid.
            UnsupportedOpError: ``coords`` other than 4.
        """
        coords = section.integer("coords", 1, at_least=1)
        if coords != 4:
            raise section.unsupported(f"coords={coords} is not supported, only 4 (boxes) is", key="coords")
        classes = section.integer("classes", 1, at_least=1)
        num = section.integer("num", 1, at_least=1)
        side = section.integer("side", 7, at_least=1)
        expected = side * side * ((1 + coords) * num + classes)
        if section.in_shape.size != expected:
            raise section.error(
                f"side {side} * {side} * ((1 + {coords}) * num {num} + {classes} classes) = {expected} "
                f"values expected, {section.in_shape.size} found",
                hint=f"output={expected} in the [connected] section before it",
            )
        return cls(
            **section.here(),
            out_shape=section.in_shape,
            classes=classes,
            coords=coords,
            num=num,
            side=side,
            softmax=section.flag("softmax"),
            sqrt=section.flag("sqrt"),
        )


def _all_anchors(section: SectionReader) -> tuple[tuple[float, float], ...]:
    """Read ``num`` pairs, in the unit of the cfg."""
    num = section.integer("num", 1, at_least=1)
    values = section.numbers("anchors")
    if values is None:
        raise section.error(f"anchors=... expected, {2 * num} numbers for num={num}, none found")
    if len(values) != 2 * num:
        raise section.error(
            f"2 * num = {2 * num} numbers expected in anchors, {len(values)} found",
            "anchors",
            hint=f"num={len(values) // 2}" if len(values) % 2 == 0 else "give pairs of width and height",
        )
    if min(values) <= 0:
        raise section.error(f"anchors above 0 expected, {min(values):g} found", "anchors")
    return tuple(zip(values[0::2], values[1::2], strict=True))


def _masked_anchors(section: SectionReader) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]]:
    """Read ``mask`` (default: all) and the anchors it picks, in pixels of the network input."""
    anchors_wh = _all_anchors(section)
    mask = section.integers("mask")
    if mask is None:
        mask = tuple(range(len(anchors_wh)))
    for number in mask:
        if not 0 <= number < len(anchors_wh):
            raise section.error(
                f"mask: anchors 0 to {len(anchors_wh) - 1} (num={len(anchors_wh)}) expected, {number} found",
                "mask",
            )
    return mask, tuple(anchors_wh[number] for number in mask)


def _check_channels(section: SectionReader, anchors: int, entries: int, classes: int) -> None:
    """Check that the layer before gives ``anchors * (entries + classes)`` channels."""
    expected, found = anchors * (entries + classes), section.in_shape.c
    if found == expected:
        return
    before = section.layers[-1] if section.layers else None
    where = f"[{before.kind}] of line {before.line}" if before else "the network input"
    hint = f"filters={expected} in the {where}"
    if found % anchors == 0 and found // anchors > entries:
        hint += f", or classes={found // anchors - entries} here (in every head of the cfg)"
    raise section.error(
        f"{anchors} anchors * ({entries} + {classes} classes) = {expected} channels expected, "
        f"the {where} gives {found}",
        "classes",
        hint=hint,
    )


def _stride_wh(section: SectionReader) -> tuple[int, int]:
    """Pixels of the network input a cell; whole, or boxes would sit between cells."""
    _, grid_h, grid_w = section.in_shape
    _, input_h, input_w = section.input_shape
    if input_w % grid_w or input_h % grid_h:
        raise section.error(
            f"a network input of whole cells expected, {input_w}x{input_h} for {grid_w}x{grid_h} cells found",
            hint="a width and height that are multiples of 32 fit every published YOLO",
        )
    return input_w // grid_w, input_h // grid_h
