"""Sizes and times as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.errors import ConfigError
from edgeyolo.pipeline.quantities import bytes_from_text, seconds_from_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("1500", 1500), ("2k", 2000), ("2kB", 2000), ("2KiB", 2048), ("100M", 10**8),
        ("20G", 2 * 10**10), ("1.5 GiB", 3 << 29), ("3T", 3 * 10**12), (" 7m ", 7 * 10**6),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert bytes_from_text(text, option="--max-size") == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("30s", 30), ("10m", 600), ("10min", 600), ("1.5h", 5400), ("1d", 86400)],
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_from_text(text, option="--segment") == seconds


@given(st.text() | st.from_regex(r"\d+(\.\d+)?[kKmMgGTihsd]*", fullmatch=True))
def test_anything_is_read_or_refused(text: str) -> None:
    for read in (bytes_from_text, seconds_from_text):
        with suppress(ConfigError):
            assert 0 < read(text, option="--x") <= 1e18


@pytest.mark.parametrize("text", ["", "0", "-5m", "m", "1e3", "10x", "5 5", "inf", "nan", "1,5h", "9" * 400])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        seconds_from_text(text, option="--segment")
    with pytest.raises(ConfigError, match="expected"):
        bytes_from_text(text, option="--max-size")


def test_less_than_a_byte_is_no_size() -> None:
    with pytest.raises(ConfigError, match=r"'0\.5' found"):
        bytes_from_text("0.5", option="--max-size")
