"""``edgeyolo demo``: through the command line into an empty folder, and the accuracy of what is shipped."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.camera.scene import render_scene
from edgeyolo.detections import Detections
from edgeyolo.errors import MissingDependencyError
from edgeyolo.pipeline.demo import ASSETS, demo
from edgeyolo.runtime.detector import Detector
from tests.parts import require_part

pytestmark = pytest.mark.needs("opencv", "onnx", "onnxsim", "onnxruntime")

FRESH_SEED = 5 * 10**9  # neither training nor the demo itself looks there


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The demo as a user starts it."""
    require_part("eval")
    folder = tmp_path_factory.mktemp("demo") / "with a space"
    return folder, edgeyolo("demo", "-o", str(folder))


def edgeyolo(*arguments):
    code = "import sys; from edgeyolo.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_the_demo_ends_with_its_tables_its_files_and_what_to_try(made):
    import cv2

    folder, ended = made
    assert ended.returncode == 0, ended.stderr
    for word in (
        "mAP",
        "FP32",
        "INT8",
        "report.html",
        "infer",
        "FPS",
        "disc",
        "moon",
        "edgeyolo evaluate",
        "demo.mp4",
        "demo.png",
    ):
        assert word in ended.stdout
    assert "Traceback" not in ended.stderr
    sheet = cv2.imread(str(folder / "demo.png"))
    assert sheet.shape[1] > 1000
    assert sheet.std() > 20, "a picture, not a blank"
    video = cv2.VideoCapture(str(folder / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 360
    lines = [json.loads(line) for line in (folder / "demo.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(360))
    assert sum(len(line["detections"]) for line in lines) > 1000
    assert {path.suffix for path in folder.glob("demo*")} >= {".onnx", ".engine", ".json"}
    assert not list(folder.glob(".*")), "no temporary file is left"


@pytest.mark.slow
def test_the_printed_command_gives_the_printed_accuracy(made):
    _, ended = made
    (line,) = [line for line in ended.stdout.splitlines() if "edgeyolo evaluate" in line]
    again = edgeyolo(*shlex.split(line)[1:], "--json")
    report = json.loads(again.stdout)
    assert report["images"] == 200
    assert report["ap50"] >= 0.90
    assert f"{report['ap50']:.3f}" in ended.stdout
    assert f"{report['ap']:.3f}" in ended.stdout


def test_without_the_package_that_computes_map_it_says_so_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingDependencyError) as caught:
        demo(tmp_path / "out")
    assert "mean average precision" in str(caught.value)
    assert "eval" in caught.value.hint
    assert not (tmp_path / "out").exists(), "nothing is begun"


@pytest.fixture(scope="module")
def demo_engine(tmp_path_factory) -> Path:
    from edgeyolo.build import build
    from edgeyolo.darknet.convert import ConvertOptions, convert

    folder = tmp_path_factory.mktemp("engine")
    convert(
        ASSETS / "demo.cfg",
        ASSETS / "demo.weights",
        folder / "demo.onnx",
        ConvertOptions(names=ASSETS / "demo.names"),
    )
    build(folder / "demo.onnx", folder / "demo.engine", backend="onnxruntime")
    return folder / "demo.engine"


def average_precision_50(pairs, class_id):
    """Area under precision over recall at IoU 0.5, counted one by one: no library, and nothing of ours."""
    ranked, wanted = [], 0
    for found, truth in pairs:
        mine, true = (picked(part, class_id) for part in (found, truth))
        wanted += len(true)
        free = list(true.xyxy.tolist())
        for box, score in zip(mine.xyxy.tolist(), mine.scores.tolist(), strict=True):  # best score first
            best = max(free, key=lambda other, box=box: iou(box, other), default=None)
            right = best is not None and iou(box, best) >= 0.5
            if right:
                free.remove(best)
            ranked.append((score, right))
    ranked.sort(key=lambda pair: -pair[0])
    right = np.cumsum([hit for _, hit in ranked])
    recall, precision = right / wanted, right / np.arange(1, len(ranked) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best_from_here).sum())


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def picked(part, class_id):
    keep = part.class_ids == class_id
    return Detections(part.xyxy[keep], part.scores[keep], part.class_ids[keep])


def test_the_shipped_weights_find_what_fresh_scenes_show(demo_engine):
    with Detector(demo_engine, conf=0.005, multi_label=True) as detector:
        pairs = []
        for seed in range(FRESH_SEED, FRESH_SEED + 120):
            image, truth = render_scene(seed)
            pairs.append((detector(image), truth))
        names = detector.names
    scores = [average_precision_50(pairs, class_id) for class_id in range(len(names))]
    assert np.mean(scores) >= 0.90, dict(zip(names, np.round(scores, 3), strict=True))


def test_the_shipped_model_is_small_and_named():
    weights, names = ASSETS / "demo.weights", (ASSETS / "demo.names").read_text().split()
    from edgeyolo.camera.synthetic import NAMES

    assert weights.stat().st_size < 1_000_000
    assert tuple(names) == NAMES
