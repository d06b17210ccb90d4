"""What a camera behind Video4Linux can do, asked of the kernel itself.

Owns the four questions (ioctls) and their structures: nothing but Python is needed, so that ``edgeyolo
doctor`` lists cameras on a machine that has neither v4l2-ctl nor GStreamer. Refuses to capture.

Source: linux/videodev2.h (``v4l2_capability``, ``v4l2_fmtdesc``, ``v4l2_frmsizeenum``, ``v4l2_frmivalenum``)
and asm-generic/ioctl.h. Their numbers are equal on x86-64 and aarch64.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from edgeyolo.errors import SourceOpenError

__all__ = ["Mode", "VideoDevice", "read_device"]

Ioctl = Callable[[int, int, bytearray], int]

_CAPTURE = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE
_BUFFER_TYPES = (1, 9)  # V4L2_BUF_TYPE_VIDEO_CAPTURE, ..._MPLANE
_DISCRETE = 1
_MOST_ANSWERS = 256  # a driver that never says EINVAL must not hang us

# What is offered of a camera that has any size within limits.
_COMMON_SIZES = ((640, 480), (800, 600), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
_COMMON_RATES = (5, 10, 15, 20, 25, 30, 50, 60, 120)


@dataclass(frozen=True)
class _Question:
    """An ioctl: its direction (2 reads, 3 reads and writes), number, and the fields of its structure."""

    direction: int
    number: int
    layout: str

    @property
    def code(self) -> int:
        return self.direction << 30 | struct.calcsize(self.layout) << 16 | ord("V") << 8 | self.number


CAPABILITIES = _Question(2, 0, "=16s32s32s6I")
FORMATS = _Question(3, 2, "=3I32s5I")
SIZES = _Question(3, 74, "=11I")
INTERVALS = _Question(3, 75, "=13I")


@dataclass(frozen=True, order=True)
class Mode:
    """One way in which a camera gives pictures.

    Args:
        fourcc: Pixel format, such as ``"MJPG"``.
        size_wh: Pixels.
        fps: Frames a second.
    """

    fourcc: str
    size_wh: tuple[int, int]
    fps: Fraction

    def __str__(self) -> str:
        """Give it in words, such as ``MJPG 1280x720 at 30``."""
        return f"{self.fourcc} {self.size_wh[0]}x{self.size_wh[1]} at {float(self.fps):g}"


@dataclass(frozen=True)
class VideoDevice:
    """A device that gives pictures.

    Args:
        path: Such as ``/dev/video0``.
        card: What the driver calls it.
        modes: Everything that it offers, or an offer of common ones where it takes any.
    """

    path: str
    card: str
    modes: tuple[Mode, ...]

    def formats(self) -> Iterator[str]:
        """Tell the modes in one line a format and rate limit."""
        for fourcc in dict.fromkeys(mode.fourcc for mode in self.modes):
            fastest: dict[tuple[int, int], Fraction] = {}
            for mode in self.modes:
                if mode.fourcc == fourcc:
                    fastest[mode.size_wh] = max(mode.fps, fastest.get(mode.size_wh, Fraction(0)))
            sizes = (f"{w}x{h}@{float(fps):g}" for (w, h), fps in fastest.items())
            yield f"{fourcc}: {', '.join(sizes)}"


def read_device(path: str | Path, *, ioctl: Ioctl = fcntl.ioctl) -> VideoDevice | None:
    """Ask a device what it can do.

    Args:
        path: The device.
        ioctl: As ``fcntl.ioctl``.

    Returns:
        Its modes; None for one that gives no pictures, such as the metadata node beside a USB camera.

    Raises:
        SourceOpenError: It cannot be opened, or is no video device.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        hint = "sudo usermod -aG video $USER, then log in again" if exc.errno == errno.EACCES else None
        raise SourceOpenError(f"{path}: cannot be opened: {exc.strerror}", hint=hint) from exc
    try:
        _, card, _, _, everything, of_this, *_ = _ask(ioctl, file, CAPABILITIES)
        if not (of_this or everything) & _CAPTURE:
            return None
        modes = tuple(dict.fromkeys(_modes(ioctl, file)))
        return VideoDevice(str(path), card.split(b"\0")[0].decode("utf-8", "replace"), modes)
    except OSError as exc:
        raise SourceOpenError(f"{path}: no video device: {exc.strerror}") from exc
    finally:
        os.close(file)


def _modes(ioctl: Ioctl, file: int) -> Iterator[Mode]:
    for buffer_type in _BUFFER_TYPES:
        for _, _, _, _, pixel_format, *_ in _answers(ioctl, file, FORMATS, buffer_type):
            fourcc = struct.pack("=I", pixel_format & 0x7FFFFFFF).decode("latin-1").strip()
            for size in _sizes(ioctl, file, pixel_format):
                for fps in _rates(ioctl, file, pixel_format, size):
                    yield Mode(fourcc, size, fps)


def _sizes(ioctl: Ioctl, file: int, pixel_format: int) -> Iterator[tuple[int, int]]:
    for _, _, kind, *numbers in _answers(ioctl, file, SIZES, pixel_format):
        if kind == _DISCRETE:
            yield numbers[0], numbers[1]
            continue
        least_w, most_w, step_w, least_h, most_h, step_h = numbers[:6]
        for width, height in dict.fromkeys((*_COMMON_SIZES, (most_w, most_h))):
            fits = least_w <= width <= most_w and least_h <= height <= most_h
            if fits and not (width - least_w) % max(step_w, 1) and not (height - least_h) % max(step_h, 1):
                yield width, height
        return  # a stepwise answer is the only one


def _rates(ioctl: Ioctl, file: int, pixel_format: int, size: tuple[int, int]) -> Iterator[Fraction]:
    for *_, kind, a, b, c, d, _, _, _, _ in _answers(ioctl, file, INTERVALS, pixel_format, *size):
        if kind == _DISCRETE:
            yield Fraction(b, a or 1)
            continue
        fastest, slowest = Fraction(b, a or 1), Fraction(d, c or 1)
        yield from (Fraction(rate) for rate in _COMMON_RATES if slowest <= rate <= fastest)
        return


def _answers(ioctl: Ioctl, file: int, question: _Question, *what: int) -> Iterator[tuple[int, ...]]:
    """Count an index up until the driver says that there are no more."""
    for index in range(_MOST_ANSWERS):
        try:
            yield _ask(ioctl, file, question, index, *what)
        except OSError:  # EINVAL is the end; ENOTTY of a driver that does not know the question
            return


def _ask(ioctl: Ioctl, file: int, question: _Question, *first: int) -> tuple[Any, ...]:
    data = bytearray(struct.calcsize(question.layout))
    struct.pack_into(f"={len(first)}I", data, 0, *first)
    ioctl(file, question.code, data)
    return struct.unpack(question.layout, data)
