"""One sink a camera: who gets what, and that all of them are closed."""

from __future__ import annotations

import pytest

from edgeyolo.frames import NotedSink, Result
from edgeyolo.show import PerCamera
from tests.show.results import result


class Spy:
    def __init__(self, *, wants_picture: bool = False, fails: bool = False) -> None:
        self.wants_picture = wants_picture
        self.frames: list[int] = []
        self.closed = 0
        self._fails = fails

    def write(self, result: Result) -> None:
        self.frames.append(result.frame.index)

    def close(self) -> None:
        self.closed += 1
        if self._fails:
            raise OSError("full")


class Noted(Spy):
    notes = ("a note",)


def test_each_camera_has_its_own() -> None:
    door, yard = Spy(), Noted(wants_picture=True)
    sink = PerCamera({"door": door, "yard": yard})
    assert isinstance(sink, NotedSink)
    assert sink.wants_picture
    assert sink.notes == ("a note",)
    for index, camera in enumerate(["door", "yard", "yard", "door"]):
        sink.write(result(index, camera=camera))
    sink.close()
    assert (door.frames, yard.frames) == ([0, 3], [1, 2])
    assert (door.closed, yard.closed) == (1, 1)


def test_all_are_closed_whatever_one_says() -> None:
    sinks = {"a": Spy(fails=True), "b": Spy(), "c": Spy(fails=True)}
    with pytest.raises(OSError, match="full"):
        PerCamera(sinks).close()
    assert [sink.closed for sink in sinks.values()] == [1, 1, 1]
