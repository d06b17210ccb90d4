"""Zones and lines on the page: given as JSON, checked, written as the TOML of ``--events``.

Owns the JSON, whose keys are those of the TOML (`edgeyolo.rules`), and the saved file. Refuses to know what
happens at a zone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeyolo.errors import ConfigError
from edgeyolo.files import write_text
from edgeyolo.rules import Line, Rules, TrackRules, Zone, rules_from_toml, toml_from_rules

__all__ = ["ZoneDesk"]

_SOURCE = "the drawing"


class ZoneDesk:
    """The rules as the page sees them.

    Args:
        rules: Those in force; None where the run watches for no events.
        cameras: Names of the run's cameras.
        names: Class names of its model.
        file: Where they are saved; None where the page may not change them.
        apply: Puts new rules in force.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        cameras: Sequence[str] = (),
        names: Sequence[str] = (),
        file: Path | None = None,
        apply: Callable[[Rules], None] | None = None,
    ) -> None:
        self._rules = rules or Rules()
        self._cameras = tuple(cameras)
        self._names = tuple(names)
        self._file = file
        self._apply = apply

    def values(self) -> dict[str, Any]:
        """Give the rules, as tables and as TOML, and whether they can be saved."""
        return {
            **_tables(self._rules),
            "toml": toml_from_rules(self._rules),
            "file": None if self._file is None else self._file.name,
        }

    def check(self, tables: dict[str, Any]) -> dict[str, Any]:
        """Give the TOML of tables.

        Raises:
            ConfigError: A key or a value is wrong.
        """
        return {"toml": toml_from_rules(self._read(tables))}

    def save(self, tables: dict[str, Any]) -> dict[str, Any]:
        """Write the file, whole, and put the rules in force.

        Raises:
            ConfigError: A value is wrong, or the run does not allow it.
            OutputError: The file cannot be written.
        """
        if self._file is None or self._apply is None:
            raise ConfigError(
                "this run's zones cannot be changed from the page",
                hint="edgeyolo run --events FILE --events-editable",
            )
        rules = self._read(tables)
        write_text(self._file, toml_from_rules(rules))
        self._apply(rules)
        self._rules = rules
        return self.values()

    def _read(self, tables: dict[str, Any]) -> Rules:
        rules = rules_from_toml(tables, source=_SOURCE)
        rules.require_cameras(self._cameras)
        if self._names:
            rules.require_classes(self._names)
        return rules


def _tables(rules: Rules) -> dict[str, Any]:
    return {
        "zone": [_table(zone) for zone in rules.zones],
        "line": [_table(line) for line in rules.lines],
        "track": _table(rules.track),
    }


def _table(rule: Zone | Line | TrackRules) -> dict[str, Any]:
    """Give what is not the default."""
    return {
        field.name: value
        for field in dataclasses.fields(rule)
        if (value := getattr(rule, field.name)) is not None and value != field.default
    }
