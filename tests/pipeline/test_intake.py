"""Who waits for whom in front of the model: newest of a camera, all of a file, each in turn."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.frames import Frame
from edgeyolo.pipeline.channel import Ended, Halted
from edgeyolo.pipeline.intake import Intake

IMAGE = np.zeros((1, 1, 3), np.uint8)


def frame(camera: str, index: int) -> Frame:
    return Frame(image_bgr=IMAGE, source=camera, index=index, time_s=0.0, captured_at_s=0.0, camera=camera)


def taken(intake: Intake, most: int = 1) -> list[tuple[str, int]]:
    return [(f.camera, f.index) for f in intake.take(most)]


@given(puts=st.lists(st.sampled_from("abc"), max_size=60), most=st.integers(1, 4))
def test_of_cameras_the_newest_frames_are_taken_and_the_others_counted(puts: list[str], most: int) -> None:
    dropped: Counter[str] = Counter()
    intake = Intake(dict.fromkeys("abc", True), on_drop=lambda camera: dropped.update([camera]))
    for index, camera in enumerate(puts):
        intake.put(frame(camera, index))
    for camera in "abc":
        intake.end(camera)
    got: list[tuple[str, int]] = []
    while True:
        try:
            got += taken(intake, most)
        except Ended:
            break
    assert sorted(got) == sorted({camera: index for index, camera in enumerate(puts)}.items())
    assert dropped == Counter(puts) - Counter(camera for camera, _ in got)


@pytest.mark.parametrize("most", [1, 2])
def test_no_camera_starves(most: int) -> None:
    """One camera has a new frame at every look, the others too: each is served equally often."""
    intake = Intake(dict.fromkeys("abc", True))
    served: Counter[str] = Counter()
    for index in range(30):
        for camera in "abc":
            intake.put(frame(camera, index))
        served.update(camera for camera, _ in taken(intake, most))
    assert set(served.values()) == {10 * most}


def test_a_batch_takes_what_is_there_of_cameras_and_waits_for_none() -> None:
    intake = Intake({"a": True, "b": True})
    intake.put(frame("a", 0))
    assert taken(intake, 8) == [("a", 0)]


def test_a_file_and_a_camera_take_turns() -> None:
    intake = Intake({"file": False, "camera": True})
    for index in range(4):
        intake.put(frame("file", index))
        intake.put(frame("camera", index))
    assert taken(intake, 1) + taken(intake, 1) + taken(intake, 1) == [("file", 0), ("camera", 3), ("file", 1)]


def test_a_file_waits_until_there_is_room() -> None:
    intake = Intake({"file": False})
    put: list[int] = []

    def fill() -> None:
        for index in range(20):
            intake.put(frame("file", index))
            put.append(index)
        intake.end("file")

    thread = threading.Thread(target=fill)
    thread.start()
    got: list[int] = []
    while True:
        try:
            got += [index for _, index in taken(intake, 3)]
        except Ended:
            break
        assert len(put) - len(got) <= 4
    thread.join()
    assert got == list(range(20))


@pytest.mark.parametrize("live", [True, False])
def test_a_limit_counts_frames_that_are_taken(live: bool) -> None:
    intake = Intake({"a": live}, limit=2)
    got: list[int] = []
    index = 0
    while intake.wants("a"):
        intake.put(frame("a", index))
        index += 1
        got += [i for _, i in taken(intake, 1)]
    if not live:
        intake.end("a")  # as the reader does when no more is wanted
    intake_is_empty = pytest.raises(Ended)
    with intake_is_empty:
        intake.take(1)
    assert got == [0, 1]


def test_a_camera_that_brings_one_more_than_its_limit() -> None:
    intake = Intake({"a": True}, limit=1)
    intake.put(frame("a", 0))
    assert taken(intake) == [("a", 0)]
    intake.put(frame("a", 1))
    with pytest.raises(Ended):
        intake.take(1)


def test_frames_that_a_fault_lost_come_first_of_a_file_and_are_dropped_of_a_camera() -> None:
    dropped: list[str] = []
    intake = Intake({"file": False, "camera": True}, on_drop=dropped.append)
    for index in range(3):
        intake.put(frame("file", index))
    intake.put(frame("camera", 0))
    lost = intake.take(3)
    assert [(f.camera, f.index) for f in lost] == [("file", 0), ("camera", 0), ("file", 1)]
    intake.requeue(lost)
    intake.end("file")
    intake.end("camera")
    assert taken(intake, 9) == [("file", 0), ("file", 1), ("file", 2)]
    assert dropped == ["camera"]


def test_halt_wakes_everybody() -> None:
    intake = Intake({"full": False, "empty": True})
    for index in range(4):
        intake.put(frame("full", index))
    woken: list[str] = []

    def wait_for_room() -> None:
        with pytest.raises(Halted):
            intake.put(frame("full", 4))
        woken.append("put")

    thread = threading.Thread(target=wait_for_room)
    thread.start()
    intake.halt()
    thread.join(timeout=10)
    assert woken == ["put"]
    with pytest.raises(Halted):
        intake.take(1)
    assert not intake.wants("empty")
