"""Sizes and times as people write them: ``20G``, ``10m``.

Owns the words of the command line for them. Knows no option.
"""

from __future__ import annotations

import re

from edgeyolo.errors import ConfigError

__all__ = ["bytes_from_text", "seconds_from_text"]

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
# As disks are sold, and as their free space is told: powers of 1000; KiB and so on are those of 1024.
_BYTES = {
    **{unit: 1000**power for power, unit in enumerate(("", "k", "m", "g", "t"))},
    **{f"{unit}b": 1000**power for power, unit in enumerate(("", "k", "m", "g", "t"))},
    **{f"{unit}ib": 1024**power for power, unit in enumerate(("k", "m", "g", "t"), start=1)},
}
_MOST = 1e18
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def bytes_from_text(text: str, *, option: str) -> int:
    """Read a size.

    Args:
        text: ``20G``, ``500MB``, ``1.5GiB``, or bytes.
        option: The option, for its error.

    Raises:
        ConfigError: It is none, or not a sensible one.

    Examples:
        >>> bytes_from_text("20G", option="--max-size"), bytes_from_text("1.5 KiB", option="--max-size")
        (20000000000, 1536)
    """
    return int(_read(text, _BYTES, 1, f"{option}: a size such as 500M or 20G expected"))


def seconds_from_text(text: str, *, option: str) -> float:
    """Read a time.

    Args:
        text: ``90``, ``90s``, ``10m``, ``1.5h``, ``1d``.
        option: The option, for its error.

    Raises:
        ConfigError: It is none, or not a sensible one.

    Examples:
        >>> seconds_from_text("10m", option="--segment"), seconds_from_text("0.5", option="--segment")
        (600.0, 0.5)
    """
    return _read(text, _SECONDS, 0.001, f"{option}: a time such as 30s, 10m or 1h expected")


def _read(text: str, units: dict[str, int], least: float, expected: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    factor = units.get(match[2].lower()) if match else None
    value = float(match[1]) * factor if match and factor is not None else 0.0
    if not least <= value <= _MOST:
        raise ConfigError(f"{expected}, {text!r} found")
    return value
