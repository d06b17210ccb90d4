"""Counters that outlive a run: a JSON file of every camera's zones and lines.

Owns the format: ``{"format": "edgeyolo.counts/1", "cameras": {"0": {"door": {"in": 4, "out": 3}}}}``. Written
whole or not at all, so that a power cut leaves the counters of a moment ago.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edgeyolo.errors import ConfigError
from edgeyolo.files import write_text

__all__ = ["read_counts", "write_counts"]

_FORMAT = "edgeyolo.counts/1"

CameraCounts = Mapping[str, Mapping[str, Mapping[str, int]]]


def read_counts(path: Path) -> CameraCounts:
    """Read the counters of an earlier run: camera to rule to word to count; nothing where there is no file.

    Raises:
        ConfigError: The file cannot be read, or is not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read the counters: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise _not_counts(path, "no JSON") from exc
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise _not_counts(path, "something else")
    cameras: CameraCounts = data.get("cameras", {})
    if not _is_table(cameras, 3):
        raise _not_counts(path, "another form")
    return cameras


def write_counts(path: Path, cameras: CameraCounts) -> None:
    """Write counters, whole.

    Raises:
        OutputError: The file cannot be written.
    """
    data = {"format": _FORMAT, "cameras": cameras}
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _is_table(value: object, levels: int) -> bool:
    if levels == 0:
        return type(value) is int and value >= 0
    return isinstance(value, dict) and all(_is_table(item, levels - 1) for item in value.values())


def _not_counts(path: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{path}: a file of counters ({_FORMAT}) expected, {found} found",
        hint="another --events-state, or remove it to count from 0",
    )
