"""Rules of events, a TOML file: zones and lines in a camera's picture, and whom they are for.

    [[zone]]                                          [[line]]
    name = "till"                                     name = "door"
    points = [[0.1, 0.2], [0.6, 0.2], [0.6, 0.9]]     a = [0.5, 1.0]
    classes = ["person"]                              b = [0.5, 0.0]

Coordinates are shares of the picture's width and height, 0..1 from the upper left corner, so that another
resolution changes nothing; pixels are refused. A line's direction is that of one who stands at `a` and looks
to `b` in the picture: ``left_to_right`` and ``right_to_left`` are the words for the two ways across.

Owns the format, its reading, its checks and its writing (the page that draws zones writes it). What happens
at zones and lines is ``edgeyolo.events``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgeyolo.class_names import class_ids_from_names
from edgeyolo.errors import ConfigError
from edgeyolo.sections import near_name, read_toml, refuse_unknown, section
from edgeyolo.vision.polygons import self_touching

__all__ = ["Line", "Rules", "TrackRules", "Zone", "read_rules", "rules_from_toml", "toml_from_rules"]

Place = Literal["bottom", "centre"]
Table = TypeVar("Table")
_HINT = "docs/events.md shows one"
_MOST_CORNERS = 100
_MOST_LETTERS = 64


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What zones and lines have in common.

    Args:
        name: What events call it.
        camera: Name or names of the cameras that it is for; all by default.
        classes: Names or ids of the classes that it is for; all by default.
        conf: Least score of a box, 0..1; 0 takes whatever the run reports.
        point: Which point of a box counts: the middle of its bottom edge, where an object stands, or its
            centre.
        margin: How far an object must go beyond the border before it can count as back on the other side, in
            sizes of its box (the square root of its area): what trembles on the border makes one event.
        frames: In how many frames an object must be seen on the new side, one after the other.
        seconds: For how long it must be there.
    """

    name: str
    camera: str | tuple[str, ...] | None = None
    classes: tuple[str | int, ...] | None = None
    conf: float = 0.0
    point: Place = "bottom"
    margin: float = 0.15
    frames: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _MOST_LETTERS or not self.name.isprintable():
            raise ConfigError(f"name: 1 to {_MOST_LETTERS} printable letters expected, {self.name!r} found")
        for key, low, high in (("conf", 0, 1), ("margin", 0, 10), ("frames", 1, 1000), ("seconds", 0, 86400)):
            _within(key, getattr(self, key), low, high)
        for key in ("camera", "classes"):
            if getattr(self, key) == ():
                raise ConfigError(f"{key}: one or more expected, none found", hint="leave it out for all")

    @property
    def cameras(self) -> tuple[str, ...] | None:
        """Names of its cameras; None for all."""
        return (self.camera,) if isinstance(self.camera, str) else self.camera

    def class_ids(self, names: Sequence[str]) -> frozenset[int] | None:
        """Give the ids of its classes; None for all.

        Raises:
            ConfigError: One of them is not in `names`.
        """
        return None if self.classes is None else frozenset(class_ids_from_names(names, self.classes))

    def is_for(self, camera: str) -> bool:
        """Say whether it is for a camera."""
        return self.cameras is None or camera in self.cameras


@dataclass(frozen=True, kw_only=True)
class Zone(_Rule):
    """``[[zone]]``: objects enter it, dwell in it and leave it.

    Args:
        points: Its corners, at least three; edges may not touch each other.
        overlap: Share of a box's area that must be in the zone, above 0 to 1, in place of `point`.
        dwell: Seconds in the zone after which a ``dwell`` event comes, once a stay.
    """

    points: tuple[tuple[float, float], ...]
    frames: int = 2
    overlap: float | None = None
    dwell: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 3 <= len(self.points) <= _MOST_CORNERS:
            raise ConfigError(f"points: 3 to {_MOST_CORNERS} corners expected, {len(self.points)} found")
        for place, point in enumerate(self.points):
            _in_picture(f"points[{place}]", point)
        if (touch := self_touching(self.points)) is not None:
            raise ConfigError(_where_they_meet(self.points, *touch), hint="give the corners in order")
        if self.overlap is not None:
            _within("overlap", self.overlap, 0.01, 1)
            if self.point != "bottom":
                raise ConfigError("overlap: stands in place of point; both found")
        if self.dwell is not None:
            _within("dwell", self.dwell, 0, 86400)


