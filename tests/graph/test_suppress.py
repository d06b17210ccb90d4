"""Suppression as part of an engine: the detections are those of the host's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.detections import Detections
from edgeyolo.errors import ConfigError, GraphError
from edgeyolo.graph.suppress import GraphNms, nms_from_options, suppress_in_graph
from edgeyolo.pipeline.build import BuildConfig, build_engine
from edgeyolo.runtime import Detector
from edgeyolo.sidecar import read_sidecar
from tests.command import edgeyolo
from tests.small_nets import converted

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def pair(folder: Path, head: str, *words: str, iou: float = 0.45) -> tuple[Path, Path]:
    """Build the same model without and with a suppression in it."""
    model = converted(folder, head, *words)
    built = []
    for name, nms in (("host", None), ("graph", GraphNms(iou=iou))):
        output = folder / f"{name}.engine"
        build_engine(BuildConfig(model=model, output=output, backend="onnxruntime", nms=nms))
        built.append(output)
    return built[0], built[1]


def pictures(count: int = 4) -> list[Any]:
    """Give pictures without a letterbox's padding: the host drops boxes that lie in it, the graph cannot."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size, size, 3), np.uint8) for size in range(64, 64 + 32 * count, 32)]


def same(found: Detections, expected: Detections) -> None:
    assert np.array_equal(found.class_ids, expected.class_ids)
    assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal(found.xyxy, expected.xyxy)


@pytest.mark.parametrize("conf", [0.02, 0.25, 0.4])
@pytest.mark.parametrize("head", ["yolo", "yolo-new-coords", "region", "gaussian"])
def test_the_detections_are_the_hosts(head: str, conf: float, tmp_path: Path) -> None:
    host, graph = pair(tmp_path, head)
    seen = 0
    with Detector(host, conf=conf) as one, Detector(graph, conf=conf) as other:
        assert (one.nms, other.nms) == ("class", "none")
        for picture in pictures():
            expected = one(picture)
            same(other(picture), expected)
            seen += len(expected)
    assert seen > 0 or conf == 0.4


@pytest.mark.parametrize("iou", [0.1, 0.7])
def test_the_overlap_is_the_one_asked_for(iou: float, tmp_path: Path) -> None:
    host, graph = pair(tmp_path, "yolo", iou=iou)
    with Detector(host, iou=iou, conf=0.1) as one, Detector(graph, conf=0.1) as other:
        for picture in pictures():
            same(other(picture), one(picture))
    assert read_sidecar(graph).extra["nms"] == {"iou": iou, "conf": 0.01}


def test_each_picture_of_an_open_batch_has_its_own(tmp_path: Path) -> None:
    from edgeyolo.runtime import open_engine

    host, graph = pair(tmp_path, "yolo", "--batch", "dynamic")
    with (
        Detector(open_engine(host, max_batch=3), conf=0.1) as one,
        Detector(open_engine(graph, max_batch=3), conf=0.1) as other,
    ):
        boxes = [one.preprocess(picture, 0, index) for index, picture in enumerate(pictures(3))]
        other.engine.input(0)[...] = one.engine.input(0)
        results = one.infer(batch=3), other.infer(batch=3)
        for index, box in enumerate(boxes):
            expected = one.postprocess(results[0], box, index)
            assert len(expected) > 0
            same(other.postprocess(results[1], box, index), expected)


def test_what_cannot_have_one(tmp_path: Path) -> None:
    for head, words, said in (
        ("classifier", (), "probabilities outputs found"),
        ("yolo", ("--outputs", "raw"), "raw outputs found"),
    ):
        with pytest.raises(ConfigError, match=said):
            suppress_in_graph(onnx.load(converted(tmp_path, head, *words)), GraphNms())
    model = onnx.load(converted(tmp_path, "yolo"))
    suppress_in_graph(model, GraphNms())
    with pytest.raises(ConfigError, match="final"):
        suppress_in_graph(model, GraphNms())
    model = onnx.load(converted(tmp_path, "yolo"))
    model.opset_import[0].version = 10
    with pytest.raises(GraphError, match="opset 11"):
        suppress_in_graph(model, GraphNms())
    with pytest.raises(ConfigError, match="none outputs found"):
        suppress_in_graph(onnx.ModelProto(), GraphNms())


@pytest.mark.parametrize(
    ("where", "given", "said"),
    [
        ("host", {"iou": 0.5}, "--nms-iou goes with --nms graph"),
        ("gpu", {}, "host or graph expected"),
        ("graph", {"conf": 1.5}, "--nms-conf: 0..1 expected"),
    ],
)
def test_options_that_mean_nothing(where: str, given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        nms_from_options(where, **{"iou": None, "conf": None, **given})


def test_from_the_command_line_and_again(tmp_path: Path) -> None:
    model = converted(tmp_path, "yolo")
    engine = tmp_path / "m.engine"
    words = ("--backend", "onnxruntime", "--nms", "graph", "--nms-iou", "0.6")
    done = edgeyolo("build", model, "-o", engine, *words)
    assert done.returncode == 0, done.stderr
    info = read_sidecar(engine)
    assert info.spec.final
    assert "--nms graph --nms-iou 0.6" in info.command
    assert "edgeyolo inspect" not in done.stderr
    first = engine.read_bytes()
    engine.unlink()
    again = edgeyolo(*info.command.split()[1:])
    assert again.returncode == 0, again.stderr
    assert engine.read_bytes() == first
