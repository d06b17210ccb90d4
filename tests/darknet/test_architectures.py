from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeyolo.darknet.architectures import ARCHITECTURES, architecture
from edgeyolo.darknet.cfg import read_cfg
from edgeyolo.darknet.dialect import dialect_of
from edgeyolo.darknet.layers import Convolutional, Cost, Layer, Shortcut
from edgeyolo.darknet.network import network_from_cfg
from edgeyolo.errors import ConfigError
from tests.parts import SHARED_DATA

REFERENCES = (SHARED_DATA / "cfg", Path("/usr/share/darknet/cfg"))


@pytest.mark.parametrize("folder", REFERENCES, ids=["alexeyab", "debian"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_is_its_reference_cfg_layer_by_layer(name: str, folder: Path) -> None:
    path = folder / f"{name}.cfg"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    reference = network_from_cfg(read_cfg(path))
    input_wh = (reference.input_shape.w, reference.input_shape.h)
    ours = network_from_cfg(architecture(name), input_wh=input_wh)
    assert ours.input_shape == reference.input_shape
    # Only training reads [cost], and AlexeyAB's classifiers end in one.
    expected = [layer for layer in reference.layers if not isinstance(layer, Cost)]
    assert len(ours.layers) == len(expected)
    for layer, wanted in zip(ours.layers, expected, strict=True):
        assert _without_line(layer) == _without_line(wanted)
    assert bool(ours.stretched) == bool(reference.stretched)
    assert dialect_of(ours) == dialect_of(reference)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pictures_keep_their_proportions_except_in_the_fourth_version(name: str) -> None:
    network = network_from_cfg(architecture(name))
    assert bool(network.stretched) == name.startswith("yolov4")


def _without_line(layer: Layer) -> Layer:
    return dataclasses.replace(layer, line=0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_reads_without_a_warning(name: str) -> None:
    cfg = architecture(name)
    assert cfg.source == name
    assert network_from_cfg(cfg).warnings == ()


def test_darknet53_is_53_convolutions_in_stages_of_1_2_8_8_4() -> None:
    layers = network_from_cfg(architecture("darknet53")).layers
    assert sum(isinstance(layer, Convolutional) for layer in layers) == 53
    blocks: dict[int, int] = {}
    for layer in layers:
        if isinstance(layer, Shortcut):
            blocks[layer.out_shape.h] = blocks.get(layer.out_shape.h, 0) + 1
    assert blocks == {128: 1, 64: 2, 32: 8, 16: 8, 8: 4}


def test_an_unknown_name_proposes_the_near_one() -> None:
    with pytest.raises(ConfigError, match="'yolo3' found") as caught:
        architecture("yolo3")
    assert (caught.value.hint or "").startswith("did you mean yolov3?")
