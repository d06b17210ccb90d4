"""``run`` with ``--track``, ``--every`` and ``--events``: what a user gets, and what is refused and how."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from edgeyolo.build import build
from edgeyolo.errors import ConfigError, OutputError
from edgeyolo.pipeline.run import RunConfig, RunReport, run
from edgeyolo.pipeline.sinks import SinkConfig, WebConfig
from edgeyolo.pipeline.watch import WatchConfig
from edgeyolo.rules import Line, Rules, Zone, read_rules, toml_from_rules
from tests import tiny_models
from tests.command import COMMAND, edgeyolo

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
cv2 = pytest.importorskip("cv2")

RED, BLACK = (0, 0, 255), (0, 0, 0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    build(tiny_models.write_detector(folder / "m.onnx"), folder / "m.engine")
    return folder / "m.engine"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 40 frames at 10 a second: red is in the upper left quarter, in the last 20 in the lower one."""
    path = tmp_path_factory.mktemp("video") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for index in range(40):
        quarters = [BLACK] * 4
        quarters[0 if index < 20 else 2] = RED
        writer.write(tiny_models.picture(*quarters))
    writer.release()
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "events.toml"
    zone = Zone(name="low", points=((0, 0.5), (1, 0.5), (1, 1), (0, 1)), point="centre", dwell=1)
    line = Line(
        name="middle", a=(0, 0.5), b=(1, 0.5), point="centre", left_to_right="down", right_to_left="up"
    )
    path.write_text(toml_from_rules(Rules(zones=(zone,), lines=(line,))), encoding="utf-8")
    return path


def _run(
    engine: Path, source: Path | str, tmp_path: Path, **watch: Any
) -> tuple[RunReport, list[dict[str, Any]]]:
    jsonl = tmp_path / "out.jsonl"
    report = run(
        RunConfig(
            engine=engine, sources=[str(source)], sinks=SinkConfig(jsonl=jsonl), conf=0.6,
            watch=WatchConfig(**watch),
        )
    )  # fmt: skip
    return report, [json.loads(line) for line in jsonl.read_text().splitlines()]


def test_what_the_scene_of_these_tests_is(engine: Path, video: Path, tmp_path: Path) -> None:
    _, lines = _run(engine, video, tmp_path)
    assert all(len(line["detections"]) == 1 for line in lines)
    assert "track_id" not in lines[0]["detections"][0]
    tops = [line["detections"][0]["box"][1] for line in lines]
    assert max(tops[:20]) < 32 <= min(tops[20:]) + 2


def test_objects_have_numbers(engine: Path, video: Path, tmp_path: Path) -> None:
    _, lines = _run(engine, video, tmp_path, track=True)
    numbers = [line["detections"][0]["track_id"] for line in lines]
    assert numbers[0] == 0  # seen once, not sure yet
    assert set(numbers[1:20]) == {1}
    assert all("events" not in line for line in lines)


def test_boxes_are_followed_between_detections(engine: Path, video: Path, tmp_path: Path) -> None:
    _, lines = _run(engine, video, tmp_path, every=4)
    assert [line.get("detected", True) for line in lines] == [index % 4 == 0 for index in range(40)]
    still = lines[5:20]  # from the second detection on
    assert {tuple(entry["track_id"] for entry in line["detections"]) for line in still} == {(1,)}
    boxes = np.array([line["detections"][0]["box"] for line in still])
    assert np.ptp(boxes, axis=0).max() < 1


def test_events_come_with_their_frame(engine: Path, video: Path, rules: Path, tmp_path: Path) -> None:
    report, lines = _run(engine, video, tmp_path, events=rules)
    told = [event for line in lines for event in line.get("events", ())]
    kinds = [(event["kind"], event["where"]) for event in told]
    assert ("enter", "low") in kinds
    assert ("dwell", "low") in kinds
    for line in lines:
        assert all(event["frame"] == line["frame"] for event in line.get("events", ()))
    assert "low: 1 inside, 1 entered, 0 left" in report.summary
    assert any(line.startswith("middle: ") for line in report.summary)


def test_counters_survive_a_run(engine: Path, video: Path, rules: Path, tmp_path: Path) -> None:
    state = tmp_path / "deep" / "counts.json"
    for times in (1, 2):
        report, _ = _run(engine, video, tmp_path, events=rules, state=state)
        assert f"low: 1 inside, {times} entered, 0 left" in report.summary
        kept = json.loads(state.read_text())
        assert kept["cameras"]["0"]["low"]["entered"] == times


