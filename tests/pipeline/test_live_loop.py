"""Live cameras in the frame loop: reconnection, the watchdog, several cameras, a faulty engine, control."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.detections import Detections
from edgeyolo.errors import (
    ConfigError,
    EngineError,
    FrameTimeoutError,
    InferenceError,
    SourceError,
    SourceRefusedError,
)
from edgeyolo.frames import Event, Frame, Result
from edgeyolo.pipeline import capture
from edgeyolo.pipeline.loop import FrameLoop, LoopConfig, LoopReport
from edgeyolo.pipeline.monitor import Monitor
from edgeyolo.runtime import Detector, open_engine
from tests import tiny_models
from tests.pipeline.live_source import Hang, ScriptedCamera
from tests.pipeline.test_loop import Colours, Kept

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

ENOUGH_S = 60.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_detector(folder / "m.onnx", batch=None), folder / "m.engine")
    return folder / "m.engine"


@pytest.fixture
def detector(engine: Path) -> Iterator[Detector]:
    with Detector(open_engine(engine, threads=1, max_batch=3), conf=0.3) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        capture.BackOff, "next_s", lambda self: setattr(self, "failures", self.failures + 1) or 0.005
    )


class Until(Kept):
    """A sink that stops the run as soon as a condition holds, and fails it when that takes too long."""

    def __init__(self, done: Callable[[Until], bool]) -> None:
        super().__init__()
        self.monitor: Monitor
        self._done = done
        self._until = time.monotonic() + ENOUGH_S

    def write(self, result: Result) -> None:
        super().write(result)
        self.idle()

    def idle(self) -> None:
        if time.monotonic() > self._until:
            raise AssertionError(f"not in time: {self.monitor.status()}")
        if self._done(self):
            self.monitor.stop()


def run(
    sources: Mapping[str, Any],
    detector: Detector,
    done: Callable[[Until], bool],
    config: LoopConfig | None = None,
    *,
    stall_timeout_s: float = 30.0,
) -> tuple[Until, LoopReport, list[str]]:
    said: list[str] = []
    sink = Until(done)
    sink.monitor = Monitor(sources, detector, stall_timeout_s=stall_timeout_s, say=said.append)
    report = FrameLoop(sources, detector, [sink], config, sink.monitor).run()
    return sink, report, said


def test_a_camera_that_fails_is_connected_to_again(detector: Detector) -> None:
    camera = ScriptedCamera(
        [3, SourceError("camera://test: cable pulled")], [0], [FrameTimeoutError("no frame")], [5]
    )
    sink, report, said = run({"0": camera}, detector, lambda s: s.monitor.status().sources[0].reconnects == 2)
    indices = [result.frame.index for result in sink.results]
    assert indices == sorted(set(indices))  # numbered through, whatever the camera counts
    times = [result.frame.time_s for result in sink.results]
    assert times == sorted(times)
    (status,) = report.status.sources
    assert status.captured >= status.results + status.dropped
    assert status.reconnects == 2
    assert any("cable pulled; next attempt in" in line for line in said)
    assert any("the stream ended; next attempt" in line for line in said)
    assert any("no frame; next attempt" in line for line in said)
    assert said[0].startswith("camera://test: live after")
    assert "decoder: none" in said[0]
    assert sum(line.endswith("live again") for line in said) == 2
    assert camera.closed >= 1


def test_a_camera_that_is_not_there_yet_is_waited_for(detector: Detector) -> None:
    away = [SourceError("camera://test: no route to host")]
    camera = ScriptedCamera(away, away, away, [1000])
    sink, report, said = run({"0": camera}, detector, lambda s: len(s.results) == 3)
    assert len(sink.results) >= 3
    assert sum("no route to host" in line for line in said) == 3
    assert report.stopped


def test_a_camera_that_refuses_us_from_the_start_ends_the_run(detector: Detector) -> None:
    camera = ScriptedCamera([SourceRefusedError("camera://test: wrong password")])
    with pytest.raises(SourceRefusedError, match="wrong password"):
        run({"0": camera}, detector, lambda s: False)
    assert camera.connections == 1


def test_a_camera_that_worked_and_then_refuses_us_is_tried_again(detector: Detector) -> None:
    camera = ScriptedCamera([2], [SourceRefusedError("camera://test: no such stream")], [1000])
    sink, _, _ = run({"0": camera}, detector, lambda s: s.monitor.status().sources[0].reconnects == 1)
    assert camera.connections == 3
    assert sink.closed == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_can_be_limited(retries: int, detector: Detector) -> None:
    camera = ScriptedCamera([SourceError("camera://test: away")])
    with pytest.raises(SourceError, match="away"):
        run({"0": camera}, detector, lambda s: False, LoopConfig(retries=retries))
    assert camera.connections == retries + 1


def test_other_cameras_go_on_when_one_is_given_up(detector: Detector) -> None:
    bad, good = ScriptedCamera([SourceError("bad: away")], name="bad"), ScriptedCamera([10**6], name="good")

    def done(sink: Until) -> bool:
        states = {s.camera: s.state for s in sink.monitor.status().sources}
        return states["bad"] == "failed" and len(sink.results) > 20

    sink, report, _ = run({"bad": bad, "good": good}, detector, done, LoopConfig(retries=1))
    assert {result.frame.camera for result in sink.results} == {"good"}
    failed, live = report.status.sources
    assert (failed.state, failed.reason) == ("failed", "bad: away")
    assert live.state == "live"


def test_one_of_several_that_failed_is_raised_when_the_others_have_ended(detector: Detector) -> None:
    sources = {"film": Colours(9), "bad": ScriptedCamera([SourceError("bad: away")])}
    sink = Kept()
    with pytest.raises(SourceError, match="bad: away"):
        FrameLoop(sources, detector, [sink], LoopConfig(retries=0)).run()
    assert [r.frame.index for r in sink.results] == list(range(9))  # the film was seen to its end


def test_a_slow_model_gets_the_newest_frame(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model works on one frame many come; the next that it sees is the last of them."""
    newest, lags = [0], []
    camera = ScriptedCamera([10**6], on_frame=lambda index: newest.__setitem__(0, index))
    infer, preprocess = detector.infer, detector.preprocess

    def slow(slot: int = 0, batch: int = 1) -> Any:
        time.sleep(0.03)
        return infer(slot, batch)

    def watched(image: np.ndarray, slot: int = 0, index: int = 0) -> Any:
        lags.append((newest[0] - int(image[0, 0, 0])) % 256)
        return preprocess(image, slot, index)

    monkeypatch.setattr(detector, "infer", slow)
    monkeypatch.setattr(detector, "preprocess", watched)
    _, report, _ = run({"0": camera}, detector, lambda s: len(s.results) == 25)
    (status,) = report.status.sources
    assert status.dropped > 25  # frames come every few ms, answers every 30
    assert sorted(lags)[len(lags) // 2] <= 2
    assert status.age_ms["p50"] > 0
    assert status.captured >= status.dropped + status.results


def test_cameras_share_the_model_fairly(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = detector.infer

    def slow(slot: int = 0, batch: int = 1) -> Any:
        time.sleep(0.01)
        return infer(slot, batch)

    monkeypatch.setattr(detector, "infer", slow)
    # One camera is ten times as fast as the others: it gets no more for that.
    cameras = {
        name: ScriptedCamera([10**6], name=name, pause_s=pause)
        for name, pause in {"a": 0.0005, "b": 0.005, "c": 0.005, "d": 0.005}.items()
    }
    sink, _, _ = run(cameras, detector, lambda s: len(s.results) >= 120)
    counts = [sum(r.frame.camera == name for r in sink.results) for name in cameras]
    assert min(counts) > 0.5 * max(counts)
    for name in cameras:
        mine = [r.frame.index for r in sink.results if r.frame.camera == name]
        assert mine == sorted(set(mine))


def test_a_batch_holds_frames_of_several_cameras(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, batches = detector.infer, []

    def slow(slot: int = 0, batch: int = 1) -> Any:
        batches.append(batch)
        time.sleep(0.01)
        return infer(slot, batch)

    monkeypatch.setattr(detector, "infer", slow)
    cameras = {name: ScriptedCamera([10**6], name=name) for name in ("a", "b", "c")}
    run(cameras, detector, lambda s: len(s.results) >= 60)
    assert max(batches) == 3


def test_a_film_beside_a_camera_loses_nothing(detector: Detector) -> None:
    sources = {"film": Colours(40), "camera": ScriptedCamera([10**6])}

    def done(sink: Until) -> bool:
        return sum(r.frame.camera == "film" for r in sink.results) == 40

    sink, report, _ = run(sources, detector, done)
    assert [r.frame.index for r in sink.results if r.frame.camera == "film"] == list(range(40))
    assert report.status.sources[0].state == "ended"


@pytest.mark.parametrize("count", [1, 3])
def test_a_limit_of_a_camera_counts_results(count: int, detector: Detector) -> None:
    sink = Kept()
    cameras = {str(k): ScriptedCamera([10**6]) for k in range(2)}
    report = FrameLoop(cameras, detector, [sink], LoopConfig(limit=count)).run()
    assert report.frames == 2 * count
    assert not report.stopped


def test_a_source_that_hangs_is_left_behind(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_GRACE_S", 0.05)
    camera = ScriptedCamera([3, Hang], [10**6])
    sink, report, said = run(
        {"0": camera},
        detector,
        lambda s: len(s.results) > 20 and camera.connections == 2,
        stall_timeout_s=0.2,
    )
    camera.release.set()
    assert camera.closed >= 1
    assert report.status.sources[0].reconnects == 1
    assert any("hangs and cannot be closed" in line for line in said)
    indices = [result.frame.index for result in sink.results]
    assert indices == sorted(set(indices))


def test_a_silent_camera_is_stalled_before_it_is_given_up(detector: Detector) -> None:
    camera = ScriptedCamera([3, Hang])
    seen: set[str] = set()

    def done(sink: Until) -> bool:
        (status,) = sink.monitor.status().sources
        seen.add(status.state)
        if status.state == "stalled":
            assert status.reason is not None
            assert status.reason.startswith("no frame for ")
            camera.release.set()
        return status.state == "retrying" or "stalled" in seen

    run({"0": camera}, detector, done, stall_timeout_s=0.5)
    assert "stalled" in seen


# --- the engine -------------------------------------------------------------------------------------------


class Faulty:
    """Makes `infer` of a detector fail at given calls, counted over all engines."""

    def __init__(self, engine: Path, fails_at: Sequence[int], stage: str = "infer") -> None:
        self.opened: list[Detector] = []
        self._engine, self._fails_at, self._stage = engine, fails_at, stage
        self._calls = 0

    def open(self) -> Detector:
        detector = Detector(open_engine(self._engine, threads=1, max_batch=3), conf=0.3)
        whole = getattr(detector, self._stage)

        def fail(*arguments: Any) -> Any:
            self._calls += 1
            if self._calls - 1 in self._fails_at:
                raise EngineError("CUDA: illegal address", hint="a hint")
            return whole(*arguments)

        setattr(detector, self._stage, fail)
        self.opened.append(detector)
        return detector


@pytest.mark.parametrize("stage", ["infer", "preprocess", "start"])
@pytest.mark.parametrize("fails_at", [0, 1, 5])
def test_a_faulty_engine_is_loaded_again_and_a_film_loses_nothing(
    stage: str, fails_at: int, engine: Path
) -> None:
    faulty, sink = Faulty(engine, [fails_at], stage), Kept()
    with faulty.open() as model:
        monitor = Monitor({"0": (film := Colours(30))}, model)
        report = FrameLoop({"0": film}, model, [sink], LoopConfig(reopen=faulty.open), monitor).run()
    assert [result.frame.index for result in sink.results] == list(range(30))
    for index, result in enumerate(sink.results):
        np.testing.assert_allclose(result.output.scores, (128 + index) / 255, atol=1e-6)
    assert len(faulty.opened) == 2
    assert report.status.engine_restarts == 1
    with pytest.raises(EngineError):  # both are closed: the first by the restart, the second by the loop
        faulty.opened[1].engine.infer(0)


def test_an_engine_that_fails_again_ends_the_run(engine: Path) -> None:
    faulty, sink = Faulty(engine, [4, 9]), Kept()
    with faulty.open() as model, pytest.raises(InferenceError, match="failed again: CUDA: illegal") as raised:
        FrameLoop({"0": Colours(100)}, model, [sink], LoopConfig(reopen=faulty.open)).run()
    assert raised.value.exit_code == 1
    assert raised.value.hint == "a hint"
    assert len(faulty.opened) == 2
    assert sink.closed == 1


def test_what_was_chosen_stays_chosen_when_the_engine_is_loaded_again(engine: Path) -> None:
    faulty = Faulty(engine, [6])
    with faulty.open() as model:
        sources = {"0": ScriptedCamera([10**6])}

        def done(sink: Until) -> bool:
            if len(sink.results) == 2:
                sink.monitor.set_conf(0.77)
                sink.monitor.set_classes(["red"])
            return len(faulty.opened) == 2 and len(sink.results) > 12

        _, report, _ = run(sources, model, done, LoopConfig(reopen=faulty.open))
        assert faulty.opened[1].conf == 0.77
        assert report.status.conf == 0.77
        assert report.status.class_ids == (0,)


# --- control and analysis -----------------------------------------------------------------------------------


def test_control_refuses_what_has_no_meaning(detector: Detector) -> None:
    monitor = Monitor({"0": Colours(1)}, detector)
    with pytest.raises(ConfigError, match=r"0\.\.1 expected"):
        monitor.set_conf(1.5)
    with pytest.raises(ConfigError, match="not one of the engine's"):
        monitor.set_classes(["unicorn"])
    monitor.set_classes(None)
    assert monitor.status().class_ids is None


class Follower:
    """An analyst that numbers frames and says which of them the model saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []
        self._last = Detections.empty()

    def update(self, frame: Frame, found: Detections | None) -> tuple[Detections, tuple[Event, ...]]:
        self.seen.append((frame.index, found is not None))
        self._last = self._last if found is None else found
        return self._last, ()

    def draw(self, picture_bgr: np.ndarray) -> None:
        picture_bgr[:] = 9


@pytest.mark.parametrize("every", [1, 3])
def test_analysts_follow_between_detections(every: int, detector: Detector) -> None:
    follower, sink = Follower(), Kept()
    FrameLoop({"0": Colours(20)}, detector, [sink], LoopConfig(every=every, analysts={"0": follower})).run()
    assert follower.seen == [(index, index % every == 0) for index in range(20)]
    assert [result.frame.index for result in sink.results] == list(range(20))
    assert [result.detected for result in sink.results] == [index % every == 0 for index in range(20)]
    for index, result in enumerate(sink.results):
        np.testing.assert_allclose(result.output.scores, (128 + index - index % every) / 255, atol=1e-6)


def test_a_run_ends_soon_while_a_camera_connects(detector: Detector) -> None:
    camera = ScriptedCamera([Hang])
    threading.Timer(0.1, camera.release.set).start()
    sink = Until(lambda s: True)
    sink.monitor = Monitor({"0": camera}, detector)
    report = FrameLoop({"0": camera}, detector, [sink], None, sink.monitor).run()
    assert report.frames == 0
    assert sink.closed == 1
