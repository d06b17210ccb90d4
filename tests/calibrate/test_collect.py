"""Collecting: exact ranges, any order and number of threads, errors that name the tensor, sampling."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402

from edgeyolo.calibrate.amax import percentile  # noqa: E402
from edgeyolo.calibrate.choice import group_counts  # noqa: E402
from edgeyolo.calibrate.collect import Statistics, collect, taps_for  # noqa: E402
from edgeyolo.errors import CalibrationError  # noqa: E402
from edgeyolo.qdq import GraphView, quant_plan  # noqa: E402
from tests.calibrate.tiny_detector import write_detector  # noqa: E402
from tests.qdq.nets import Net, detector, images, run  # noqa: E402


def collected(model: onnx.ModelProto, batches: list[np.ndarray], **options: int) -> Statistics:
    view = GraphView(model)
    samples = {"samples": options.pop("samples")} if "samples" in options else {}
    taps = taps_for(view, quant_plan(view), **samples)
    return collect(model, taps, batches, **options)  # type: ignore[arg-type]


def with_every_tensor(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    every = onnx.ModelProto()
    every.CopyFrom(model)
    del every.graph.output[:]
    every.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return every


def test_ranges_are_exact_although_values_are_sampled() -> None:
    model, batches = detector(), images(12)
    statistics = collected(model, batches, samples=20)
    names = [name for name in statistics.histograms if name != "images"]
    every = with_every_tensor(model, names)
    values = [run(every, batch) for batch in batches]
    for index, name in enumerate(names):
        high = max(float(outputs[index].max()) for outputs in values)
        assert statistics.histograms[name].high == pytest.approx(max(high, 0), rel=1e-5)
        if name == "sum":  # signed: its smallest value is exact too
            low = min(float(outputs[index].min()) for outputs in values)
            assert statistics.histograms[name].low == pytest.approx(low, rel=1e-5)
    assert statistics.images == 12


def test_only_what_tells_something_is_looked_at() -> None:
    names = set(collected(detector(), images(1)).histograms)
    assert {"images", "stem_leaky", "thin", "sum", "head_a", "head_b"} <= names
    assert not names & {"stem", "pooled", "bigger", "joined"}


def test_neither_order_nor_threads_change_a_count() -> None:
    model, batches = detector(), images(9)
    one = collected(model, batches, workers=1)
    other = collected(model, batches[::-1], workers=3)
    for name, histogram in one.histograms.items():
        assert histogram.limit == other.histograms[name].limit
        assert np.array_equal(histogram.counts, other.histograms[name].counts)
        assert np.array_equal(one.channel_amax[name], other.channel_amax[name])


def test_every_image_counts() -> None:
    batches = images(5)
    batches[3] = batches[3] * 50
    assert collected(detector(), batches).histograms["images"].high == pytest.approx(
        float(batches[3].max()), rel=1e-6
    )


def test_a_channel_that_stays_negative_has_its_magnitude() -> None:
    # A LeakyRelu's channel below 0 on all images: its range is its negative side's.
    model = detector()
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "wide_b")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[5] = -100
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "wide_b"))
    amax = collected(model, images(3)).channel_amax["wide_leaky"]
    assert amax[5] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_values_that_no_scale_holds_name_their_tensor(tmp_path: Path, poison: float) -> None:
    model = onnx.load(write_detector(tmp_path / "m.onnx", poison=poison))
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    with pytest.raises(CalibrationError, match=r"tensor '(second|third|sum)' has NaN or infinite values"):
        collected(model, [image])


def test_an_output_that_overflows_behind_the_last_layer_is_named() -> None:
    net = Net()
    net.constants["large"] = np.float32(1e4)
    last = net.conv("last", net.leaky(net.conv("first", "images", 8, 3)), 8, 8)
    model = net.model([net.op("Exp", [net.op("Mul", [last, "large"], "scaled")], "sizes"), last])
    with pytest.raises(CalibrationError, match=r"output 'sizes' of the float model has NaN or infinite"):
        collected(model, images(2))


def test_activations_are_not_all_kept_until_the_end() -> None:
    """24 layers of 8 MiB: looked at behind the whole network, their outputs alone would be 192 MiB."""
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96


DEEP = """
import resource
from tests.calibrate.test_collect import collected, images
from tests.qdq.nets import Net

net = Net(size=512)
name = "images"
for index in range(24):
    name = net.leaky(net.conv(f"layer{index}", name, 8, 8 if index else 3))
model, batches = net.model([name]), images(1, size=512)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
collected(model, batches, workers=1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_no_image_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="no calibration image came"):
        collected(detector(), [])


def test_sampling_changes_no_scale(shared_data: Path, tmp_path: Path) -> None:
    """Real weights, real pictures: a sample of 4096 gives the percentiles of every single value."""
    from edgeyolo.calibrate.feed import Feed
    from edgeyolo.calibrate.gather import gather
    from edgeyolo.darknet.convert import convert
    from edgeyolo.spec import ModelSpec

    darknet = shared_data / "darknet"
    convert(str(darknet / "yolo-fastest-1.1.cfg"), darknet / "yolo-fastest-1.1.weights", tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    assert spec is not None
    manifest = gather(str(shared_data / "coco" / "train2017")).manifest.subset(48)
    batches = list(Feed(manifest, spec.preprocess, spec.input_wh))
    sampled = collected(model, batches)
    whole = collected(model, batches, samples=1 << 30)
    plan = quant_plan(GraphView(model))
    ratios = []
    for group in plan.groups:
        one, other = (percentile(*group_counts(plan, s, group[0]), 99.99) for s in (sampled, whole))
        ratios.append(one / other)
    assert np.median(ratios) == pytest.approx(1, abs=0.01)
    assert np.sqrt(np.square(np.log(ratios)).mean()) < 0.1  # a step of the search is 0.14
