"""What other exporters write into an ONNX file's metadata.

Owns the reading of it. The one key that many tools share is ``names``: a Python or JSON mapping of class id
to name, or a list. Ultralytics adds ``imgsz``.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from edgeyolo.class_names import ClassNames

__all__ = ["metadata_names", "metadata_size"]


def metadata_names(metadata: Mapping[str, str]) -> ClassNames | None:
    """Read class names; None where there are none, or what is there is no list of names.

    Examples:
        >>> metadata_names({"names": "{0: 'car', 1: 'bus'}"})
        ClassNames(names=('car', 'bus'), origin="names: 2 from the metadata key 'names'")
        >>> metadata_names({"names": "7"}) is None
        True
    """
    names = _listed(_value(metadata.get("names")))
    return ClassNames(names, f"names: {len(names)} from the metadata key 'names'") if names else None


def metadata_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Read width and height of the network input as Ultralytics writes them, height first.

    Examples:
        >>> metadata_size({"imgsz": "[384, 640]"}), metadata_size({"imgsz": "640"}), metadata_size({})
        ((640, 384), (640, 640), None)
    """
    value = _value(metadata.get("imgsz"))
    sides = value if isinstance(value, (list, tuple)) else [value, value]
    whole = [side for side in sides if isinstance(side, int) and side > 0]
    return (whole[1], whole[0]) if len(whole) == len(sides) == 2 else None


def _value(text: str | None) -> object:
    """Read a JSON or Python literal; None where it is neither."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text or "")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _listed(value: object) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        by_id = {int(key): str(name) for key, name in value.items() if str(key).isdecimal()}
        whole = len(by_id) == len(value) and sorted(by_id) == list(range(len(by_id)))
        return tuple(by_id[index] for index in range(len(by_id))) if whole else ()
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    return ()
