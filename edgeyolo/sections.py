"""TOML files read into dataclasses, strictly: a key that is misspelt is an error that names the near one.

Owns the reading and the check of every value against its field's type. Refuses to know what a file means:
recipes are `edgeyolo.config`, rules of events `edgeyolo.rules`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeyolo.errors import ConfigError
from edgeyolo.optional import require

__all__ = ["near_name", "read_toml", "refuse_unknown", "section"]

Section = TypeVar("Section")
_WORDS = {"str": "text", "int": "a whole number", "bool": "true or false", "float": "a number"}


def read_toml(path: Path, *, why: str, hint: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        why: What for, should a package be missing: ``"to read a recipe"``.
        hint: The next step where the file is absent.

    Raises:
        ConfigError: It cannot be read or is no TOML.
        MissingDependencyError: Python 3.10 without the package tomli.
    """
    try:
        toml = require("tomllib", why=why)
    except ImportError:  # Python 3.10
        toml = require("tomli", why=why)
    try:
        data: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}", hint=hint) from exc
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path}: TOML expected: {exc}") from exc
    return data


def section(kind: type[Section], name: str, value: Any) -> Section:
    """Make a dataclass from a table.

    Args:
        kind: A dataclass; its fields are text, numbers, booleans, literals, tuples of these, or None.
        name: As messages show it, such as ``"[model]"``.
        value: What TOML gave.

    Raises:
        ConfigError: It is no table, a key is unknown or missing, or a value is of another type.

    Examples:
        >>> @dataclasses.dataclass
        ... class Point:
        ...     xy: tuple[float, float]
        ...     label: str | None = None
        >>> section(Point, "[point]", {"xy": [1, 2.5]})
        Point(xy=(1.0, 2.5), label=None)
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: a section expected, {value!r} found")
    hints = get_type_hints(kind)
    refuse_unknown(value, hints, where=f"{name} key")
    values = {key: _checked(f"{name} {key}", item, hints[key]) for key, item in value.items()}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if missing and field.name not in values:
            raise ConfigError(f"{name}: key {field.name!r} expected, none found")
    return kind(**values)


def refuse_unknown(found: Collection[str], known: Collection[str], *, where: str) -> None:
    """Refuse a name that is not known.

    Args:
        found: Names that were given.
        known: Names that there are.
        where: Of which file and kind, for the message: ``"a.toml: section"``.

    Raises:
        ConfigError: One is not known; the message has the near one.
    """
    for name in found:
        if name not in known:
            raise ConfigError(
                f"{where} {name!r} is not known{near_name(name, known)}", hint=f"one of {', '.join(known)}"
            )


def near_name(name: str, known: Collection[str]) -> str:
    """Give the end of a sentence that names the near one, or nothing.

    Examples:
        >>> near_name("dorr", ["door", "till"])
        "; 'door' is"
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; {near[0]!r} is" if near else ""


def _checked(where: str, value: Any, hint: Any) -> Any:
    """Give a TOML value as its field's type wants it, or refuse it."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for choice in choices:
        origin = get_origin(choice)
        if origin is Literal and value in get_args(choice):
            return value
        if origin is tuple and isinstance(value, list):
            return _checked_tuple(where, value, get_args(choice))
        if type(value) is choice:
            return value
        if choice is float and type(value) is int:
            return float(value)
    words = [word for choice in choices if choice is not type(None) for word in _described(choice)]
    raise ConfigError(f"{where}: {' or '.join(words)} expected, {value!r} found")


def _checked_tuple(where: str, value: list[Any], kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: {len(kinds)} values expected, {value!r} found")
    return tuple(
        _checked(f"{where}[{place}]", item, kind)
        for place, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _described(choice: Any) -> list[str]:
    if get_origin(choice) is Literal:
        return [repr(item) for item in get_args(choice)]
    if get_origin(choice) is tuple:
        inner = get_args(choice)
        if inner[-1] is Ellipsis:
            return [f"a list of {' or '.join(_described(inner[0]))}"]
        return ["[" + ", ".join(" or ".join(_described(item)) for item in inner) + "]"]
    return [_WORDS[choice.__name__]]
