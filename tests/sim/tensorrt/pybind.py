"""How a class that pybind11 bound behaves, seen from Python.

Owns enums that are no `enum.Enum`, calls that are matched against NVIDIA's own signatures, attributes that
cannot be invented, constructors that refuse, and callbacks whose exceptions go no further than stderr.
Refuses to know anything of TensorRT.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = [
    "Bound",
    "BoundType",
    "NotSimulatedError",
    "accepted",
    "call_back",
    "checked",
    "enumeration",
    "kept",
    "not_simulated",
]


class NotSimulatedError(NotImplementedError):
    """NVIDIA's module has this name in this generation, the simulator does nothing for it."""


class BoundType(type):
    """The type of every simulated class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if not made.__dict__.get("_constructed"):
            base = next(c.__name__ for c in cls.__mro__ if "_simulation" in c.__dict__)
            raise TypeError(f"tensorrt.{base}.__init__() must be called when overriding __init__")
        return made


class Bound(metaclass=BoundType):
    """Base of the simulated classes: no attribute that the real class does not have can be set."""

    _constructed: bool
    _simulation: Any

    def __setattr__(self, name: str, value: Any) -> None:
        simulated = "_simulation" in type(self).__dict__  # a user's subclass may hold what it likes
        if simulated and name[0] != "_" and not hasattr(getattr(type(self), name, None), "__set__"):
            raise AttributeError(f"'tensorrt.{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)


class Enumeration:
    """Base of the enums: a member is an instance, equal to its like only, with an int and no iteration."""

    _names: Mapping[int, str]

    def __init__(self, value: int) -> None:
        self._value = operator.index(value)

    @property
    def name(self) -> str:
        return self._names.get(self._value, "???")

    @property
    def value(self) -> int:
        return self._value

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._value == int(other)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self._value}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def enumeration(name: str, members: Mapping[str, int], *, ordered: bool = False) -> type[Enumeration]:
    """Make what ``py::enum_`` makes.

    Args:
        name: Of the class.
        members: Name to value; two names may have one value.
        ordered: Whether members can be compared with each other (``py::arithmetic``).
    """
    first = {value: key for key, value in reversed(members.items())}
    namespace: dict[str, Any] = {"__module__": "tensorrt", "_names": first}
    if ordered:
        for compare in (operator.lt, operator.le, operator.gt, operator.ge):
            namespace[f"__{compare.__name__}__"] = _strictly(compare)
    made = type(name, (Enumeration,), namespace)
    made.__members__ = {key: made(value) for key, value in members.items()}  # type: ignore[attr-defined]
    for key, member in made.__members__.items():  # type: ignore[attr-defined]
        setattr(made, key, member)
    return made


def _strictly(function: Callable[[int, int], bool]) -> Callable[[Any, Any], bool]:
    def compare(self: Any, other: Any) -> bool:
        if type(other) is not type(self):
            raise TypeError("Expected an enumeration of matching type!")
        return function(int(self), int(other))

    return compare


def kept(attribute: str) -> property:
    """Make a property that only keeps what it is given, in `attribute`."""

    def put(self: Any, value: Any) -> None:
        setattr(self, attribute, value)

    return property(lambda self: getattr(self, attribute), put)


def not_simulated(owner: str, name: str) -> property:
    """Make a class attribute that says so when it is touched."""

    def refuse(*_: Any) -> Any:
        raise NotSimulatedError(f"tensorrt.{owner}.{name} is real, but the simulator does not have it")

    return property(refuse, refuse)


def call_back(target: Any, name: str, *args: Any, otherwise: Any, swallowed: list[BaseException]) -> Any:
    """Call a user's override as TensorRT's C++ does: an exception is printed and lost.

    Args:
        target: The user's object.
        name: The method.
        *args: What it is given.
        otherwise: What C++ goes on with after an exception.
        swallowed: Where a test can find the exception.
    """
    try:
        return getattr(target, name)(*args)
    except Exception as exc:  # noqa: BLE001  (as C++ does)
        swallowed.append(exc)
        print(f"[ERROR] Exception caught in {name}(): {type(exc).__name__}: {exc}", file=sys.stderr)
        return otherwise


def accepted(kind: str, value: Any, classes: Mapping[str, Any]) -> Any:
    """Convert what a property is set to, or raise pybind11's TypeError.

    Args:
        kind: ``int`` or a class of the module.
        value: What it is set to.
        classes: Name to class of the module.
    """
    converted = _converter(kind, classes)(value)
    if converted is _NO:
        raise TypeError("(): incompatible function arguments. The following argument types are supported:")
    return converted


# ---- calls -------------------------------------------------------------------------------------------------

_NO = object()
_BUILTINS: Mapping[str, type] = {"str": str, "tuple": tuple, "list": list, "slice": slice}
# Arguments that C++ takes by reference; for a pointer pybind11 lets None through.
_REFERENCES = ("logger", "network", "config", "cache", "input_cache")
_Converter = Callable[[Any], Any]


def checked(
    name: str, signatures: Iterable[str], implementation: Callable[..., Any], classes: Mapping[str, Any]
) -> Callable[..., Any]:
    """Wrap a method so that only calls its real signatures allow get through.

    Args:
        name: Of the method.
        signatures: As pybind11 writes them, one an overload: ``(self: T, name: str) -> bool``.
        implementation: Takes what was matched, under NVIDIA's own argument names.
        classes: Name to class of the module, filled before the first call.
    """
    overloads = [_parameters(text, classes) for text in signatures]
    kind = "constructor" if name == "__init__" else "function"

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        for parameters in overloads:
            matched = _matched(parameters, args, kwargs)
            if matched is not None:
                return implementation(self, *matched[0], **matched[1])
        shown = (*args, *kwargs.values()) if kind == "constructor" else (self, *args, *kwargs.values())
        listed = "\n".join(f"    {k}. {text}" for k, text in enumerate(signatures, 1))
        raise TypeError(
            f"{name}(): incompatible {kind} arguments. The following argument types are supported:\n"
            f"{listed}\n\nInvoked with: {', '.join(map(repr, shown))}"
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "\n".join(f"{name}{text}" for text in signatures)
    return call


def _matched(
    parameters: list[tuple[str, _Converter, bool]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]] | None:
    if len(args) + len(kwargs) > len(parameters):
        return None
    positional = [convert(arg) for (_, convert, _), arg in zip(parameters, args, strict=False)]
    named = {}
    for key, convert, optional in parameters[len(args) :]:
        if key in kwargs:
            named[key] = convert(kwargs[key])
        elif not optional:
            return None
    fits = len(named) == len(kwargs) and not any(v is _NO for v in (*positional, *named.values()))
    return (positional, named) if fits else None


def _parameters(text: str, classes: Mapping[str, Any]) -> list[tuple[str, _Converter, bool]]:
    inside = text[1 : text.rindex(")", 0, text.find(" -> ") + 1 or None)]
    parameters = []
    for argument in re.split(r", (?=\w+: )", inside):
        name, _, kind = argument.partition(": ")
        if name and name != "self":
            kind, optional, default = kind.partition(" = ")
            convert = _converter(kind, classes)
            if default == "None" or name == "parent_phase":  # a const char*, which takes None
                convert = _or_none(convert)
            if name in _REFERENCES:
                convert = _not_none(convert)
            parameters.append((name, convert, bool(optional)))
    return parameters


def _converter(kind: str, classes: Mapping[str, Any]) -> _Converter:
    kind = kind.split("::")[-1]
    if kind in ("int", "typing.SupportsInt"):
        return _integer
    if kind in ("float", "typing.SupportsFloat"):
        return lambda value: float(value) if hasattr(value, "__float__") else _NO
    if kind in ("List[int]", "collections.abc.Sequence[typing.SupportsInt]"):
        return _integers
    if kind in ("List[str]", "list[str]", "collections.abc.Sequence[str]"):
        return lambda value: value if isinstance(value, (list, tuple)) else _NO
    if kind in ("buffer", "typing_extensions.Buffer"):
        return _buffer
    if kind in _BUILTINS:
        builtin = _BUILTINS[kind]
        return lambda value: value if isinstance(value, builtin) else _NO
    if kind == "bool":
        return bool
    if kind == "Dims":
        return lambda value: list(value) if isinstance(value, classes["Dims"]) else _integers(value)
    if kind in ("object", "capsule", "typing_extensions.CapsuleType"):
        return lambda value: value
    return lambda value: _instance(value, classes.get(kind.split(".")[-1]))


def _or_none(convert: _Converter) -> _Converter:
    return lambda value: None if value is None else convert(value)


def _not_none(convert: _Converter) -> _Converter:
    return lambda value: _NO if value is None else convert(value)


def _integer(value: Any) -> Any:
    """Convert as pybind11 does: never a float or a text, else whatever says it is an integer."""
    if isinstance(value, (float, str, bytes)):
        return _NO
    try:
        return operator.index(value)
    except TypeError:
        return int(value) if hasattr(value, "__int__") else _NO


def _integers(value: Any) -> Any:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        return _NO
    made = [_integer(item) for item in value]
    return _NO if any(item is _NO for item in made) else made


def _buffer(value: Any) -> Any:
    try:
        return memoryview(value).cast("B")
    except TypeError:
        return _NO


def _instance(value: Any, cls: Any) -> Any:
    if cls is None:
        return _NO  # a class that is not simulated: nobody has an instance
    if value is None:
        return _NO if hasattr(cls, "__members__") else None  # pybind11 lets None through for a pointer
    return value if isinstance(value, cls) else _NO
