"""From a model and a folder to scales, graph, cache, manifest and report: all of it, or none."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.calibrate.gather import gather
from edgeyolo.calibrate.manifest import read_manifest
from edgeyolo.calibrate.trt_cache import read_trt_cache
from edgeyolo.errors import (
    CalibrationError,
    ConfigError,
    DeadTensorError,
    EdgeYoloError,
    EmptyManifestError,
    GraphError,
)
from edgeyolo.evaluate.compare import Agreement
from edgeyolo.files import sha256_of
from edgeyolo.pipeline.calibrate import calibrate
from edgeyolo.pipeline.calibration import AIM, CalibrateConfig, Calibration
from edgeyolo.scales import preprocess_sha256, read_scales
from tests.calibrate.pictures import folder_of, scene, video, write
from tests.calibrate.tiny_detector import SPEC, write_detector
from tests.command import COMMAND, edgeyolo

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")

FILES = {"scales.json", "model.int8.onnx", "tensorrt.cache", "report.html", "manifest.txt"}
METHODS = ("minmax", "percentile", "entropy", "mse", "auto")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "m.onnx")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "images", 12, (80, 60))


def run(model: Path, images: Path | None, **options: object) -> Calibration:
    target = None if images is None else 0.5
    options = {"output": model.parent / "out", "method": "mse", "target_agreement": target} | options
    return calibrate(CalibrateConfig(model=model, images=images and str(images), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_every_file_is_there_and_says_what_it_was_made_from(model: Path, images: Path, method: str) -> None:
    import onnx

    found = run(model, images, method=method)
    out = model.parent / "out"
    assert {path.name for path in out.iterdir()} == FILES
    scales = read_scales(out / "scales.json")
    manifest = read_manifest(out / "manifest.txt", root=images)
    assert manifest.items == gather(str(images)).manifest.items
    made = scales.provenance
    assert (made.model_sha256, made.images, made.method) == (sha256_of(model), 12, method)
    assert made.manifest_sha256 == manifest.fingerprint == sha256_of(out / "manifest.txt")
    assert made.preprocess_sha256 == preprocess_sha256(SPEC.preprocess)
    onnx.checker.check_model(onnx.load(out / "model.int8.onnx"))
    cache = read_trt_cache(out / "tensorrt.cache")
    assert cache.version == 8601
    for name, scale in {**scales.tensors, **scales.plain}.items():  # a cache cannot change weights
        assert cache.amax[name] == pytest.approx(scale.amax, rel=1e-6)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert found.verdict in page
    assert found.agreement is not None
    assert 0.5 <= found.agreement < 1
    assert found.boxes is not None
    assert 0.5 <= found.boxes.agreement <= 1
    assert found.boxes.matched > 20  # a comparison of something


def test_the_range_of_the_input_is_that_of_the_pictures(model: Path, images: Path) -> None:
    write(images / "white.png", np.full((60, 80, 3), 255, np.uint8) - scene(1, (80, 60)) // 8)
    scales = run(model, images, method="minmax").choice.scales
    assert 0.9 < scales.tensors["images"].amax <= 1.001
    assert scales.tensors["sum"].amax == scales.tensors["pooled"].amax  # a MaxPool shares


def test_layers_that_the_target_itself_keeps_in_float_are_counted(model: Path, images: Path) -> None:
    found = run(model, images, target="onnxruntime")
    assert [layer.name for layer in found.int8_layers] == ["second_raw", "third_raw"]
    left = "  float: first_raw: it reads the picture, where onnxruntime's INT8 is no faster"
    assert left in found.lines()
    why = "no INT8 layer reads its result, or a float layer does"
    assert f"1 more that onnxruntime computes in float: {why}" in found.lines()
    assert "<b>2 of 4</b>" in (model.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert len(run(model, images).int8_layers) == 4


def test_two_runs_write_the_same_scales(model: Path, images: Path) -> None:
    one = run(model, images, output=model.parent / "one")
    two = run(model, images, output=model.parent / "two")
    for name in ("scales.json", "tensorrt.cache", "manifest.txt", "model.int8.onnx"):
        assert (one.config.output / name).read_bytes() == (two.config.output / name).read_bytes()


def test_the_order_and_the_names_of_pictures_do_not_matter(model: Path, images: Path) -> None:
    one = run(model, images).choice.scales
    for n, path in enumerate(sorted(images.iterdir(), reverse=True)):
        path.rename(images / f"renamed{n:02d}.png")
    assert run(model, images).choice.scales.tensors == one.tensors


def test_half_and_all_of_the_pictures_are_compared(model: Path, images: Path) -> None:
    moved = run(model, images).movement
    assert moved is not None
    assert (moved.images_from, moved.images_to) == (6, 12)
    assert 0 < moved.p95 < 1


def test_pictures_that_cannot_be_read_are_named(model: Path, images: Path) -> None:
    for index in range(7):
        (images / f"broken{index}.jpg").write_bytes(b"no picture %d" % index)
    found = run(model, images)
    lines = list(found.lines())
    assert "pictures: 7 unreadable" in lines
    assert [line for line in lines if "broken" in line] == [
        f"  left out: broken{index}.jpg: {found.checked.findings[0].text}"  # type: ignore[union-attr]
        for index in range(5)
    ]
    assert "  and 2 more that could not be read: report.html names them" in lines
    report = (model.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert all(f"broken{index}.jpg" in report for index in range(7))


def test_a_video_and_a_limit(model: Path, tmp_path: Path) -> None:
    found = run(model, video(tmp_path / "v.avi", 30), every=2, limit=8)
    assert found.checked is not None
    assert len(found.checked.manifest) == 8
    assert "v.avi#" in (tmp_path / "out" / "manifest.txt").read_text()


def test_a_cache_becomes_scales_and_what_does_not_match_is_listed(model: Path, images: Path) -> None:
    first = run(model, images)
    text = (first.config.output / "tensorrt.cache").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("third"))
    cache = model.parent / "their.cache"
    cache.write_text(
        text.replace("8601", "7103") + "\nnot_ours: 3c010a14\n(Unnamed Layer* 4) [X]_output_0: 0\n"
    )
    second = run(model, images, output=model.parent / "again", from_cache=cache, trt_version="10.3.0")
    for name, scale in second.choice.scales.tensors.items():
        assert scale.amax == pytest.approx(first.choice.scales.tensors[name].amax, rel=1e-6)
    assert second.choice.unmatched == ("not_ours", "(Unnamed Layer* 4) [X]_output_0")
    assert read_trt_cache(second.config.output / "tensorrt.cache").version == 100300
    alone = run(model, None, output=model.parent / "alone", from_cache=cache, max_float_macs=1)
    assert alone.agreement is None
    assert alone.passed
    assert {path.name for path in alone.config.output.iterdir()} == FILES
    assert alone.choice.scales.tensors == second.choice.scales.tensors


def test_a_cache_of_another_model_is_refused(model: Path) -> None:
    (model.parent / "c").write_text("TRT-8601-EntropyCalibration2\nx: 3c010a14\n")
    with pytest.raises(CalibrationError, match="not one of its tensors is in this model"):
        run(model, None, from_cache=model.parent / "c")
    assert not (model.parent / "out").exists()


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_a_cache_that_knows_one_tensor_leaves_the_other_layers_in_float(
    model: Path, images: Path, target: str
) -> None:
    (model.parent / "c").write_text("TRT-8601-EntropyCalibration2\nimages: 3c010a14\nx: 3c010a14\n")
    words = ["calibrate", model, images, "--from-cache", model.parent / "c", "-o", model.parent / "out"]
    done = edgeyolo(*words, "--target", target)
    assert done.returncode == 1, done.stderr
    assert re.match(r"Not met: [6-9]\d\.\d% of the multiply-adds would stay in float, at most 5", done.stdout)
    done = edgeyolo(*words, "--target", target, "--max-float-macs", "1")
    assert done.returncode == 0, done.stderr
    assert "names of the cache that are not in this model (1):\n  x\n" in done.stdout
    assert "tensors of this model that are not in the cache (" in done.stdout
    assert "\n  sum\n" in done.stdout
    scales = read_scales(model.parent / "out" / "scales.json")
    assert list(scales.tensors) == ["images"]
    assert list(scales.float_layers) == ["second_raw", "third_raw", "head"]


def test_the_boxes_that_both_have_are_told(model: Path, images: Path) -> None:
    result = run(model, images)
    none_found = Agreement(
        pictures=1, conf=0.25, matched=0, lost=0, invented=0, mean_iou=1.0, score_bias=0.0, score_drift=0.0,
        score_drift_p95=0.0, pseudo_map=float("nan"), pseudo_map50=float("nan"),
    )  # fmt: skip
    some = dataclasses.replace(none_found, pictures=24, matched=45, lost=4, invented=6, mean_iou=0.9712)
    line = "boxes with a score above 0.25: 90.0% are in both, mean IoU 0.971, on 24 pictures"
    assert line in dataclasses.replace(result, boxes=some).lines()
    for boxes in (none_found, None):
        assert not any(line.startswith("boxes") for line in dataclasses.replace(result, boxes=boxes).lines())


def test_an_aim_that_was_not_reached_is_said_plainly(model: Path, images: Path) -> None:
    words = ["calibrate", model, images, "-o", model.parent / "out", "--max-float-macs", "0"]
    done = edgeyolo(*words, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["float_layers"] == {}
    said = f"Agreement with FP32 is {found['agreement']:.3f}"
    short = found["agreement"] < AIM
    assert (f"{said}, short of the 0.95 that the search aims at" in done.stderr) == short
    assert (f"{said};" in done.stderr) != short
    page = (model.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert (f'<div class="note">{said}' in page) == short  # a warning, neither good nor bad


def test_a_target_that_is_not_met_is_exit_1_with_the_report(model: Path, images: Path) -> None:
    words = ["calibrate", model, images, "-o", model.parent / "out", "--method", "minmax", "--json"]
    done = edgeyolo(*words, "--target-agreement", "1")
    report = json.loads(done.stdout)
    assert (done.returncode, report["passed"]) == ((0, True) if report["agreement"] == 1 else (1, False))
    assert "Not met" in (model.parent / "out" / "report.html").read_text() or report["passed"]
    assert edgeyolo(*words).returncode == 0  # nothing was asked for
    met = edgeyolo(*words, "--target-agreement", "0.3")
    assert met.returncode == 0, met.stderr
    assert "collecting activations" in met.stderr
    assert json.loads(met.stdout)["images"] == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "max"}, "--method"),
        ({"target": "dla"}, "--target"),
        ({"target_agreement": 1.5}, "--target-agreement"),
        ({"max_float_macs": -0.1}, "--max-float-macs"),
        ({"trt_version": "11.0.0"}, "reads no calibration cache"),
        ({"images": None}, "IMAGES"),
        ({"images": None, "from_cache": Path("c"), "target_agreement": 0.9}, "needs IMAGES"),
    ],
)
def test_options_are_checked_before_any_work(options: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"model": Path("m"), "images": "i", "output": Path("o")}
    with pytest.raises(ConfigError, match=message):
        CalibrateConfig(**{**fields, **options})  # type: ignore[arg-type]


def bad_folder(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / kind
    folder.mkdir()
    if kind == "black":
        for n in range(3):
            write(folder / f"{n}.png", np.zeros((20 + n, 20, 3), np.uint8))
    if kind == "broken":
        (folder / "a.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("empty", EmptyManifestError, "no readable picture"),
        ("broken", EmptyManifestError, "none of 1 pictures can be read"),
        ("black", CalibrationError, "nothing to see"),
    ],
)
def test_bad_pictures_are_an_error_and_leave_nothing(
    model: Path, tmp_path: Path, kind: str, error: type[EdgeYoloError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(model, bad_folder(tmp_path, kind))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_one_picture_is_taken_with_a_warning_and_refused_by_auto(model: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "one", 1)
    done = edgeyolo(
        "calibrate", model, folder, "-o", tmp_path / "out", "--method", "minmax", "--target-agreement", "0"
    )
    assert done.returncode == 0, done.stderr
    assert "1 picture: minmax wants" in done.stderr
    with pytest.raises(CalibrationError, match="--method auto holds some back"):
        run(model, folder, method="auto")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"poison": float("inf")}, CalibrationError, "'second.*NaN or infinite"),
        ({"poison": float("nan")}, CalibrationError, "'second.*NaN or infinite"),
        ({"dead": True}, DeadTensorError, "tensor 'second.*is 0 on all"),
    ],
)
def test_activations_that_no_scale_can_come_from_are_named(
    tmp_path: Path, images: Path, changes: dict[str, object], error: type[EdgeYoloError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(write_detector(tmp_path / "bad.onnx", **changes), images)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_quantised_model_is_refused(model: Path, images: Path) -> None:
    import onnx

    run(model, images)
    with pytest.raises(GraphError, match=r"model.int8.onnx: a float model expected, .* quantised already"):
        run(model.parent / "out" / "model.int8.onnx", images, output=model.parent / "twice")
    four = onnx.load(model)
    del four.metadata_props[:]
    onnx.helper.set_model_props(four, dataclasses.replace(SPEC, batch=4).to_metadata())
    onnx.save(four, model.parent / "four.onnx")
    with pytest.raises(GraphError, match="batch 4 found"):
        run(model.parent / "four.onnx", images)


def test_what_cannot_be_calibrated_is_said_before_a_picture_is_read(model: Path, tmp_path: Path) -> None:
    import onnx

    old = onnx.load(model)
    old.opset_import[0].version = 12
    onnx.save(old, model)
    with pytest.raises(GraphError, match=r"m\.onnx: opset 13 or newer expected, 12 found"):
        run(model, tmp_path / "no-such-folder")


def test_a_model_that_onnx_runtime_refuses_is_no_traceback(model: Path, images: Path) -> None:
    import onnx

    twice = onnx.load(model)
    for node in twice.graph.node[:2]:
        node.name = "one name for two"
    onnx.save(twice, model)
    with pytest.raises(GraphError, match=r"does not load the model: .*one name for two"):
        run(model, images)


def test_old_results_stay_when_a_new_run_fails(model: Path, images: Path, tmp_path: Path) -> None:
    run(model, images)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(EmptyManifestError):
        run(model, bad_folder(tmp_path, "empty"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("stage", ["checking pictures", "collecting activations", "comparing FP32"])
def test_an_interruption_leaves_nothing_half_written(
    model: Path, images: Path, tmp_path: Path, number: signal.Signals, stage: str
) -> None:
    words = ["calibrate", str(model), str(images), "-o", str(tmp_path / "out"), "--method", "mse"]
    before = {path.name for path in tmp_path.iterdir()}
    with subprocess.Popen(
        [*COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith(stage):
                child.send_signal(number)
                break
        _, said = child.communicate(timeout=60)
    if child.returncode in (0, 1) and (tmp_path / "out").exists():
        pytest.skip("the work was done before the signal came")
    assert child.returncode == 130, said
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_an_error_and_leaves_nothing(model: Path, images: Path, tmp_path: Path) -> None:
    # A file-size limit gives the same OSError as a full disk; in a child, as it is per process.
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n"
        "from edgeyolo.cli.main import main\nmain()\n"
    )
    words = ["calibrate", str(model), str(images), "-o", str(tmp_path / "out"), "--method", "mse"]
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"cannot write {tmp_path / 'out'}/" in done.stderr  # the name that the user gave, no temporary one
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.needs("eval")
def test_labels_that_came_with_the_pictures_are_used(model: Path, images: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in images.iterdir())
    coco = {
        "images": [
            {"id": n, "file_name": name, "width": 80, "height": 60} for n, name in enumerate(names, 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(SPEC.names, 7)],
        # The cell grid of a letterboxed 80x60: the third cell of the third row, in every picture.
        "annotations": [
            {"id": n, "image_id": n, "category_id": 8, "bbox": [20, 10, 10, 10], "area": 100, "iscrowd": 0}
            for n in range(1, len(names) + 1)
        ],
    }
    path = tmp_path / "instances_images.json"
    path.write_text(json.dumps(coco))
    found = run(model, path, output=tmp_path / "out")
    assert isinstance(found.labelled, tuple)
    fp32, int8 = found.labelled
    assert fp32.images == int8.images == 12
    assert 0 < fp32.ap50 <= 1
    assert f"{fp32.ap50:.4f}" in (tmp_path / "out" / "report.html").read_text()
    coco["categories"] = [{"id": 8, "name": "elephant"}]
    path.write_text(json.dumps(coco))
    other = run(model, path, output=tmp_path / "out")
    assert isinstance(other.labelled, str)
    assert "mAP was not computed" in other.labelled
    assert "mAP was not computed" in (tmp_path / "out" / "report.html").read_text()
    coco["categories"] = []
    coco["images"] = [{"file_name": name} for name in names]  # enough to find the pictures by
    path.write_text(json.dumps(coco))
    bare = run(model, path, output=tmp_path / "out")
    assert isinstance(bare.labelled, str)
    assert "images[0]: id: a whole number expected" in bare.labelled
