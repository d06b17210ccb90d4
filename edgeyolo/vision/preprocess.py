"""Pixels to tensor: the one implementation, for calibration, evaluation and run alike.

Owns the resampling, the channel order and the arithmetic that `edgeyolo.spec.Preprocess` describes. Refuses
to read files (`edgeyolo.vision.images`) and to own the tensor: a caller may hand in pinned memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeyolo.optional import require
from edgeyolo.vision.letterbox import Letterbox

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeyolo.spec import Preprocess

__all__ = ["Preprocessor"]


class Preprocessor:
    """Writes pictures into input tensors.

    It keeps scratch memory of the size of the network input, so nothing of that size is allocated a frame,
    and for the same reason serves one thread at a time. The whole tensor is written at each call, padding
    too: it takes a tenth of the time, and the tensor need not be the one of the last call or untouched since.

    Args:
        preprocess: What the model wants.
        input_wh: Width and height of the network input, pixels.

    Raises:
        MissingDependencyError: OpenCV is absent.

    Examples:
        >>> from edgeyolo.spec import Preprocess
        >>> prepare = Preprocessor(Preprocess(), (64, 64))
        >>> tensor = np.empty(prepare.shape, np.float32)
        >>> prepare(np.full((36, 64, 3), 255, np.uint8), tensor).pad_xy
        (0, 14)
        >>> tensor[0, [13, 14], 0].tolist()
        [0.5, 1.0]
    """

    def __init__(self, preprocess: Preprocess, input_wh: tuple[int, int]) -> None:
        self._cv2 = require("cv2", why="to scale pictures")
        self._resize = preprocess.resize
        self._input_wh = input_wh
        self._channels = preprocess.channels
        mean, std = (np.asarray(v, np.float64) for v in (preprocess.mean, preprocess.std))
        # (pixel * scale - mean) / std, as one multiplication and one addition.
        self._factor = (preprocess.scale / std).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)
        self._pad = ((preprocess.pad_value * preprocess.scale - mean) / std).astype(np.float32)
        self._pixels = np.empty(input_wh[0] * input_wh[1] * 4, np.uint8)
        self._planes = np.empty(input_wh[0] * input_wh[1] * 4, np.uint8)
        self._letterbox: Letterbox | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the tensor."""
        return len(self._factor), self._input_wh[1], self._input_wh[0]

    def __call__(self, image_bgr: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> Letterbox:
        """Write one picture into one tensor.

        Args:
            image_bgr: uint8, ``(H, W, 3)`` BGR, ``(H, W, 4)`` BGRA (alpha is ignored), or ``(H, W)`` or
                ``(H, W, 1)`` grey. Any strides.
            out: `shape`, float32, C-contiguous. Every value is written.

        Returns:
            Where the picture lies in the tensor; `Letterbox.to_image` leads back.

        Raises:
            ValueError: A shape or a type is not one of these.
        """
        if out.shape != self.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(
                f"a C-contiguous float32 tensor of {self.shape} expected, {out.dtype} {out.shape} found"
            )
        image = _checked(image_bgr)
        letterbox = self._fit((image.shape[1], image.shape[0]))
        pixels = self._scaled(image, letterbox)
        (x0, y0), (w, h) = letterbox.pad_xy, letterbox.resized_wh
        self._fill_padding(out, x0, y0, w, h)
        planes = self._split(pixels)
        for channel, tensor in enumerate(out[:, y0 : y0 + h, x0 : x0 + w]):
            # One plane, of a grey picture, goes into every channel. A multiplication into `out` would convert
            # through NumPy's small buffer: a plain copy and one in place are faster.
            np.copyto(tensor, planes[channel % len(planes)])
            tensor *= self._factor[channel]
            if self._offset[channel]:
                tensor += self._offset[channel]
        return letterbox

    def _fit(self, src_wh: tuple[int, int]) -> Letterbox:
        # A stream's pictures have one size: the geometry of the last one is nearly always right.
        if self._letterbox is None or self._letterbox.src_wh != src_wh:
            self._letterbox = Letterbox.fit(src_wh, self._input_wh, self._resize)
        return self._letterbox

    def _scaled(self, image: npt.NDArray[np.uint8], letterbox: Letterbox) -> npt.NDArray[np.uint8]:
        x, y, w, h = letterbox.crop_xywh
        part = image[y : y + h, x : x + w]
        if (w, h) == letterbox.resized_wh:
            return part
        dst_w, dst_h = letterbox.resized_wh
        shape = (dst_h, dst_w, *image.shape[2:])
        dst = self._pixels[: math.prod(shape)].reshape(shape)
        self._cv2.resize(part, (dst_w, dst_h), dst=dst, interpolation=self._cv2.INTER_LINEAR)
        return dst

    def _split(self, pixels: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.uint8]]:
        """Give the planes in the order of the tensor: one of a grey picture, else as many as it has."""
        if pixels.ndim == 2:
            return [pixels]
        h, w, count = pixels.shape
        planes = self._planes[: count * h * w].reshape(count, h, w)
        if self._channels == "gray":
            code = self._cv2.COLOR_BGR2GRAY if count == 3 else self._cv2.COLOR_BGRA2GRAY
            self._cv2.cvtColor(pixels, code, dst=planes[0])
            return [planes[0]]
        # Ten times as fast as OpenCV 5's extractChannel; it fills the planes that it is given.
        split: Sequence[npt.NDArray[np.uint8]] = self._cv2.split(pixels, list(planes))
        return split[2::-1] if self._channels == "rgb" else split[:3]

    def _fill_padding(self, out: npt.NDArray[np.float32], x0: int, y0: int, w: int, h: int) -> None:
        for plane, value in zip(out, self._pad, strict=True):
            plane[:y0] = value
            plane[y0 + h :] = value
            plane[y0 : y0 + h, :x0] = value
            plane[y0 : y0 + h, x0 + w :] = value


def _checked(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Refuse what is no picture; drop the last axis of a grey one."""
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"a uint8 picture of (H, W, 3) expected, {type(image).__name__} found"
            + (" (cv2.imread gives None for a file that it cannot read)" if image is None else "")
        )
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"a uint8 picture of (H, W, 3) expected, {image.dtype} {image.shape} found")
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise ValueError(f"a picture of 1, 3 or 4 channels expected, {image.shape[2]} found")
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
