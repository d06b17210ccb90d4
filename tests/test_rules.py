"""The file of rules: what it takes and refuses, how it says so, and that it survives its own writer."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.errors import ConfigError
from edgeyolo.rules import Line, Rules, TrackRules, Zone, read_rules, rules_from_toml, toml_from_rules
from edgeyolo.sections import read_toml
from tests.parts import PROJECT

SQUARE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
SHOP = """
[[zone]]
name = "till"
camera = "0"
points = [[0, 0], [1, 0.0], [0.5, 1]]
classes = ["person", 2]
conf = 0.4
overlap = 0.5
dwell = 10

[[line]]
name = "door"
a = [0.5, 1]
b = [0.5, 0]
left_to_right = "enters"
right_to_left = "goes"
point = "centre"
frames = 3
seconds = 0.5

[track]
lost = 3
"""


def _read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "events.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(path)


def test_every_key_arrives(tmp_path: Path) -> None:
    rules = _read(tmp_path, SHOP)
    (zone,), (line,) = rules.zones, rules.lines
    assert zone == Zone(
        name="till", camera="0", points=((0, 0), (1, 0), (0.5, 1)), classes=("person", 2), conf=0.4,
        overlap=0.5, dwell=10,
    )  # fmt: skip
    assert (zone.frames, zone.seconds) == (2, 0)
    assert line == Line(
        name="door", a=(0.5, 1), b=(0.5, 0), left_to_right="enters", right_to_left="goes", point="centre",
        frames=3, seconds=0.5,
    )  # fmt: skip
    assert rules.track == TrackRules(lost=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[zones]]", "section 'zones' is not known; 'zone' is"),
        ("[zone]", r"\[\[zone\]\] with two brackets expected"),
        ("zone = [3]", r"\[\[zone\]\] 1: a section expected, 3 found"),
        ("[[zone]]\nname = 'a'", r"\[\[zone\]\] 'a': key 'points' expected, none found"),
        ("[[zone]]\nnmae = 'a'", "key 'nmae' is not known; 'name' is"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1]]", "3 to 100 corners expected, 2 found"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1], [1, 640]]",
         r"\[\[zone\]\] 'a': points\[2\]: y from 0 to 1 exp.* 640 f"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1], [1, nan]]", "nan found"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1], [1]]", r"points\[2\]: 2 values expected"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1], ['x', 1]]", r"\[2\]\[0\]: a number expected, 'x'"),
        ("[[zone]]\nname = 'a'\npoints = 7", r"points: a list of \[a number, a number\] expected, 7 found"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 1], [1, 0], [0, 1]]",
         r"\[0, 0\] to \[1, 1\] meets \[1, 0\] to \[0, 1\]"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 0], [1, 0], [0, 1]]", r"\[1, 0\] comes twice"),
        ("[[zone]]\nname = 'a'\npoints = [[0, 0], [1, 0], [0.5, 0]]", "meets"),  # no area
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [0, 0]", "a and b: two places expected"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\nleft_to_right = 'out'", "two words expected"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\npoint = 'top'", "'bottom' or 'centre' expected"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\ncamera = 0", "text or a list of text expected, 0"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\nclasses = []", "one or more expected, none found"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\nconf = 25", "conf: 0 to 1 expected, 25"),
        ("[[line]]\nname = 'a'\na = [0, 0]\nb = [1, 0]\nframes = true", "a whole number expected, True"),
        ("[[line]]\nname = ' '\na = [0, 0]\nb = [1, 0]", "printable letters expected, ' ' found"),
        ("[track]\nlost = -1", "lost: 0 to 3600 expected"),
        ("[[line", "TOML expected"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        _read(tmp_path, text)
    assert str(tmp_path / "events.toml") in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_file_says_where_to_see_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rules(tmp_path / "none.toml")
    assert caught.value.hint is not None
    assert "docs/events.md" in caught.value.hint


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [(None, None, True), ("0", None, True), ("0", "0", True), ("0", ("1", "0"), True), ("0", "1", False)],
)
def test_one_name_twice_is_refused_where_a_camera_has_both(one: Any, other: Any, refused: bool) -> None:
    zone = Zone(name="a", points=SQUARE, camera=one)
    line = Line(name="a", a=(0, 0), b=(1, 1), camera=other)
    if refused:
        with pytest.raises(ConfigError, match="named 'a'"):
            Rules(zones=(zone,), lines=(line,))
    else:
        assert Rules(zones=(zone,), lines=(line,)).for_camera("0").lines == ()


def test_a_rule_for_a_camera_that_is_not_there(tmp_path: Path) -> None:
    rules = _read(tmp_path, SHOP)
    rules.require_cameras(["0", "1"])
    with pytest.raises(ConfigError, match=r"events.toml: till: camera '0' is none of this run; '00' is"):
        rules.require_cameras(["00"])


def test_the_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert [len(_read(tmp_path, block).zones) for block in blocks] == [1, 0, 1]
    for field in {field.name for kind in (Zone, Line) for field in dataclasses.fields(kind)}:
        assert f"`{field}`" in text, f"{field} is not in docs/events.md"


_share = st.floats(0, 1)
_point = st.tuples(_share, _share)
_word = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=9).filter(
    lambda word: word.strip() and word.isprintable()
)
_common = {
    "camera": st.none() | _word | st.lists(_word, min_size=1, max_size=2).map(tuple),
    "classes": st.none() | st.lists(_word | st.integers(0, 99), min_size=1, max_size=3).map(tuple),
    "conf": _share,
    "margin": st.floats(0, 10),
    "frames": st.integers(1, 9),
    "seconds": st.floats(0, 60),
}
_zones = st.builds(
    Zone, name=st.just("z"),
    points=st.tuples(*[_share] * 3).map(lambda k: ((0, k[0]), (1, k[1] / 2), (1, 1))),
    overlap=st.none() | st.floats(0.01, 1), dwell=st.none() | st.floats(0, 60), **_common,
)  # fmt: skip
_lines = st.builds(
    Line, name=st.just("l"), a=st.just((0.2, 1.0)), b=st.tuples(_share, st.just(0.5)), **_common
)


@given(zones=st.lists(_zones, max_size=1), lines=st.lists(_lines, max_size=1), lost=st.floats(0, 9))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, zones: list[Zone], lines: list[Line], lost: float
) -> None:
    rules = Rules(zones=tuple(zones), lines=tuple(lines), track=TrackRules(lost=lost))
    path = tmp_path_factory.getbasetemp() / "again.toml"
    path.write_text(toml_from_rules(rules), encoding="utf-8")
    assert rules_from_toml(read_toml(path, why="", hint=""), source="") == rules
