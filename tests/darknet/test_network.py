from __future__ import annotations

from pathlib import Path

import pytest

from edgeyolo.darknet.cfg import parse_cfg, read_cfg
from edgeyolo.darknet.layers import Route, Shape, Yolo
from edgeyolo.darknet.network import Network, network_from_cfg
from edgeyolo.errors import CfgError, ConfigError, UnsupportedOpError
from tests.darknet.cfgs import network

DEBIAN_CFGS = Path("/usr/share/darknet/cfg")

# Parameters are the size of the published .weights file, (bytes - header) / 4. BFLOPs are those of Darknet's
# own table and of pjreddie.com/darknet/yolo, pjreddie.com/darknet/imagenet and AlexeyAB/darknet's README.
PUBLISHED = [
    # cfg, input side, parameters, BFLOPs
    ("yolov3", 416, (248_007_048 - 20) // 4, 65.86),
    ("yolov3", 608, (248_007_048 - 20) // 4, 140.69),
    ("yolov3", 320, (248_007_048 - 20) // 4, 38.97),
    ("yolov3-tiny", 416, (35_434_956 - 20) // 4, 5.56),
    ("yolov3-spp", 608, (252_209_544 - 20) // 4, 141.45),
    ("yolov2", 608, (203_934_260 - 16) // 4, 62.94),
    ("darknet53", 256, 41_645_640, 18.57),
    ("darknet19", 256, 20_856_776, 7.29),
    ("darknet19", 224, 20_856_776, 5.58),
    ("vgg-16", 224, 138_357_544, 30.94),
]


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize(
    ("net", "convolutional", "stretched"),
    [
        ("", "stopbackward=1", "line 7, stopbackward, is AlexeyAB's, and no letter_box=1"),
        ("letter_box=1", "stopbackward=1", ""),
        ("letter_box=0", "", "letter_box=0"),
        ("", "", ""),
    ],
)
def test_pictures_are_fitted_as_the_cfgs_own_darknet_does(
    net: str, convolutional: str, stretched: str
) -> None:
    text = f"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n{convolutional}"
    text = text.replace("\n[conv", f"\n{net}\n[conv")
    assert network_from_cfg(parse_cfg(text, source="a.cfg")).stretched == stretched


@pytest.mark.parametrize(("name", "side", "parameters", "bflops"), PUBLISHED)
def test_known_numbers(shared_data: Path, name: str, side: int, parameters: int, bflops: float) -> None:
    cfg = read_cfg(shared_data / "cfg" / f"{name}.cfg")
    found = network_from_cfg(cfg, input_wh=None if name == "vgg-16" else (side, side))
    assert found.parameter_count == parameters
    assert 2 * found.macs / 1e9 == pytest.approx(bflops, abs=0.006)


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize(
    ("name", "layers", "heads"),
    [
        ("csresnext50-panet-spp-original-optimal", 138, [(76, 76), (38, 38), (19, 19)]),
        ("darknet19", 27, []),
        ("darknet53", 78, []),
        ("densenet201", 306, []),
        ("enet-coco", 146, [(13, 13), (26, 26)]),
        ("resnet50", 70, []),
        ("vgg-16", 26, []),
        ("yolov2-tiny", 16, [(13, 13)]),
        ("yolov2", 32, [(13, 13)]),
        ("yolov3-spp", 114, [(19, 19), (38, 38), (76, 76)]),
        ("yolov3-tiny", 24, [(13, 13), (26, 26)]),
        ("yolov3-tiny_3l", 31, [(19, 19), (38, 38), (76, 76)]),
        ("yolov3", 107, [(13, 13), (26, 26), (52, 52)]),
        ("yolov4-csp", 175, [(64, 64), (32, 32), (16, 16)]),
        ("yolov4-tiny", 38, [(13, 13), (26, 26)]),
        ("yolov4", 162, [(76, 76), (38, 38), (19, 19)]),
        ("yolov7-tiny", 99, [(52, 52), (26, 26), (13, 13)]),
    ],
)
def test_every_cfg_of_the_shared_data(
    shared_data: Path, name: str, layers: int, heads: list[tuple[int, int]]
) -> None:
    found = network_from_cfg(read_cfg(shared_data / "cfg" / f"{name}.cfg"))
    assert len(found.layers) == layers
    assert [head.in_shape[:0:-1] for head in found.heads] == heads
    assert [layer.index for layer in found.layers] == list(range(layers))
    assert not found.warnings


def test_all_shared_cfgs_are_in_the_table_above(shared_data: Path) -> None:
    assert len(list((shared_data / "cfg").glob("*.cfg"))) == 17


@pytest.mark.needs("darknet-cfgs")
@pytest.mark.parametrize("path", sorted(DEBIAN_CFGS.glob("*.cfg")), ids=lambda path: path.stem)
def test_every_cfg_of_debian_is_read_or_refused_by_name(path: Path) -> None:
    refused = {
        "go": "reorg",
        "go.test": "reorg",
        "gru": "gru",
        "rnn": "rnn",
        "rnn.train": "rnn",
        "yolov1": "local",
    }
    if path.stem in refused:
        with pytest.raises(UnsupportedOpError, match=rf"\[{refused[path.stem]}\]"):
            network_from_cfg(read_cfg(path))
    else:
        assert network_from_cfg(read_cfg(path)).parameter_count > 0


def test_options_that_nothing_reads_are_told_with_the_near_one() -> None:
    found = network("convolutional filtres=3 size=3", "maxpool foo=1", "avgpool stopbackward=1")
    assert found.layers[0].out_shape.c == 1
    assert found.warnings == (
        "test.cfg:6: [convolutional] filtres is no option that EdgeYOLO knows, and was not used; "
        "did you mean filters?",
        "test.cfg:9: [maxpool] foo is no option that EdgeYOLO knows, and was not used",
    )


def test_unknown_net_options_and_letter_box() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=1\nletter_box=1\nmomentum=0.9\nwdith=3\n[avgpool]"
    found = network_from_cfg(parse_cfg(text, source="a.cfg"))
    assert found.stretched == ""
    assert found.warnings == (
        "a.cfg:7: [net] wdith is no option that EdgeYOLO knows, and was not used; did you mean width?",
    )


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("height=8\nchannels=1", "a.cfg:1: [net] width=... expected, none found"),
        ("width=0\nheight=8\nchannels=1", "a.cfg:2: [net] width of at least 1 expected, 0 found"),
        ("width=8\nheight=-8\nchannels=1", "a.cfg:3: [net] height of at least 1 expected, -8 found"),
        ("width=1000000000\nheight=8\nchannels=1", "an input of at most 16384 a side expected"),
        ("width=8\nheight=8\nchannels=1\nsubdivisions=0", "a.cfg:5: [net] subdivisions of at least 1"),
    ],
)
def test_mistakes_in_net(net: str, message: str) -> None:
    with pytest.raises(CfgError) as caught:
        network_from_cfg(parse_cfg(f"[net]\n{net}\n[avgpool]", source="a.cfg"))
    assert message in str(caught.value)


def test_a_net_without_layers() -> None:
    with pytest.raises(CfgError, match="at least one layer expected"):
        network_from_cfg(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=1", source="a.cfg"))


TWO_HEADS = """[net]
width=64
height=64
channels=3
[convolutional]
filters=8
size=3
stride=8
pad=1
[convolutional]
filters=7
size=3
stride=4
pad=1
[yolo]
classes=2
anchors=10,20
[route]
layers=-2
[upsample]
stride=4
[route]
layers=-1,0
[convolutional]
filters=7
[yolo]
classes=2
anchors=10,20
"""


def two_heads(input_wh: tuple[int, int] | None = None) -> Network:
    return network_from_cfg(parse_cfg(TWO_HEADS, source="two.cfg"), input_wh=input_wh)


def test_another_input_size_moves_every_shape_and_keeps_strides_and_parameters() -> None:
    own, other = two_heads(), two_heads((128, 96))
    assert other.input_shape == Shape(3, 96, 128)
    heads = [head for head in other.heads if isinstance(head, Yolo)]
    assert [head.grid_wh for head in heads] == [(4, 3), (16, 12)]
    assert [head.stride_wh for head in heads] == [(32, 32), (8, 8)]
    assert [layer.parameters for layer in own.layers] == [layer.parameters for layer in other.layers]
    assert other.macs == own.macs * 3
    assert two_heads((64, 64)) == own


def test_an_input_size_that_the_strides_do_not_allow() -> None:
    with pytest.raises(ConfigError) as caught:
        two_heads((72, 64))
    assert "two.cfg" in str(caught.value)
    assert "this network cannot take an input of 72x64" in str(caught.value)
    assert caught.value.hint == "a width and height that are multiples of 32, such as 64 or 96"
    with pytest.raises(ConfigError, match="1 to 16384 a side expected, 0x64 found"):
        two_heads((0, 64))


def test_an_input_size_that_changes_the_weights() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=1\n[connected]\noutput=3"
    with pytest.raises(
        ConfigError, match=r"an input of 8x8 only, 16x8 asked: the weights of layer 0 \[connected\]"
    ):
        network_from_cfg(parse_cfg(text, source="a.cfg"), input_wh=(16, 8))


def test_reading_order_of_a_route_is_absolute() -> None:
    route = two_heads().layers[5]
    assert isinstance(route, Route)
    assert (route.inputs, route.in_shapes) == ((4, 0), (Shape(7, 8, 8), Shape(8, 8, 8)))
    assert route.name == "005_route"
