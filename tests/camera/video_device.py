"""A stand-in for the kernel's answers about a camera, written from linux/videodev2.h and not from our code.

What a driver answers is laid out by ctypes; ``ioctl`` is what `fcntl.ioctl` would be.
"""

from __future__ import annotations

import ctypes
import errno
from ctypes import c_char, c_uint32
from dataclasses import dataclass, field

__all__ = ["FakeDriver", "FrameIntervals", "FrameSizes"]


class Capability(ctypes.Structure):
    _fields_ = [
        ("driver", c_char * 16), ("card", c_char * 32), ("bus_info", c_char * 32), ("version", c_uint32),
        ("capabilities", c_uint32), ("device_caps", c_uint32), ("reserved", c_uint32 * 3),
    ]  # fmt: skip


class Format(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("type", c_uint32), ("flags", c_uint32), ("description", c_char * 32),
        ("pixelformat", c_uint32), ("mbus_code", c_uint32), ("reserved", c_uint32 * 3),
    ]  # fmt: skip


class FrameSizes(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("pixel_format", c_uint32), ("type", c_uint32), ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]  # fmt: skip


class FrameIntervals(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("pixel_format", c_uint32), ("width", c_uint32), ("height", c_uint32),
        ("type", c_uint32), ("numbers", c_uint32 * 6), ("reserved", c_uint32 * 2),
    ]  # fmt: skip


def fourcc(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


@dataclass
class FakeDriver:
    """A camera's driver.

    Args:
        formats: Pixel format to sizes to intervals, ``(numerator, denominator)`` seconds.
        steps: Pixel format to ``min_w, max_w, step_w, min_h, max_h, step_h``, for a driver that takes any
            size; its intervals are then a range too.
        caps: ``device_caps``.
    """

    formats: dict[str, dict[tuple[int, int], list[tuple[int, int]]]] = field(default_factory=dict)
    steps: dict[str, tuple[int, int, int, int, int, int]] = field(default_factory=dict)
    caps: int = 0x04200001  # capture, streaming, extended pixel formats
    card: bytes = b"HD Webcam: HD Webcam"

    def ioctl(self, _file: int, code: int, data: bytearray) -> int:
        structures = {0: Capability, 2: Format, 74: FrameSizes, 75: FrameIntervals}
        structure = structures[code & 0xFF].from_buffer(data)
        assert code >> 8 & 0xFF == ord("V")
        assert code >> 16 & 0x3FFF == ctypes.sizeof(structure) == len(data)
        assert code >> 30 == (2 if code & 0xFF == 0 else 3)
        {0: self._capability, 2: self._format, 74: self._size, 75: self._interval}[code & 0xFF](structure)
        return 0

    def _capability(self, answer: Capability) -> None:
        answer.card, answer.capabilities, answer.device_caps = self.card, 0x84A00001, self.caps

    def _format(self, answer: Format) -> None:
        if answer.type != 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        answer.pixelformat = fourcc(pick([*self.formats, *self.steps], answer.index))

    def _size(self, answer: FrameSizes) -> None:
        for name, numbers in self.steps.items():
            if fourcc(name) == answer.pixel_format:
                answer.type, answer.numbers[:] = 3, pick([numbers], answer.index)
                return
        sizes = next(sizes for name, sizes in self.formats.items() if fourcc(name) == answer.pixel_format)
        answer.type, answer.numbers[:2] = 1, pick([*sizes], answer.index)

    def _interval(self, answer: FrameIntervals) -> None:
        for name in self.steps:
            if fourcc(name) == answer.pixel_format:
                answer.type, answer.numbers[:] = 3, pick([(1, 60, 1, 5, 1, 60)], answer.index)
                return
        sizes = next(sizes for name, sizes in self.formats.items() if fourcc(name) == answer.pixel_format)
        answer.type, answer.numbers[:2] = 1, pick(sizes[answer.width, answer.height], answer.index)


def pick(answers: list, index: int):
    if index >= len(answers):
        raise OSError(errno.EINVAL, "Invalid argument")
    return answers[index]
