"""The simulated driver builds once, or says what is missing and leaves nothing half-made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import require_part
from tests.sim.cuda import build


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty place for the builds, with NVIDIA's headers as they were fetched before."""
    require_part("cudasim")
    headers, library = build.CACHE / "headers-cuda12.6", build.driver_library
    monkeypatch.setattr(build, "CACHE", tmp_path / "sim")
    build.CACHE.mkdir()
    (build.CACHE / headers.name).symlink_to(headers)
    library.cache_clear()
    yield build.CACHE
    library.cache_clear()


def _built(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir() and not path.is_symlink())


def test_without_gpp_it_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(build.MissingToolError, match=r"no g\+\+ on the PATH: apt-get install g\+\+"):
        build.driver_library()
    assert not _built(cache)


def test_without_pythons_headers_it_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "driver_library", lambda: cache / "libcuda.so.1")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(cache)})
    with pytest.raises(
        build.MissingToolError, match=r"no Python\.h for this Python: apt-get install python3-dev"
    ):
        build.build()
    assert not _built(cache)


def test_what_the_compiler_says_is_passed_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cache / "driver-source"
    source.mkdir()
    (source / "broken.cpp").write_text("#include <cuda.h>\nCUresult broken() { return CUDA_SUCCES; }\n")
    monkeypatch.setattr(build, "SOURCE", source)
    with pytest.raises(build.BuildError, match=r"(?s)ended with 1.*CUDA_SUCCES"):
        build.driver_library()
    assert _built(cache) == ["driver-source"]


def test_the_driver_is_built_once_for_each_source(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = cache / "driver-source"
    source.mkdir()
    (source / "small.cpp").write_text("int small() { return 1; }\n")
    monkeypatch.setattr(build, "SOURCE", source)
    first = build.driver_library()
    stamp = first.stat().st_mtime_ns
    build.driver_library.cache_clear()
    assert build.driver_library() == first
    assert first.stat().st_mtime_ns == stamp
    (source / "small.cpp").write_text("int small() { return 2; }\n")
    build.driver_library.cache_clear()
    assert build.driver_library() != first


def test_without_pycuda_the_part_is_missing(cache: Path) -> None:
    assert str(build.missing()).endswith("make sim")
