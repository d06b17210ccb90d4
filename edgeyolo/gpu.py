"""Which GPU is here: asked of the CUDA driver itself, so that the answer needs no package.

Owns the question and its answer in words. Refuses to make a context, to allocate and to run anything
(`edgeyolo.runtime.cuda` does).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

__all__ = ["Gpu", "find_gpu"]

_LIBRARY = "libcuda.so.1"
# Source: cuda.h, enum CUdevice_attribute.
_MULTIPROCESSORS, _INTEGRATED, _SM_MAJOR, _SM_MINOR = 16, 18, 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first CUDA device.

    Args:
        name: As the driver calls it.
        sm: Compute capability.
        memory_mib: Its memory; on an integrated GPU that of the whole board.
        integrated: Processor and GPU share the memory.
        cuda: Highest CUDA version that the driver serves.
        multiprocessors: How many it has; all Orin modules have one name and one SM, and not that.
    """

    name: str
    sm: tuple[int, int]
    memory_mib: int
    integrated: bool
    cuda: tuple[int, int]
    multiprocessors: int

    def facts(self) -> dict[str, str]:
        """Give what a sidecar keeps.

        Examples:
            >>> gpu = Gpu(name="Orin", sm=(8, 7), memory_mib=7620, integrated=True, cuda=(12, 6),
            ...           multiprocessors=8)
            >>> gpu.facts()["sm"], gpu.facts()["multiprocessors"]
            ('8.7', '8')
        """
        return {
            "gpu": self.name,
            "sm": f"{self.sm[0]}.{self.sm[1]}",
            "multiprocessors": str(self.multiprocessors),
            "gpu_memory_mib": str(self.memory_mib),
        }


def find_gpu(library: str = _LIBRARY) -> tuple[Gpu | None, str]:
    """Ask the driver for its first device.

    Args:
        library: Name or path of the driver's library.

    Returns:
        The device, or None; and a clause that says what was found.

    Examples:
        >>> find_gpu("libno_such_driver.so.1")
        (None, 'no CUDA driver (libno_such_driver.so.1) is installed')
    """
    try:
        driver = ctypes.CDLL(library)
        return _first_device(driver)
    except OSError:
        return None, f"no CUDA driver ({library}) is installed"
    except AttributeError as exc:
        return None, f"the CUDA driver {library} lacks a function: {exc}"
    except _DriverError as exc:
        return None, str(exc)


class _DriverError(Exception):
    """A driver call that failed."""


def _first_device(driver: ctypes.CDLL) -> tuple[Gpu | None, str]:
    _call(driver, "cuInit", 0)
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value == 0:
        return None, "the CUDA driver is installed and finds no device"
    device = ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, device)
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    version = ctypes.c_int()
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    gpu = Gpu(
        name=name.value.decode(errors="replace"),
        sm=(_attribute(driver, _SM_MAJOR, device), _attribute(driver, _SM_MINOR, device)),
        memory_mib=memory.value >> 20,
        integrated=bool(_attribute(driver, _INTEGRATED, device)),
        cuda=(version.value // 1000, version.value % 1000 // 10),
        multiprocessors=_attribute(driver, _MULTIPROCESSORS, device),
    )
    return gpu, f"{gpu.name} (SM {gpu.sm[0]}.{gpu.sm[1]}, {gpu.memory_mib} MiB) answers"


def _attribute(driver: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), which, device)
    return value.value


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(driver, function)(*arguments)
    if code == 0:
        return
    text = ctypes.c_char_p()
    known = driver.cuGetErrorName(code, ctypes.byref(text)) == 0 and text.value
    reason = text.value.decode() if known and text.value else f"error {code}"
    raise _DriverError(f"the CUDA driver is installed and does not answer: {function} gives {reason}")
