"""What a file of events' rules is: facts and lines for ``edgeyolo inspect``.

Owns the facts of this kind. Refuses to know the run that it is for: whether its cameras and classes exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeyolo.errors import ModelError
from edgeyolo.rules import Line, Zone, read_rules
from edgeyolo.sections import read_toml

__all__ = ["facts_of_rules", "lines_of_rules"]


def facts_of_rules(path: Path) -> dict[str, Any]:
    """Tell the zones and lines of a file.

    Raises:
        ConfigError: It is no TOML, or its rules are wrong.
        ModelError: It is a recipe.
    """
    if "model" in read_toml(path, why="to tell what it is", hint="give a file"):
        raise ModelError(f"{path}: rules of events expected, a recipe found", hint=f"edgeyolo make {path}")
    rules = read_rules(path)
    return {
        "kind": "rules",
        "name": str(path),
        "what": "rules of events, for run --events",
        "zones": [dataclasses.asdict(zone) for zone in rules.zones],
        "lines": [dataclasses.asdict(line) for line in rules.lines],
        "track": dataclasses.asdict(rules.track),
    }


def lines_of_rules(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lay them out: a line each zone and line, with what is not the default."""
    for zone in facts["zones"]:
        yield f"zone         {zone['name']}: {len(zone['points'])} corners{_told(zone, Zone, ('points',))}"
    for line in facts["lines"]:
        a, b = (f"[{x:g}, {y:g}]" for x, y in (line["a"], line["b"]))
        ways = f"{line['left_to_right']!r} from left to right, {line['right_to_left']!r} back"
        yield f"line         {line['name']}: {a} to {b}, {ways}{_told(line, Line, _SAID_OF_LINE)}"
    track = facts["track"]
    yield f"objects      found in {track['frames']} frames, given up after {track['lost']:g} s unseen"


_SAID_OF_LINE = ("a", "b", "left_to_right", "right_to_left")


def _told(values: Mapping[str, Any], kind: type[Zone] | type[Line], said: tuple[str, ...]) -> str:
    """Give what is not the default."""
    words = []
    for field in dataclasses.fields(kind):
        value = values[field.name]
        if field.name in ("name", *said) or value == field.default:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words.append(f"{field.name} {text}")
    return "".join(f"; {word}" for word in words)
