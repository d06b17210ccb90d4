"""Where a picture lies in the network input, and the way back.

Owns the geometry of all four ``resize`` kinds of `edgeyolo.spec.Preprocess` and its exact inverse. Refuses
to touch pixels (`edgeyolo.vision.preprocess`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.spec import Resize

__all__ = ["Letterbox"]


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """A rectangle of the picture that fills a rectangle of the network input.

    Everything else follows from the whole-pixel rectangles, so that the inverse is exact: what is drawn at
    a box is what the network saw there. Coordinates are edges, not pixel centres: 0 is the left edge of
    the first pixel, the width is the right edge of the last.

    Args:
        src_wh: Size of the picture, pixels.
        dst_wh: Size of the network input, pixels.
        crop_xywh: The part of the picture that the network sees; all of it but for ``center_crop``.
        resized_wh: Size of that part in the network input, pixels.
        pad_xy: Where it begins in the network input, pixels.

    Source:
        Darknet ``letterbox_image`` (src/image.c) and ``correct_yolo_boxes`` (src/yolo_layer.c). Differs: the
        inverse uses the whole-pixel padding that was really applied; Darknet uses half of an odd remainder.

    Examples:
        >>> box = Letterbox.fit((1280, 720), (416, 416))
        >>> box.resized_wh, box.pad_xy, box.gain
        ((416, 234), (0, 91), 0.325)
        >>> box.to_image(np.array([[0, 91, 208, 208]], np.float32)).tolist()
        [[0.0, 0.0, 640.0, 360.0]]
    """

    src_wh: tuple[int, int]
    dst_wh: tuple[int, int]
    crop_xywh: tuple[int, int, int, int]
    resized_wh: tuple[int, int]
    pad_xy: tuple[int, int]

    @classmethod
    def fit(cls, src_wh: tuple[int, int], dst_wh: tuple[int, int], resize: Resize = "letterbox") -> Letterbox:
        """Lay a picture into the network input.

        ``letterbox`` and ``letterbox_top_left`` have one gain for both axes, but for the rounding down to
        whole pixels; no side ever becomes zero, however long and thin the picture is.

        Args:
            src_wh: Size of the picture, pixels, at least 1.
            dst_wh: Size of the network input, pixels, at least 1.
            resize: Which of the four ways.

        Raises:
            ValueError: A size is below 1.

        Source:
            Darknet ``letterbox_image`` (rounding down), ``resize_min`` and ``crop_image`` (src/image.c). For
            ``center_crop`` the middle is cut before it is scaled: the same picture to within a pixel, and a
            panorama needs no room.

        Examples:
            >>> Letterbox.fit((640, 480), (256, 256), "center_crop").crop_xywh
            (80, 0, 480, 480)
            >>> Letterbox.fit((1, 9999), (64, 64)).resized_wh
            (1, 64)
        """
        (src_w, src_h), (dst_w, dst_h) = src_wh, dst_wh
        if min(src_w, src_h, dst_w, dst_h) < 1:
            raise ValueError(f"sizes of at least 1x1 expected, {src_w}x{src_h} into {dst_w}x{dst_h} found")
        wider = src_w * dst_h >= dst_w * src_h  # than the network input; whole numbers, so exact
        crop, resized, pad = (0, 0, src_w, src_h), (dst_w, dst_h), (0, 0)
        if resize == "center_crop":
            crop_w = max(1, src_h * dst_w // dst_h) if wider else src_w
            crop_h = src_h if wider else max(1, src_w * dst_h // dst_w)
            crop = ((src_w - crop_w) // 2, (src_h - crop_h) // 2, crop_w, crop_h)
        elif resize != "stretch":
            resized_w = dst_w if wider else max(1, src_w * dst_h // src_h)
            resized_h = max(1, src_h * dst_w // src_w) if wider else dst_h
            resized = (resized_w, resized_h)
            if resize == "letterbox":
                pad = ((dst_w - resized_w) // 2, (dst_h - resized_h) // 2)
        return cls(src_wh=src_wh, dst_wh=dst_wh, crop_xywh=crop, resized_wh=resized, pad_xy=pad)

    @property
    def gain_xy(self) -> tuple[float, float]:
        """Network pixels a picture pixel, each axis as it really is after the rounding to whole pixels."""
        return self.resized_wh[0] / self.crop_xywh[2], self.resized_wh[1] / self.crop_xywh[3]

    @property
    def gain(self) -> float:
        """The gain of the side that is filled; both axes have it but for rounding (``stretch``: of x)."""
        gain_x, gain_y = self.gain_xy
        return gain_x if self.resized_wh[0] == self.dst_wh[0] else gain_y

    def to_net(self, xyxy: npt.ArrayLike) -> npt.NDArray[Any]:
        """Map boxes from pixels of the picture to pixels of the network input; nothing is clipped.

        Args:
            xyxy: Shape ``(..., 4)``, ``x0 y0 x1 y1``.

        Returns:
            The same shape; float32, or float64 where that came in.

        Raises:
            ValueError: The last axis is not 4.
        """
        values = _boxes(xyxy)
        gain, crop, pad = self._as_xyxy(values.dtype)
        mapped: npt.NDArray[Any] = (values - crop) * gain + pad
        return mapped

    def to_image(self, xyxy_net: npt.ArrayLike) -> npt.NDArray[Any]:
        """Map boxes from pixels of the network input to pixels of the picture, clipped to the picture.

        Args:
            xyxy_net: Shape ``(..., 4)``, ``x0 y0 x1 y1``.

        Returns:
            The same shape; float32, or float64 where that came in.

        Raises:
            ValueError: The last axis is not 4.
        """
        values = _boxes(xyxy_net)
        gain, crop, pad = self._as_xyxy(values.dtype)
        xyxy: npt.NDArray[Any] = (values - pad) / gain + crop
        np.clip(xyxy, 0, np.array([*self.src_wh, *self.src_wh], values.dtype), out=xyxy)
        return xyxy

    def _as_xyxy(self, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        crop_xy = self.crop_xywh[:2]
        return (
            np.array([*self.gain_xy, *self.gain_xy], dtype),
            np.array([*crop_xy, *crop_xy], dtype),
            np.array([*self.pad_xy, *self.pad_xy], dtype),
        )


def _boxes(value: npt.ArrayLike) -> npt.NDArray[Any]:
    boxes = np.asarray(value)
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes of shape (..., 4) expected, {boxes.shape} found")
    return boxes if boxes.dtype == np.float64 else boxes.astype(np.float32, copy=False)
