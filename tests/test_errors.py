"""The tree drawn in edgeyolo/errors.py is the tree in the code, with the exit codes it promises."""

import inspect
import re

import pytest

from edgeyolo import errors
from edgeyolo.errors import CfgError, EdgeYoloError

_DRAWN = re.compile(r"[├└]── (\w+)(?:\((\w+)\))?\s*(?:exit (\d))?")


def drawn() -> dict[str, tuple[str | None, str | None]]:
    return {name: (builtin, code) for name, builtin, code in _DRAWN.findall(errors.__doc__ or "")}


def classes() -> dict[str, type[EdgeYoloError]]:
    return {
        name: item
        for name, item in vars(errors).items()
        if inspect.isclass(item) and issubclass(item, EdgeYoloError) and item is not EdgeYoloError
    }


def test_every_class_is_drawn_and_every_drawn_class_exists() -> None:
    assert set(drawn()) == set(classes())


@pytest.mark.parametrize("name", sorted(classes()))
def test_exit_code_and_builtin_are_as_drawn(name: str) -> None:
    builtin, code = drawn()[name]
    if code:
        assert classes()[name].exit_code == int(code)
    if builtin:
        assert issubclass(classes()[name], getattr(__import__("builtins"), builtin))


@pytest.mark.parametrize("name", sorted(set(classes()) - {"CfgError"}))
def test_message_and_hint_survive_every_base_class(name: str) -> None:
    error = classes()[name]("what failed", hint="what to try")
    assert (str(error), error.hint) == ("what failed", "what to try")


def test_cfg_error_names_file_and_line() -> None:
    assert str(CfgError("bad", path="a.cfg", line=3)) == "a.cfg:3: bad"
    assert str(CfgError("bad", path="a.cfg")) == "a.cfg: bad"