@pytest.mark.parametrize("text", ["", "[]", '{"format": "edgeyolo.counts/1", "cameras": {"0": {"low": 3}}}'])
def test_a_file_that_holds_no_counters_is_not_overwritten(
    engine: Path, video: Path, rules: Path, tmp_path: Path, text: str
) -> None:
    state = tmp_path / "counts.json"
    state.write_text(text)
    with pytest.raises(ConfigError, match="a file of counters") as caught:
        _run(engine, video, tmp_path, events=rules, state=state)
    assert "remove it" in str(caught.value.hint)
    assert state.read_text() == text


def test_a_place_that_cannot_keep_counters_is_told_at_the_start(
    engine: Path, video: Path, rules: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        _run(engine, video, tmp_path, events=rules, state=Path("/proc/none/counts.json"))


def test_rules_that_do_not_fit_the_run(engine: Path, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    for rule, expected in (
        ({"camera": "yard"}, "a: camera 'yard' is none of this run"),
        ({"classes": ("unicorn",)}, "a: classes: 'unicorn' is not one of the engine's"),
    ):
        path.write_text(toml_from_rules(Rules(lines=(Line(name="a", a=(0, 0), b=(1, 1), **rule),))))
        with pytest.raises(ConfigError, match=expected):
            _run(engine, video, tmp_path, events=path)


def test_a_rule_for_what_the_run_leaves_out(engine: Path, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(toml_from_rules(Rules(lines=(Line(name="a", a=(0, 0), b=(1, 1), classes=(1,)),))))
    config = RunConfig(engine=engine, sources=[str(video)], classes=["0"], watch=WatchConfig(events=path))
    with pytest.raises(ConfigError, match="a: it is for classes that --classes leaves out"):
        run(config)


def test_pictures_and_classifiers_are_refused(engine: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match="to follow objects in time; pictures found"):
        _run(engine, tmp_path / "a.png", tmp_path, track=True)
    build(tiny_models.write_classifier(tmp_path / "c.onnx"), tmp_path / "c.engine")
    with pytest.raises(ConfigError, match="for detectors"):
        run(
            RunConfig(
                engine=tmp_path / "c.engine", sources=["test://?frames=2"], watch=WatchConfig(track=True)
            )
        )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [({"every": 0}, "--every: 1 or more"), ({"state": Path("x")}, "--events-state is for --events"),
     ({"editable": True}, "--events-editable is for --events")],
)  # fmt: skip
def test_options_that_mean_nothing(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        WatchConfig(**keys)


def test_only_a_page_can_edit(engine: Path) -> None:
    watch = WatchConfig(events=Path("e.toml"), editable=True)
    with pytest.raises(ConfigError, match="--events-editable is for --web"):
        RunConfig(engine=engine, sources=["test://"], watch=watch)
    RunConfig(
        engine=engine,
        sources=["test://"],
        watch=watch,
        sinks=SinkConfig(web=WebConfig(address="127.0.0.1:0")),
    )


def test_the_command(engine: Path, video: Path, rules: Path, tmp_path: Path) -> None:
    done = edgeyolo(
        "run", engine, video, "--conf", "0.6", "--events", rules, "--every", "2", "--save", tmp_path / "o.mp4"
    )
    assert done.returncode == 0, done.stderr
    assert "low: 1 inside, 1 entered, 0 left" in done.stdout
    rules.write_text("[[zone]]\nnmae = 3\n")
    done = edgeyolo("run", engine, video, "--events", rules)
    assert done.returncode == 2
    assert "key 'nmae' is not known; 'name' is" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.needs("web")
def test_a_zone_drawn_on_the_page_holds_in_the_running_run(engine: Path, tmp_path: Path) -> None:
    rules, jsonl = tmp_path / "events.toml", tmp_path / "out.jsonl"
    words = ["run", engine, "test://?fps=20&frames=0&live=1", "--web", "127.0.0.1:0", "--conf", "0.01"]
    words += ["--events", rules, "--events-editable", "--jsonl", jsonl]
    process = subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        page = next(line for line in process.stderr if line.startswith("web page: ")).split()[-1]
        zone = {"name": "all", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}
        assert _posted(page, {"zone": [zone | {"classes": ["unicorn"]}]})[0] == 400
        assert not rules.exists()
        status, answer = _posted(page, {"zone": [zone]})
        assert status == 200, answer
        assert rules.read_text() == toml_from_rules(read_rules(rules)) == answer["toml"]
        until = time.monotonic() + 60
        while '"where": "all"' not in jsonl.read_text():
            assert time.monotonic() < until, "no event of the zone"
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def _posted(page: str, tables: dict[str, Any]) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(urlsplit(page).netloc, timeout=30)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/api/zones", body=json.dumps(tables), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
