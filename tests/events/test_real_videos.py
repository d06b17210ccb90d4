"""People and cars of two real videos, counted by eye and by line.

In ``one-by-one-person-detection.mp4`` six people, one after the other, come from below to a table, stand
there for half a minute or less, and go away to the right. In ``car-detection.mp4`` four cars drive by, seen
from above: one up, one down while another one goes up, one down. No class is asked for: the nets call such
a car many names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeyolo.build import build
from edgeyolo.pipeline.run import RunConfig, run
from edgeyolo.pipeline.sinks import SinkConfig
from edgeyolo.pipeline.watch import WatchConfig
from edgeyolo.rules import Line, Rules, Zone, toml_from_rules

pytestmark = [pytest.mark.needs("shared-data", "onnx", "onnxruntime", "opencv"), pytest.mark.slow]

TABLE = Zone(
    name="table", points=((0.35, 0.6), (0.8, 0.6), (0.8, 1), (0.35, 1)), classes=("person",), dwell=5
)
EXIT = Line(name="exit", a=(0.78, 1), b=(0.78, 0), classes=("person",))
ROAD = Line(name="road", a=(0, 0.5), b=(1, 0.5), point="centre", left_to_right="down", right_to_left="up")


@pytest.fixture(scope="module")
def engine(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeyolo.darknet.convert import ConvertOptions, convert

    folder = tmp_path_factory.mktemp("fastest")
    cfg, weights = (shared_data / "darknet" / f"yolo-fastest-1.1-xl.{kind}" for kind in ("cfg", "weights"))
    convert(cfg, weights, folder / "m.onnx", ConvertOptions())
    build(folder / "m.onnx", folder / "m.engine")
    return folder / "m.engine"


def _events(engine: Path, video: Path, rules: Rules, folder: Path, **watch: Any) -> list[dict[str, Any]]:
    (folder / "events.toml").write_text(toml_from_rules(rules))
    jsonl = folder / "out.jsonl"
    run(
        RunConfig(
            engine=engine, sources=[str(video)], sinks=SinkConfig(jsonl=jsonl),
            watch=WatchConfig(events=folder / "events.toml", **watch),
        )
    )  # fmt: skip
    return [event for line in jsonl.read_text().splitlines() for event in json.loads(line).get("events", ())]


@pytest.mark.parametrize("every", [1, 3])
def test_six_people_come_to_the_table_stay_and_leave_to_the_right(
    engine: Path, shared_data: Path, tmp_path: Path, every: int
) -> None:
    video = shared_data / "video" / "one-by-one-person-detection.mp4"
    events = _events(engine, video, Rules(zones=(TABLE,), lines=(EXIT,)), tmp_path, every=every)
    told = [(event["kind"], event["where"], event.get("direction")) for event in events]
    one = [
        ("enter", "table", None),
        ("dwell", "table", None),
        ("cross", "exit", "in"),
        ("leave", "table", None),
    ]
    assert sorted(told, key=str) == sorted(one * 6, key=str)
    enters = [event["time_s"] for event in events if event["kind"] == "enter"]
    # Seconds at which each of them is at the table, read off the frames.
    assert enters == pytest.approx([6.5, 23.2, 50.8, 75.2, 92.8, 124.2], abs=1.0)
    assert len({event["track_id"] for event in events}) == 6


def test_four_cars_cross_two_each_way(engine: Path, shared_data: Path, tmp_path: Path) -> None:
    events = _events(engine, shared_data / "video" / "car-detection.mp4", Rules(lines=(ROAD,)), tmp_path)
    assert [event["direction"] for event in events] == ["up", "down", "up", "down"]
    assert events[-1]["counts"] == {"down": 2, "up": 2}
    assert [event["time_s"] for event in events] == pytest.approx([6.6, 16.7, 17.1, 26.8], abs=0.8)
