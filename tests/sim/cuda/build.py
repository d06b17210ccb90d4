"""Build the simulated driver and the real pycuda on it: ``python -m tests.sim.cuda.build``, or ``make sim``.

Needs g++, Python's headers and PyPI, no CUDA toolkit: NVIDIA's wheels bring ``cuda.h``. The results lie in
``.sim/``: pycuda once for each Python (a minute), the driver again when its source changes (ten seconds).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.parts import PROJECT

__all__ = ["BuildError", "MissingToolError", "build", "driver_library", "missing", "pycuda_folder"]

SOURCE = Path(__file__).resolve().parent / "driver"
CACHE = PROJECT / ".sim"

PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime-cu12==12.6.77", "nvidia-cuda-profiler-api-cu12==12.6.77")  # JetPack 6's CUDA
GCC_FLAGS = (
    "-std=c++17",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
)

# Read by pycuda's setup.py from the home folder. cuRAND has no part in this, and its wheel is large.
PYCUDA_SETTINGS = """\
CUDA_ROOT = None
CUDA_INC_DIR = {include!r}
CUDADRV_LIB_DIR = {library!r}
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-O0", "-g0", "-w"]
"""


class BuildError(RuntimeError):
    """The driver or pycuda does not build; the message ends with what the tools said."""


class MissingToolError(BuildError):
    """This machine lacks what a build needs; the message names the package."""


def missing() -> str | None:
    """Say why the simulated driver cannot be used, None where it can.

    A driver that is older than its source is built again; pycuda takes a minute, so it waits to be asked for.

    Raises:
        BuildError: The driver's source does not compile, which is no reason to skip a test.
    """
    if not pycuda_folder().is_dir():
        return f"pycuda is not built on the simulated driver for {sys.implementation.cache_tag}: make sim"
    try:
        driver_library()
    except MissingToolError as exc:
        return str(exc)
    return None


def build() -> None:
    """Build whatever is not there yet.

    Raises:
        BuildError: g++ or Python's headers are missing, PyPI is out of reach, or a build failed.
    """
    driver_library()
    with _once(pycuda_folder()) as new:
        if new is not None:
            _build_pycuda(new)


def pycuda_folder() -> Path:
    """Give the folder that holds pycuda for this Python; it goes on ``sys.path``."""
    version = PYCUDA.partition("==")[2]
    return CACHE / f"pycuda-{version}-cuda12.6-{sys.implementation.cache_tag}"


@functools.cache
def driver_library() -> Path:
    """Give ``libcuda.so.1``, built from the present source."""
    with _once(CACHE / f"driver-{_source_digest()}") as new:
        if new is not None:
            _build_driver(new)
    return CACHE / f"driver-{_source_digest()}" / "libcuda.so.1"


# ---- the two builds ----------------------------------------------------------------------------------------


def _build_driver(folder: Path) -> None:
    if shutil.which("g++") is None:
        raise MissingToolError("no g++ on the PATH: apt-get install g++")
    library = folder / "libcuda.so.1"
    _run([
        "g++", *GCC_FLAGS, *(f"-I{path}" for path in _include()), *map(str, sorted(SOURCE.glob("*.cpp"))),
        "-Wl,-soname,libcuda.so.1", "-ldl", "-pthread", "-o", str(library),
    ])  # fmt: skip
    (folder / "libcuda.so").symlink_to(library.name)


def _build_pycuda(folder: Path) -> None:
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        raise MissingToolError("no Python.h for this Python: apt-get install python3-dev")
    with tempfile.TemporaryDirectory() as home:
        settings = PYCUDA_SETTINGS.format(
            include=[str(path) for path in _include()], library=[str(driver_library().parent)]
        )
        Path(home, ".aksetup-defaults.py").write_text(settings, encoding="utf-8")
        # pip's own settings stay the user's; a pycuda in its cache may be linked to another CUDA.
        config = os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config"))
        _pip(folder, "--no-cache-dir", "--no-binary", "pycuda", PYCUDA, HOME=home, XDG_CONFIG_HOME=config)


def _include() -> list[Path]:
    folder = CACHE / "headers-cuda12.6"
    with _once(folder) as new:
        if new is not None:
            _pip(new, *HEADERS)
    return [folder / "nvidia" / part / "include" for part in ("cuda_runtime", "cuda_profiler_api")]


def _pip(target: Path, *arguments: str, **environment: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--target", str(target), *arguments], **environment)


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise BuildError(f"{command[0]} ... ended with {done.returncode}:\n{said}")


def _source_digest() -> str:
    digest = hashlib.sha256(" ".join((*GCC_FLAGS, *HEADERS)).encode())
    for path in sorted([*SOURCE.glob("*.cpp"), *SOURCE.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _once(folder: Path) -> Iterator[Path | None]:
    """Give a temporary folder that becomes `folder` on success, or None where `folder` is there already."""
    if folder.is_dir():
        yield None
        return
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f".{folder.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # another process built it meanwhile
            yield None
            return
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{folder.name}.") as temporary:
            new = Path(temporary, "new")
            new.mkdir()
            yield new
            new.rename(folder)


def _main() -> int:
    try:
        build()
    except BuildError as exc:
        print(f"sim: {exc}\nsim: tests that need the simulated CUDA driver will be skipped", file=sys.stderr)
        return 1
    print(f"sim: ready in {CACHE.relative_to(PROJECT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
