"""Real caches come out as they went in; broken ones are explained by line."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.calibrate.trt_cache import (
    TrtCache,
    cache_from_amax,
    is_trt_cache,
    match,
    read_trt_cache,
    trt_cache_from_bytes,
    version_number,
)
from edgeyolo.errors import CalibrationError, ConfigError

HEADER = b"TRT-8601-EntropyCalibration2\n"


def real(shared_data: Path) -> list[Path]:
    paths = sorted((shared_data / "trt_cache").iterdir())
    assert len(paths) == 4
    return paths


def test_every_real_cache_comes_out_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    for path in real(shared_data):
        assert is_trt_cache(path.read_bytes())
        cache = read_trt_cache(path)
        cache.write(tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == path.read_bytes()
        again = cache_from_amax(cache.amax, version=cache.version, algorithm="EntropyCalibration2")
        assert again.to_bytes() == path.read_bytes()  # through amax in float64 and back


def test_real_values(shared_data: Path) -> None:
    folder = shared_data / "trt_cache"
    tiny = read_trt_cache(folder / "jkjung_calib_yolov3-tiny-int8-416.bin")
    assert (tiny.version, tiny.release, tiny.algorithm) == (7103, "7.1.3", "EntropyCalibration2")
    # An input of 0..1: the threshold is the middle of the last of 2048 bins.
    assert tiny.amax["000_net"] == pytest.approx(2048.5 / 2048, rel=1e-6)
    assert tiny.scales["002_maxpool"] == tiny.scales["001_convolutional_lrelu"]
    assert tiny.entries[-1] == ("(Unnamed Layer* 44) [PluginV2IOExt]_output_0", "3ee1f1e4")
    assert read_trt_cache(folder / "chicken_yolov11_calibration.cache").release == "10.3.0"
    assert read_trt_cache(folder / "nvidia_cudla_qat2ptq.cache").version == 8600


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).filter(
            lambda s: s == s.strip()
        ),
        st.floats(0, 2.0**99, width=32),
    )
)
def test_what_is_written_is_read(amax: dict[str, float]) -> None:
    cache = cache_from_amax(amax, version=100300)
    found = trt_cache_from_bytes(cache.to_bytes(), name="x")
    assert found == cache
    for name, value in amax.items():
        assert found.scales[name] == float(np.float32(value / 127))


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_header_are_read_or_refused_by_line(data: bytes) -> None:
    try:
        cache = trt_cache_from_bytes(HEADER + data, name="x")
    except CalibrationError as error:
        assert error.message.startswith("x:")  # noqa: PT017 - both ways out are right
    else:
        assert all(math.isfinite(scale) for scale in cache.scales.values())


@given(st.binary(max_size=100))
def test_any_bytes_alone_are_read_or_refused(data: bytes) -> None:
    try:
        trt_cache_from_bytes(data, name="x")
    except CalibrationError as error:
        assert error.message.startswith("x:")  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x:1: 'TRT-<version>-<algorithm>' expected, '' found"),
        (b"{}", "x:1: 'TRT-"),
        (HEADER + b"images 3c010a14\n", "x:2: '<tensor>: <1 to 8 hexadecimal digits>' expected"),
        (HEADER + b"a: 3c010a14\n\nb: 3c010a1g\n", "x:4: "),
        (HEADER + b"a: 3c010a145\n", "x:2: "),
        (HEADER + b": 3c010a14\n", "x:2: "),
        (HEADER + b"a: 7f800000\n", "x:2: tensor 'a': a scale of 0 or more expected, 7f800000 is inf"),
        (HEADER + b"a: 7fc00000\n", "x:2: tensor 'a': .* is nan"),
        (HEADER + b"a: bc010a14\n", "x:2: tensor 'a': .* is -0"),
        (
            HEADER + b"a: 3c010a14\nb: 0\na: 3c010a15\n",
            "x:4: tensor 'a' has scale 3c010a15, and 3c010a14 in line 2",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        trt_cache_from_bytes(data, name="x")


def test_zero_short_digits_and_windows_line_ends_are_taken() -> None:
    cache = trt_cache_from_bytes(HEADER.replace(b"\n", b"\r\n") + b"a: b: 0\r\nc:3C010A14 \r\n", name="x")
    assert cache.scales == {"a: b": 0.0, "c": struct.unpack(">f", bytes.fromhex("3c010a14"))[0]}


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan, 1e300])
def test_a_scale_that_is_none_is_not_written(value: float) -> None:
    with pytest.raises(CalibrationError, match="tensor 'a'"):
        cache_from_amax({"a": value})


@pytest.mark.parametrize("name", ["", "a\nb", " a", "a\r"])
def test_a_name_that_would_break_the_file_is_not_written(name: str) -> None:
    with pytest.raises(CalibrationError, match="cannot be a line"):
        cache_from_amax({name: 1.0})


def test_names_that_do_not_match_are_listed(shared_data: Path) -> None:
    cache = read_trt_cache(shared_data / "trt_cache" / "jkjung_calib_yolov3-tiny-int8-416.bin")
    found = match(cache, ["000_net", "mine", "002_maxpool"])
    assert list(found.amax) == ["000_net", "002_maxpool"]
    assert found.missing == ("mine",)
    assert len(found.unknown) == 44


def test_versions() -> None:
    assert [version_number(text) for text in ("8.5.2", "8.6.1.6", "10.3.0", "10.13.3.9", "8601")] == [
        8502,
        8601,
        100300,
        101303,
        8601,
    ]
    for text in ("", "eight", "8", "-8.6", "123456789"):
        with pytest.raises(ConfigError, match=r"8\.6\.1"):
            version_number(text)
    with pytest.raises(ConfigError, match="reads no calibration cache"):
        version_number("11.4.0")
    assert TrtCache(version_number("10.14.1"), "", ()).release == "10.14.1"


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_trt_cache(tmp_path / "none")
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_trt_cache(tmp_path)
    assert not is_trt_cache(b"\x08\x07onnx")
