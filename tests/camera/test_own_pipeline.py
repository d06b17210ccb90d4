"""``gst:``: a pipeline of the user's own, and what every camera's frames have in common."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from edgeyolo.camera import open_source
from edgeyolo.errors import FrameTimeoutError, SourceError, SourceOpenError

pytestmark = pytest.mark.needs("gstreamer")

LIVE = "gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1"


def test_frames_are_counted_and_dated() -> None:
    source = open_source(LIVE)
    frames = iter(source)
    taken = [next(frames) for _ in range(8)]
    source.close()
    assert [*frames] == []
    assert source.live
    assert source.fps == 50
    assert {frame.image_bgr.shape for frame in taken} == {(48, 64, 3)}
    assert all(b.index > a.index for a, b in itertools.pairwise(taken))
    assert all(b.captured_at_s > a.captured_at_s for a, b in itertools.pairwise(taken))
    steps = np.diff([frame.captured_at_s for frame in taken]) / np.diff([frame.index for frame in taken])
    assert np.median(steps) == pytest.approx(0.02, rel=0.5)
    assert all(frame.captured_at_s <= time.monotonic() for frame in taken)


def test_only_the_newest_picture_waits() -> None:
    frames = iter(open_source(LIVE))
    first = next(frames)
    while time.monotonic() < first.captured_at_s + 0.5:
        threading.Event().wait(0.05)
    before = time.monotonic()
    waited, fresh = next(frames), next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert waited.index > first.index + 5  # those in between are gone, and counted
    assert fresh.captured_at_s > before - 0.3


def test_colours_come_as_bgr() -> None:
    text = "gst:videotestsrc num-buffers=1 pattern=solid-color foreground-color=0xffff8000"
    (frame,) = open_source(text)
    assert np.abs(frame.image_bgr.reshape(-1, 3).mean(0) - (0, 128, 255)).max() < 4


@pytest.mark.parametrize("width", [33, 64, 65, 66])
def test_rows_that_end_anywhere(width: int) -> None:
    (frame,) = open_source(
        f"gst:videotestsrc num-buffers=1 pattern=gradient ! video/x-raw,width={width},height=9"
    )
    assert frame.image_bgr.shape == (9, width, 3)
    assert (np.ptp(frame.image_bgr, axis=1) < 4).all()  # a wrong stride would slant it


def test_the_users_own_sink() -> None:
    (frame,) = open_source(
        "gst:videotestsrc num-buffers=1 ! video/x-raw,width=40,height=30 ! appsink name=sink"
    )
    assert frame.image_bgr.shape == (30, 40, 3)


def test_a_pipeline_ends() -> None:
    source = open_source("gst:videotestsrc num-buffers=1")
    assert len([*source]) == 1
    assert len([*source]) == 1  # iterating again runs it again


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("videotestsrc ! nonsense", 'no element "nonsense"'),
        ("videotestsrc ! ", "GStreamer does not take the pipeline"),
        ("videotestsrc ! fakesink", "GStreamer does not take the pipeline"),
        ("videotestsrc ! appsink", "an appsink of the name 'sink' expected"),
        ("", "GStreamer does not take the pipeline"),
    ],
)
def test_what_gstreamer_does_not_take(text: str, says: str) -> None:
    with pytest.raises(SourceOpenError, match=says):
        open_source(f"gst:{text}")


def test_a_complaint_of_the_bus_is_shown_with_its_element() -> None:
    with pytest.raises(SourceError, match=r"filesrc: .*/no/such/file"):
        next(iter(open_source("gst:filesrc location=/no/such/file ! decodebin")))


def test_a_password_in_a_pipeline_is_not_shown() -> None:
    text = "gst:rtspsrc location=rtsp://me:zq55qz@127.0.0.1:1/live user-pw=zq55qz ! decodebin"
    source = open_source(text)
    with pytest.raises(SourceError) as raised:
        next(iter(source))
    assert "zq55qz" not in source.name + raised.value.message


def test_no_picture_in_time() -> None:
    silent = "gst:videotestsrc is-live=true ! valve drop=true"
    with pytest.raises(FrameTimeoutError, match=r"no picture for 0\.3 s since it was opened"):
        next(iter(open_source(silent, stall_timeout_s=0.3)))


def test_closing_from_another_thread_ends_a_wait() -> None:
    source = open_source("gst:videotestsrc is-live=true ! valve drop=true", stall_timeout_s=60)
    ended = threading.Event()

    def read() -> None:
        assert [*source] == []
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    threading.Timer(0.3, source.close).start()
    assert ended.wait(20)
    thread.join()
    source.close()


def test_closed_before_it_is_read() -> None:
    source = open_source(LIVE)
    frames = iter(source)
    source.close()
    assert [*frames] == []
    assert next(iter(source)).index >= 0  # and read again
    source.close()