@dataclass(frozen=True, kw_only=True)
class Line(_Rule):
    """``[[line]]``: objects cross it.

    Args:
        a: One end.
        b: The other end.
        left_to_right: The word for a crossing from the left to the right of one who looks from `a` to `b`.
        right_to_left: The word for the other way.
    """

    a: tuple[float, float]
    b: tuple[float, float]
    left_to_right: str = "in"
    right_to_left: str = "out"

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_picture("a", self.a)
        _in_picture("b", self.b)
        if math.dist(self.a, self.b) < 1e-3:
            raise ConfigError(f"a and b: two places expected, {_pair(self.a)} and {_pair(self.b)} found")
        for key in ("left_to_right", "right_to_left"):
            word = getattr(self, key)
            if not word.strip() or len(word) > _MOST_LETTERS or not word.isprintable():
                raise ConfigError(f"{key}: 1 to {_MOST_LETTERS} printable letters expected, {word!r} found")
        if self.left_to_right == self.right_to_left:
            raise ConfigError(
                f"left_to_right and right_to_left: two words expected, {self.left_to_right!r} twice"
            )


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """``[track]``: how objects are followed.

    Args:
        lost: Seconds after which an object that is not seen any more is given up.
        frames: Frames in which an object must be found before it counts as one.
    """

    lost: float = 1.5
    frames: int = 2

    def __post_init__(self) -> None:
        _within("lost", self.lost, 0, 3600)
        _within("frames", self.frames, 1, 100)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All rules of a run.

    Args:
        zones: In the order of the file.
        lines: In the order of the file.
        track: How objects are followed.
        source: The file, for messages; empty where there is none.

    Raises:
        ConfigError: Two rules of one camera have one name.
    """

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    track: TrackRules = field(default_factory=TrackRules)
    source: str = ""

    def __post_init__(self) -> None:
        seen: list[_Rule] = []
        for rule in (*self.zones, *self.lines):
            for other in seen:
                if rule.name == other.name and _share_camera(rule, other):
                    raise ConfigError(
                        f"two rules of one camera are named {rule.name!r}; events could not tell them apart",
                        hint="rename one of them",
                    )
            seen.append(rule)

    def for_camera(self, camera: str) -> Rules:
        """Give the rules that are for a camera."""
        return dataclasses.replace(
            self,
            zones=tuple(zone for zone in self.zones if zone.is_for(camera)),
            lines=tuple(line for line in self.lines if line.is_for(camera)),
        )

    def require_cameras(self, cameras: Sequence[str]) -> None:
        """Refuse rules for cameras that a run does not have.

        Raises:
            ConfigError: One names another camera.
        """
        for rule in (*self.zones, *self.lines):
            for name in rule.cameras or ():
                if name not in cameras:
                    raise ConfigError(
                        f"{self.source}: {rule.name}: camera {name!r} is none of this run"
                        f"{near_name(name, cameras)}",
                        hint=f"the cameras are {', '.join(cameras)}; without camera a rule is for all",
                    )

    def require_classes(self, names: Sequence[str]) -> None:
        """Refuse rules for classes that a model does not have.

        Args:
            names: Its class names; the index is the class id.

        Raises:
            ConfigError: One names another class.
        """
        for rule in (*self.zones, *self.lines):
            try:
                rule.class_ids(names)
            except ConfigError as exc:
                raise ConfigError(f"{self.source}: {rule.name}: {exc.message}", hint=exc.hint) from exc


def read_rules(path: Path | str) -> Rules:
    """Read a file of rules.

    Raises:
        ConfigError: It is absent or no TOML, a key is unknown, or a value is wrong; the message says which.
        MissingDependencyError: Python 3.10 without the package tomli.
    """
    path = Path(path)
    return rules_from_toml(read_toml(path, why="to read the rules of events", hint=_HINT), source=str(path))


def rules_from_toml(data: dict[str, Any], *, source: str) -> Rules:
    """Check what a TOML file of rules holds.

    Args:
        data: As a TOML reader gives it.
        source: The file, for messages.

    Raises:
        ConfigError: A key is unknown, or a value is wrong.
    """
    refuse_unknown(data, ("zone", "line", "track"), where=f"{source}: section")
    try:
        return Rules(
            zones=tuple(_made(Zone, *item) for item in _tables(data, "zone")),
            lines=tuple(_made(Line, *item) for item in _tables(data, "line")),
            track=_made(TrackRules, "[track]", data.get("track", {})),
            source=source,
        )
    except ConfigError as exc:
        raise ConfigError(f"{source}: {exc.message}", hint=exc.hint or _HINT) from exc


def toml_from_rules(rules: Rules) -> str:
    """Write rules as TOML, what is the default left out; reading it gives the same rules.

    Examples:
        >>> door = Line(name="door", a=(0.5, 1), b=(0.5, 0), classes=("person",))
        >>> print(toml_from_rules(Rules(lines=(door,))), end="")
        [[line]]
        name = "door"
        a = [0.5, 1]
        b = [0.5, 0]
        classes = ["person"]
    """
    tables = [("[[zone]]", zone) for zone in rules.zones] + [("[[line]]", line) for line in rules.lines]
    blocks = ["\n".join([head, *_toml_lines(rule)]) for head, rule in tables]
    if rules.track != TrackRules():
        blocks.insert(0, "\n".join(["[track]", *_toml_lines(rules.track)]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _toml_lines(table: Zone | Line | TrackRules) -> Iterator[str]:
    fields = dataclasses.fields(table)
    for item in sorted(fields, key=lambda item: item.default is not dataclasses.MISSING):
        value = getattr(table, item.name)
        if value is not None and value != item.default:
            # A JSON string of printable letters, a JSON number and a JSON list are TOML too.
            yield f"{item.name} = {json.dumps(value, ensure_ascii=False)}"


def _tables(data: dict[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    """Give each table of a kind with its name for messages."""
    tables = data.get(kind, [])
    if not isinstance(tables, list):
        raise ConfigError(f"{kind}: [[{kind}]] with two brackets expected, [{kind}] found")
    for number, table in enumerate(tables, start=1):
        name = table.get("name") if isinstance(table, dict) else None
        yield f"[[{kind}]] {repr(name) if isinstance(name, str) else number}", table


def _made(kind: type[Table], label: str, table: Any) -> Table:
    try:
        return section(kind, label, table)
    except ConfigError as exc:
        if exc.message.startswith(label):
            raise
        raise ConfigError(f"{label}: {exc.message}", hint=exc.hint) from exc  # from the checks of values


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN, too
        raise ConfigError(f"{key}: {low:g} to {high:g} expected, {value!r} found")


def _in_picture(where: str, point: tuple[float, float]) -> None:
    for axis, value in zip("xy", point, strict=True):
        if not 0 <= value <= 1:
            pixels = value > 1 and value == int(value) if math.isfinite(value) else False
            side = {"x": "width", "y": "height"}[axis]
            raise ConfigError(
                f"{where}: {axis} from 0 to 1 expected, a share of the picture's {side}, {value:g} found",
                hint=f"pixels? divide by the {side}" if pixels else None,
            )


def _where_they_meet(points: Sequence[tuple[float, float]], i: int, j: int) -> str:
    edges = [f"{_pair(points[k])} to {_pair(points[(k + 1) % len(points)])}" for k in (i, j)]
    if i == j:
        return f"points: corner {_pair(points[i])} comes twice"
    return f"points: edges that do not touch expected, {edges[0]} meets {edges[1]}"


def _pair(point: tuple[float, float]) -> str:
    return f"[{point[0]:g}, {point[1]:g}]"


def _share_camera(one: _Rule, other: _Rule) -> bool:
    if one.cameras is None or other.cameras is None:
        return True
    return bool(set(one.cameras) & set(other.cameras))
