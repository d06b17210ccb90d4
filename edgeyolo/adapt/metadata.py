"""What other exporters write into an ONNX file's metadata.

Owns the reading of it. The one key that many tools share is ``names``: a Python or JSON mapping of class id
to name, or a list.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from edgeyolo.class_names import ClassNames

__all__ = ["metadata_names"]


def metadata_names(metadata: Mapping[str, str]) -> ClassNames | None:
    """Read class names; None where there are none, or what is there is no list of names.

    Examples:
        >>> metadata_names({"names": "{0: 'car', 1: 'bus'}"})
        ClassNames(names=('car', 'bus'), origin="names: 2 from the metadata key 'names'")
        >>> metadata_names({"names": "7"}) is None
        True
    """
    text = metadata.get("names")
    if text is None:
        return None
    value: object = None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    names = _listed(value)
    return ClassNames(names, f"names: {len(names)} from the metadata key 'names'") if names else None


def _listed(value: object) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        by_id = {int(key): str(name) for key, name in value.items() if str(key).isdecimal()}
        whole = len(by_id) == len(value) and sorted(by_id) == list(range(len(by_id)))
        return tuple(by_id[index] for index in range(len(by_id))) if whole else ()
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    return ()
