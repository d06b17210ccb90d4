"""Choosing without a search, and collecting in halves."""

from pathlib import Path

import numpy as np
import pytest

from edgeyolo.calibrate.choice import choice_by_method, relative_error
from edgeyolo.calibrate.collect import Statistics, collect, taps_for
from edgeyolo.calibrate.feed import Feed
from edgeyolo.calibrate.gather import gather
from edgeyolo.calibrate.growth import collect_growing, summed
from edgeyolo.calibrate.manifest import Manifest
from edgeyolo.qdq import GraphView, QuantPlan, quant_plan
from edgeyolo.scales import Provenance
from tests.calibrate.pictures import folder_of
from tests.calibrate.tiny_detector import SPEC, write_detector

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")


class Collector:
    """Runs the tiny detector over pictures, and remembers which."""

    def __init__(self, folder: Path) -> None:
        import onnx

        self.model = onnx.load(write_detector(folder / "m.onnx"))
        self.view = GraphView(self.model)
        self.plan: QuantPlan = quant_plan(self.view)
        self.seen: list[str] = []

    def __call__(self, manifest: Manifest) -> Statistics:
        self.seen += [item.name for item in manifest.items]
        feed = Feed(manifest, SPEC.preprocess, SPEC.input_wh)
        return collect(self.model, taps_for(self.view, self.plan), feed)


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return gather(str(folder_of(tmp_path / "images", 9))).manifest


def test_two_parts_are_the_whole(collector: Collector, manifest: Manifest) -> None:
    half = manifest.subset(4)
    rest = Manifest.of(manifest.root, set(manifest.items) - set(half.items))
    whole, parts = collector(manifest), summed(collector(half), collector(rest))
    assert parts.images == whole.images == 9
    assert parts.histograms.keys() == whole.histograms.keys()
    for name, histogram in whole.histograms.items():
        other = parts.histograms[name]
        assert (other.limit, other.low, other.high) == (histogram.limit, histogram.low, histogram.high)
        assert np.array_equal(other.counts, histogram.counts)
    for name, values in whole.channel_amax.items():
        assert np.array_equal(parts.channel_amax[name], values)


def test_every_picture_is_seen_once(collector: Collector, manifest: Manifest) -> None:
    statistics, moved = collect_growing(manifest, collector.plan, collector)
    assert sorted(collector.seen) == [item.name for item in manifest.items]
    assert statistics.images == 9
    assert moved is not None
    assert (moved.images_from, moved.images_to) == (4, 9)
    assert collect_growing(manifest.subset(1), collector.plan, collector)[1] is None


def test_tensors_of_a_group_have_one_scale_and_every_layer_an_error(
    collector: Collector, manifest: Manifest
) -> None:
    made = Provenance(model_sha256="", preprocess_sha256="", manifest_sha256="", images=9, method="mse")
    choice = choice_by_method(collector.plan, collector(manifest), "mse", made)
    for group in collector.plan.groups:
        assert len({choice.scales.tensors[tensor].amax for tensor in group}) == 1
    assert choice.layer_errors.keys() == {layer.name for layer in collector.plan.layers}
    assert all(0 < error < 0.1 for error in choice.layer_errors.values())


@pytest.mark.parametrize("amax", [0.5, 1.0, 2.0, 4.0])
def test_the_relative_error_is_what_quantising_does(amax: float) -> None:
    values = np.abs(np.random.default_rng(0).normal(0, 1, 200_000))
    counts, _ = np.histogram(values, 4096, (0, 8))
    step = amax / 127
    quantised = np.clip(np.rint(values / step), 0, 127) * step
    wanted = np.sqrt(np.mean((values - quantised) ** 2) / np.mean(values**2))
    assert relative_error(counts, 8 / 4096, amax) == pytest.approx(wanted, rel=0.03)
