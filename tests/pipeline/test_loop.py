"""The frame loop: order, loss, faults in every stage, stopping, threads, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.errors import EngineError, OutputError, SourceError
from edgeyolo.frames import Frame, Result
from edgeyolo.pipeline.channel import Channel, Ended, Halted
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.pipeline.stats import STAGES
from edgeyolo.runtime import Detector, open_engine
from tests import tiny_models

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")


class Colours:
    """A source whose frame k is red by an amount that tells k; raises after `fails_at` frames."""

    live = False
    notes: tuple[str, ...] = ()
    fps = 25.0
    name = "colours"

    def __init__(self, count: int, *, fails_at: int | None = None, endless: bool = False) -> None:
        self.frame_count = None if endless else count
        self._fails_at = fails_at
        self.closed = 0
        self.given = 0

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while self.frame_count is None or index < self.frame_count:
            if index == self._fails_at:
                raise SourceError(f"frame {index} is broken")
            self.given += 1
            image = tiny_models.picture((0, 0, 128 + index % 100), wh=(32, 32))
            yield Frame(
                image_bgr=image,
                source=self.name,
                index=index,
                time_s=index / 25,
                captured_at_s=time.monotonic(),
            )
            index += 1

    def close(self) -> None:
        self.closed += 1


class Kept:
    """A sink that keeps results, slowly if asked, and fails at a frame if asked."""

    def __init__(
        self, *, wants_picture: bool = False, slow_s: float = 0.0, fails_at: int | None = None
    ) -> None:
        self.wants_picture = wants_picture
        self._slow_s = slow_s
        self._fails_at = fails_at
        self.results: list[Result] = []
        self.closed = 0

    def write(self, result: Result) -> None:
        if result.frame.index == self._fails_at:
            raise OutputError("the disk is full")
        time.sleep(self._slow_s)
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(params=[1, 4, None], ids=["batch 1", "batch 4", "dynamic"])
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Detector]:
    build(tiny_models.write_detector(tmp_path / "m.onnx", batch=request.param), tmp_path / "m.engine")
    with Detector(open_engine(tmp_path / "m.engine", threads=1, max_batch=3), conf=0.3) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("slow_s", [0.0, 0.004])
def test_every_frame_comes_once_in_order_with_its_own_result(slow_s: float, detector: Detector) -> None:
    source, sink = Colours(50), Kept(slow_s=slow_s)
    report = FrameLoop({"0": source}, detector, [sink]).run()
    assert [r.frame.index for r in sink.results] == list(range(50))
    for index, result in enumerate(sink.results):
        assert len(result.output) == 4
        np.testing.assert_allclose(result.output.scores, (128 + index) / 255, atol=1e-6)
    assert report.frames == 50
    assert not report.stopped
    assert source.closed == sink.closed == 1


def test_times_of_stages(detector: Detector) -> None:
    sink = Kept(wants_picture=True)
    report = FrameLoop({"0": Colours(7)}, detector, [sink], LoopConfig(draw=lambda image, result: None)).run()
    counts = {stage: report.times.count(stage) for stage in STAGES}
    inferences = counts.pop("infer")
    assert counts == dict.fromkeys(counts, 7)
    assert inferences == -(-7 // detector.engine.batch)
    assert set(sink.results[0].stage_ms) == {"preprocess", "infer", "postprocess"}
    assert sink.results[0].latency_ms == sum(sink.results[0].stage_ms.values()) > 0


def test_a_picture_is_drawn_once_and_on_a_copy(detector: Detector) -> None:
    drawn: list[int] = []

    def draw(image: np.ndarray, result: Result) -> None:
        drawn.append(len(result.output))
        image[:] = 7

    sinks = [Kept(wants_picture=True), Kept(wants_picture=True), Kept()]
    FrameLoop({"0": Colours(3)}, detector, sinks, LoopConfig(draw=draw)).run()
    assert drawn == [4, 4, 4]
    for sink in sinks:
        assert all(r.picture_bgr is not None and (r.picture_bgr == 7).all() for r in sink.results)
        assert sink.results[0].frame.image_bgr[0, 0].tolist() == [0, 0, 128]


def test_nothing_is_drawn_where_no_sink_wants_it(detector: Detector) -> None:
    def draw(image: np.ndarray, result: Result) -> None:
        raise AssertionError("drawn for nobody")

    sink = Kept()
    FrameLoop({"0": Colours(3)}, detector, [sink], LoopConfig(draw=draw)).run()
    assert [r.picture_bgr for r in sink.results] == [None] * 3


@pytest.mark.parametrize("limit", [1, 5, 6, 50])
def test_a_limit(limit: int, detector: Detector) -> None:
    source, sink = Colours(20), Kept()
    report = FrameLoop({"0": source}, detector, [sink], LoopConfig(limit=limit)).run()
    assert report.frames == len(sink.results) == source.given == min(limit, 20)
    assert not report.stopped


def test_a_slow_sink_makes_the_source_wait(detector: Detector) -> None:
    """At no time are more frames under way than the channels and slots can hold."""
    source = Colours(60)
    under_way: list[int] = []

    class Watching(Kept):
        def write(self, result: Result) -> None:
            time.sleep(0.002)
            super().write(result)
            under_way.append(source.given - len(self.results))

    FrameLoop({"0": source}, detector, [Watching()]).run()
    # 4 waiting, 1 in the hands of capture, 2 slots, and one work item being delivered.
    assert max(under_way) <= 4 + 1 + 3 * detector.engine.batch


@pytest.mark.parametrize("fails_at", [0, 1, 13])
def test_a_source_that_fails(fails_at: int, detector: Detector) -> None:
    source, sinks = Colours(50, fails_at=fails_at), [Kept(), Kept()]
    with pytest.raises(SourceError, match=f"frame {fails_at} is broken"):
        FrameLoop({"0": source}, detector, sinks).run()
    assert source.closed == 1
    assert [sink.closed for sink in sinks] == [1, 1]
    # What was delivered before is a beginning of the source, in order.
    assert [r.frame.index for r in sinks[0].results] == list(range(len(sinks[0].results)))


@pytest.mark.parametrize("fails_at", [0, 17])
def test_a_sink_that_fails(fails_at: int, detector: Detector) -> None:
    source = Colours(0, endless=True)
    good, bad, after = Kept(), Kept(fails_at=fails_at), Kept()
    with pytest.raises(OutputError, match="disk is full"):
        FrameLoop({"0": source}, detector, [good, bad, after]).run()
    assert len(good.results) == fails_at + 1
    assert len(after.results) == fails_at
    assert source.closed == good.closed == bad.closed == after.closed == 1


def _failing(after: int, error: Exception, call: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(after))

    def fail(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise error
        return call(*arguments, **options)

    return fail


@pytest.mark.parametrize("stage", ["preprocess", "infer", "postprocess"])
@pytest.mark.parametrize("after", [0, 4])
def test_a_model_that_fails(
    stage: str, after: int, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = Colours(0, endless=True), Kept()
    error = EngineError("out of memory")
    monkeypatch.setattr(detector, stage, _failing(after, error, getattr(detector, stage)))
    with pytest.raises(EngineError) as raised:
        FrameLoop({"0": source}, detector, [sink]).run()
    assert raised.value is error
    assert source.closed == sink.closed == 1


def test_a_sink_that_cannot_be_closed(detector: Detector) -> None:
    class Stuck(Kept):
        def close(self) -> None:
            super().close()
            raise OutputError("not finished")

    stuck, other = Stuck(), Kept()
    with pytest.raises(OutputError, match="not finished"):
        FrameLoop({"0": Colours(3)}, detector, [stuck, other]).run()
    assert stuck.closed == other.closed == 1


def test_the_first_failure_is_the_one_that_is_raised(
    detector: Detector, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Kept):
        def close(self) -> None:
            raise OutputError("not finished")

    with pytest.raises(SourceError, match="frame 3 is broken"):
        FrameLoop({"0": Colours(9, fails_at=3)}, detector, [Stuck()]).run()
    assert "not finished" in caplog.text


def test_stop_ends_an_endless_source(detector: Detector) -> None:
    stop = threading.Event()

    class Stopping(Kept):
        def write(self, result: Result) -> None:
            super().write(result)
            if len(self.results) == 10:
                stop.set()

    source, sink = Colours(0, endless=True), Stopping()
    sources = {"0": source}
    report = FrameLoop(sources, detector, [sink], monitor=Monitor(sources, detector, stop=stop)).run()
    assert report.stopped
    assert report.frames == len(sink.results)
    assert 10 <= report.frames < 10 + detector.engine.batch
    assert source.closed == sink.closed == 1


def test_stop_wakes_a_loop_whose_source_is_stuck(detector: Detector) -> None:
    release = threading.Event()

    class Stuck(Colours):
        def __iter__(self) -> Iterator[Frame]:
            yield from Colours(2)
            release.wait()

    stop, source, sink = threading.Event(), Stuck(0), Kept()
    threading.Timer(0.05, stop.set).start()
    threading.Timer(0.3, release.set).start()  # a real source is woken by its own time limit
    sources = {"0": source}
    report = FrameLoop(sources, detector, [sink], monitor=Monitor(sources, detector, stop=stop)).run()
    assert report.stopped
    assert source.closed == sink.closed == 1


def test_an_exception_in_the_calling_thread(detector: Detector) -> None:
    """Such as a second Ctrl-C: everything is closed all the same."""

    class Interrupted(Kept):
        def write(self, result: Result) -> None:
            raise KeyboardInterrupt

    source, sink = Colours(0, endless=True), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        FrameLoop({"0": source}, detector, [sink]).run()
    assert source.closed == sink.closed == 1


def test_no_frames_at_all(detector: Detector) -> None:
    report = FrameLoop({"0": Colours(0)}, detector, [Kept()]).run()
    assert report.frames == 0
    assert not report.stopped


def test_a_channel_is_in_order_and_bounded() -> None:
    channel: Channel[int] = Channel(3)
    got: list[int] = []

    def take() -> None:
        while True:
            try:
                got.append(channel.get())
            except Ended:
                return

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(1000):
        channel.put(number)
    channel.end()
    taker.join()
    assert got == list(range(1000))


def test_a_channel_that_is_halted_wakes_everybody() -> None:
    full: Channel[int] = Channel(1)
    full.put(1)
    empty: Channel[int] = Channel(1)
    halted: list[str] = []

    def wait(call: Callable[[], object], name: str) -> None:
        with pytest.raises(Halted):
            call()
        halted.append(name)

    threads = [
        threading.Thread(target=wait, args=(lambda: full.put(2), "put")),
        threading.Thread(target=wait, args=(empty.get, "get")),
    ]
    for thread in threads:
        thread.start()
    full.halt()
    empty.halt()
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(halted) == ["get", "put"]
    with pytest.raises(Halted):
        full.get()  # what is in it is lost


def test_a_channel_that_gives_nothing_in_time() -> None:
    with pytest.raises(TimeoutError):
        Channel[int](1).get(timeout_s=0.001)
