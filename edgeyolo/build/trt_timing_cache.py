"""What TensorRT measured, kept between builds: a second build of the same layers takes seconds.

Owns the file: keyed by TensorRT's version and the GPU, locked, merged with what another build wrote
meanwhile. A cache that does not fit is left alone and said; a build never fails because of it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeyolo.errors import OutputError
from edgeyolo.files import write_bytes

if TYPE_CHECKING:
    import tensorrt

__all__ = ["TimingCacheFile"]


class TimingCacheFile:
    """The timing cache of one TensorRT on one GPU.

    Args:
        folder: Where it lies.
        version: TensorRT's.
        gpu: Name of the GPU.
        say: Is told what could not be used.

    Examples:
        >>> TimingCacheFile(Path("engines"), "10.3.0", "Orin (nvgpu)", print).path.as_posix()
        'engines/tensorrt-10.3.0-orin-nvgpu.timing'
    """

    def __init__(self, folder: Path, version: str, gpu: str, say: Callable[[str], None]) -> None:
        key = re.sub(r"[^a-z0-9.]+", "-", f"{version}-{gpu}".lower()).strip("-")
        self.path = folder / f"tensorrt-{key}.timing"
        self._say = say
        self._attached: tensorrt.ITimingCache | None = None  # the configuration does not keep it alive

    def attach(self, config: tensorrt.IBuilderConfig) -> None:
        """Give the builder configuration what was measured before."""
        with self._locked():
            data = self.path.read_bytes() if self.path.is_file() else b""
        cache = config.create_timing_cache(data)
        if cache is None and data:
            self._say(f"timing cache {self.path} does not fit this TensorRT; starting a new one")
            cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            self._say(f"timing cache {self.path} is not taken; building without it")
        self._attached = cache

    def keep(self, config: tensorrt.IBuilderConfig) -> None:
        """Write what was measured, together with what another build wrote meanwhile."""
        cache = config.get_timing_cache()
        if cache is None:
            return
        try:
            with self._locked():
                data = self.path.read_bytes() if self.path.is_file() else b""
                other = config.create_timing_cache(data) if data else None
                if other is not None and not cache.combine(other, False):
                    self._say(f"timing cache {self.path} cannot be merged; it is replaced")
                memory = cache.serialize()
                if memory is not None:
                    write_bytes(self.path, bytes(memory))
        except (OSError, OutputError) as exc:
            self._say(f"timing cache {self.path} is not kept: {exc}")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file; a system without locks goes without."""
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".timing.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
