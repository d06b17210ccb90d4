"""Write type stubs of TensorRT's Python API from the surfaces of NVIDIA's own wheels.

    python tools/tensorrt_stubs.py typings/tensorrt/__init__.pyi

One file for all generations in ``tests/sim/tensorrt/surface``: a name is in it where any generation has it,
with a comment where not all do, so that mypy checks every branch of code that serves them all. Which name a
generation lacks is for the simulated TensorRT to say. A class of which only the name is known has attributes
of any type.

Why not the package tensorrt-stubs: no version of it, 10.8 to 10.13, can be parsed. It has parameters called
``in``, and parameters without a default behind those with one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SURFACES = Path(__file__).resolve().parent.parent / "tests" / "sim" / "tensorrt" / "surface"
_HEAD = """\
# Names and signatures of TensorRT {releases}, from NVIDIA's bindings.
# Written by tools/tensorrt_stubs.py: do not edit.
import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, overload

from typing_extensions import Buffer, Self

__version__: str

class _Enum:  # what pybind11 gives an enum
    __members__: ClassVar[dict[str, Self]]
    def __init__(self, value: int) -> None: ...
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...
"""
_COMPARED = "    def __{0}__(self, other: Self) -> builtins.bool: ..."
_ORDER = tuple(_COMPARED.format(name) for name in ("lt", "le", "gt", "ge"))
_UNKNOWN = (
    "    def __init__(self, *args: Any, **kwargs: Any) -> None: ...",
    "    def __getattr__(self, name: str) -> Any: ...",
)
# pybind11 writes the C++ name of a class that is bound only after its first use.
_CPP_NAMES = {"IParserError": "ParserError", "IEngineInspector": "EngineInspector", "IBuilder": "Builder"}
_TYPES = {
    "bool": "builtins.bool", "buffer": "Buffer", "typing_extensions.Buffer": "Buffer", "capsule": "Any",
    "typing_extensions.CapsuleType": "Any", "object": "Any", "function": "Callable[..., Any]",
    "collections.abc.Callable": "Callable[..., Any]", "collections.abc.Sequence": "Sequence",
    "list": "list[Any]", "tuple": "tuple[Any, ...]", "typing.SupportsInt": "int",
    "typing.SupportsFloat": "float", "List": "list", "Tuple": "tuple",
}  # fmt: skip
_AS_THEY_ARE = ("int", "str", "float", "None", "Sequence", "Any", "ILogger.Severity")
# What converts by itself where it is a parameter.
_CONVERTED = {
    "Dims": "Dims | Sequence[int]", "DimsHW": "DimsHW | Sequence[int]", "Weights": "Weights | Any",
}  # fmt: skip
# Pointers that are null, which the bindings give as None, where the call failed. Source: NvInfer.h.
_MAY_FAIL = re.compile(r"create|build|deserialize|serialize|get_timing_cache")
_FROM_BUFFER = ("IHostMemory",)  # pybind11's buffer protocol is no attribute
_PARAMETER = re.compile(r"(\w+)(?:: (.+?))?(?: = (.+))?$")


def stubs(surfaces: Mapping[str, dict[str, Any]]) -> str:
    """Give the text of the stub.

    Args:
        surfaces: Generation to surface, the oldest first.
    """
    writer = _Writer(surfaces)
    names = sorted({name for surface in surfaces.values() for name in surface["names"]})
    parts = ["\n".join(writer.named(name)) for name in names]
    return "\n".join([_HEAD.format(releases=", ".join(surfaces)), *parts]) + "\n"


class _Writer:
    """Writes one name after the other; `found` is always generation to what that one has, oldest first."""

    def __init__(self, surfaces: Mapping[str, dict[str, Any]]) -> None:
        self._surfaces = surfaces
        self._newest = list(surfaces.values())[-1]["names"]
        everything = [item for surface in surfaces.values() for item in surface["names"].items()]
        self._classes = {name for name, value in everything if value == "class" or isinstance(value, dict)}
        enums = {name for name, value in everything if isinstance(value, dict) and "enum" in value}
        self._pointers = self._classes - enums - {"Dims"}

    def named(self, name: str) -> Iterator[str]:
        """Write a name of the module."""
        found = {g: s["names"][name] for g, s in self._surfaces.items() if name in s["names"]}
        note, latest = self._note(found, self._surfaces), _latest(found)
        detailed = {generation: value for generation, value in found.items() if isinstance(value, dict)}
        if isinstance(latest, str) and latest.startswith("= "):
            yield f"{name}: {self._type_of_value(latest)}{note}"
        elif isinstance(latest, list):
            yield from self._function(name, found, "", note)
        elif detailed:
            yield from self._class(name, detailed, "", note)
        else:
            yield f"class {name}:{note}"
            yield from _UNKNOWN
        yield ""

    def _class(
        self, name: str, found: Mapping[str, Any], indent: str, note: str, outer: str = ""
    ) -> Iterator[str]:
        latest, inner = _latest(found), f"{indent}    "
        if "enum" in latest:
            yield f"{indent}class {name}(_Enum):{note}"
            yield from self._enum(f"{outer}{name}", found, inner)
            yield from (f"{indent}{line}" for line in _ORDER if latest.get("ordered"))
        else:
            bases = [base for base in latest["bases"] if base in self._classes][:1]
            yield f"{indent}class {name}({bases[0]}):{note}" if bases else f"{indent}class {name}:{note}"
        if name in _FROM_BUFFER:
            yield f"{inner}def __buffer__(self, flags: int, /) -> memoryview: ..."
        members = _keys(value.get("members", {}) for value in found.values())
        own = [member for member in members if not self._inherited(member, latest.get("bases", ()))]
        for member in own:
            here = {g: v["members"][member] for g, v in found.items() if member in v.get("members", {})}
            yield from self._member(name, member, here, inner, self._note(here, found))
        if not own and "enum" not in latest:
            yield f"{inner}..."

    def _enum(self, qualified: str, found: Mapping[str, Any], indent: str) -> Iterator[str]:
        for member in _keys(value["enum"] for value in found.values()):
            here = {generation: 0 for generation, value in found.items() if member in value["enum"]}
            yield f"{indent}{member}: ClassVar[{qualified}]{self._note(here, found)}"

    def _inherited(self, member: str, bases: Sequence[str]) -> bool:
        known = [self._newest[base] for base in bases if isinstance(self._newest.get(base), dict)]
        return member[0] != "_" and any(member in base["members"] for base in known)

    def _member(
        self, owner: str, name: str, found: Mapping[str, Any], indent: str, note: str
    ) -> Iterator[str]:
        latest = _latest(found)
        if isinstance(latest, dict):
            yield from self._class(name, found, indent, note, outer=f"{owner}.")
        elif latest == "none" or name in ("__eq__", "__hash__") or (name == "__init__" and not latest):
            return  # as object has it, or a class that cannot be made
        elif isinstance(latest, list):
            yield from self._function(name, found, indent, note)
            if name == "__getitem__":  # there is no __iter__: Python counts up until IndexError
                item = self._type(latest[0].partition(" -> ")[2])
                yield f"{indent}def __iter__(self) -> Iterator[{item}]: ..."
        elif latest.startswith("= "):
            yield f"{indent}{name}: ClassVar[{self._type_of_value(latest)}]{note}"
        else:
            yield from self._property(name, found, indent, note)

    def _property(self, name: str, found: Mapping[str, str], indent: str, note: str) -> Iterator[str]:
        settable = any(value.startswith("property") for value in found.values())
        kind = self._type(_latest(found).partition(": ")[2] or "object")
        if settable and kind in self._pointers:
            kind += " | None"
        yield f"{indent}@property{note}"
        yield f"{indent}def {name}(self) -> {kind}: ..."
        if settable:
            yield f"{indent}@{name}.setter"
            yield f"{indent}def {name}(self, value: {kind}) -> None: ..."

    def _function(self, name: str, found: Mapping[str, Any], indent: str, note: str) -> Iterator[str]:
        written = _keys([self._signature(name, text) for text in value] for value in found.values())
        typed = [form for form in written if not form.endswith("-> Any")] or list(written)
        forms = sorted(typed, key=lambda form: form.count(","))  # the shorter first: a longer one has more
        if not forms:
            forms = [f"({'self, ' if indent else ''}*args: Any, **kwargs: Any) -> Any"]
        for form in forms:
            if len(forms) > 1:
                yield f"{indent}@overload"
            yield f"{indent}def {name}{form}: ...{note}"

    def _signature(self, name: str, text: str) -> str:
        inside, _, gives = text.partition(") -> ")
        matches = filter(None, map(_PARAMETER.match, _split(inside.lstrip("("))))
        words, needed = list[str](), False
        for match in reversed(list(matches)):
            word, default = match[1], match[3]
            if word == "self":
                words.insert(0, word)
                continue
            needed = needed or default is None  # a default in front of a parameter without one is none
            words.insert(0, f"{word}: {self._parameter(match)}{'' if needed else ' = ...'}")
        if any(word.startswith("arg0:") for word in words):
            words.append("/")
        result = self._type(gives or "None")
        if _MAY_FAIL.match(name) and result in self._pointers:
            result += " | None"
        return f"({', '.join(words)}) -> {result}"

    def _parameter(self, match: re.Match[str]) -> str:
        kind = self._type(match[2] or "object")
        kind = re.sub(r"^list\[(?!Any\])", "Sequence[", kind)  # pybind11 takes any sequence
        kind = _CONVERTED.get(kind, kind)
        return f"{kind} | None" if match[3] == "None" and kind != "Any" else kind

    def _type(self, text: str) -> str:
        text = re.sub(r"detail::accessor<.*>", "object", text)
        text = re.sub(r"\b(list|tuple)\b(?=\[)", lambda match: match[0].title(), text)
        return re.sub(r"[A-Za-z_][\w.:]*\w", lambda match: self._word(match[0]), text)

    def _word(self, word: str) -> str:
        if word in _TYPES:
            return _TYPES[word]
        if word in _AS_THEY_ARE:
            return word
        last = re.split(r"::|\.", word)[-1]
        last = _CPP_NAMES.get(last, last)
        return "ILogger.Severity" if last == "Severity" else last if last in self._classes else "Any"

    def _type_of_value(self, text: str) -> str:
        if match := re.match(r"= <(\w+)\.", text):
            return self._word(match[1])
        return "int" if re.fullmatch(r"= -?\d+", text) else "str"

    @staticmethod
    def _note(found: Mapping[str, Any], among: Mapping[str, Any]) -> str:
        return "" if len(found) == len(among) else f"  # {', '.join(found)}"


def _latest(found: Mapping[str, Any]) -> Any:
    return list(found.values())[-1]


def _keys(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Give the keys of all groups once, in the order of their first appearance."""
    return tuple(dict.fromkeys(key for group in groups for key in group))


def _split(text: str) -> list[str]:
    """Split parameters at the commas that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[<(") - (character in "]>)")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def read_surfaces() -> dict[str, dict[str, Any]]:
    """Give the surfaces of all generations, the oldest first."""
    paths = sorted(SURFACES.glob("*.json"), key=lambda path: tuple(map(int, path.stem.split("."))))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def main() -> None:
    """Run from the command line."""
    (output,) = map(Path, sys.argv[1:])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(stubs(read_surfaces()))


if __name__ == "__main__":
    main()
