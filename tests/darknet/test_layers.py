"""Each section kind against sizes and numbers worked out by hand."""

from __future__ import annotations

import pytest

from edgeyolo.darknet.layers import (
    Activation,
    ActivationOnly,
    BatchNorm,
    Connected,
    Convolutional,
    Crop,
    Deconvolutional,
    Detection,
    GaussianYolo,
    MaxPool,
    Parameter,
    Region,
    Reorg,
    Route,
    ScaleChannels,
    Shape,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)
from edgeyolo.errors import CfgError, UnsupportedOpError
from tests.darknet.cfgs import last_layer, network


@pytest.mark.parametrize(
    ("options", "shape", "pad"),
    [
        ("filters=8 size=3 stride=1 pad=1", Shape(8, 32, 32), 1),
        ("filters=8 size=3 stride=2 pad=1", Shape(8, 16, 16), 1),
        ("filters=8 size=3", Shape(8, 30, 30), 0),
        ("filters=8 size=2 pad=1", Shape(8, 33, 33), 1),  # even: half the kernel on both sides
        ("filters=8 size=4 stride=2 pad=1", Shape(8, 17, 17), 2),
        ("filters=8 size=7 stride=2 padding=2", Shape(8, 15, 15), 2),
        ("filters=8 size=3 padding=5 pad=1", Shape(8, 32, 32), 1),  # pad=1 wins
        ("filters=8 size=3 dilation=4 pad=1", Shape(8, 32, 32), 4),
        ("filters=8 size=1 dilation=4 pad=1", Shape(8, 32, 32), 0),
        ("filters=8 size=3 stride_x=4 stride_y=2 pad=1", Shape(8, 16, 8), 1),
        ("filters=8 size=3 stride=2 stride_x=4 pad=1", Shape(8, 16, 8), 1),
        ("", Shape(1, 32, 32), 0),
    ],
)
def test_convolution_sizes(options: str, shape: Shape, pad: int) -> None:
    layer = last_layer(f"convolutional {options}")
    assert isinstance(layer, Convolutional)
    assert layer.out_shape == shape
    assert layer.pad_wh == (pad, pad)


def test_convolution_parameters_in_file_order_and_macs() -> None:
    layer = last_layer(
        "convolutional filters=12 size=3 pad=1 groups=3 batch_normalize=1 activation=leaky",
        width=8,
        channels=6,
    )
    assert layer.parameters == (
        Parameter("biases", (12,)),
        Parameter("scales", (12,)),
        Parameter("rolling_mean", (12,)),
        Parameter("rolling_variance", (12,)),
        Parameter("weights", (12, 2, 3, 3)),
    )
    assert layer.parameter_count == 4 * 12 + 12 * 2 * 9
    assert layer.macs == 12 * 2 * 9 * 64
    plain = last_layer("convolutional filters=2")
    assert [parameter.name for parameter in plain.parameters] == ["biases", "weights"]


@pytest.mark.parametrize(
    ("word", "activation"),
    [(member.value, member) for member in Activation] + [("silu", Activation.SWISH)],
)
def test_activations_by_their_word(word: str, activation: Activation) -> None:
    layer = last_layer(f"convolutional activation={word}")
    assert isinstance(layer, Convolutional)
    assert layer.activation is activation


def test_activation_defaults_are_darknets() -> None:
    layers = network("convolutional", "connected", "shortcut from=-2", "activation").layers[:2]
    assert [layer.activation for layer in layers] == [Activation.LOGISTIC] * 2  # type: ignore[attr-defined]


def test_unknown_activation_is_refused_where_darknet_would_take_relu() -> None:
    with pytest.raises(UnsupportedOpError, match=r"test.cfg:6: \[convolutional\] activation=leeky") as caught:
        last_layer("convolutional activation=leeky")
    assert "did you mean leaky?" in (caught.value.hint or "")
    for word in ("normalize_channels", "normalize_channels_softmax"):
        with pytest.raises(UnsupportedOpError, match=word):
            last_layer(f"convolutional activation={word}")


@pytest.mark.parametrize(
    "option",
    [
        "antialiasing=1",
        "assisted_excitation=4000",
        "xnor=1",
        "binary=1",
        "rotate=1",
        "dontload=1",
        "numload=3",
    ],
)
def test_options_that_change_the_result_are_refused_by_name(option: str) -> None:
    with pytest.raises(UnsupportedOpError, match=option.split("=")[0]):
        last_layer(f"convolutional size=3 {option}")
    last_layer(f"convolutional size=3 {option.split('=')[0]}=0")


def test_shared_weights_name_their_owner_and_take_no_floats() -> None:
    conv = "convolutional filters=3 size=3 pad=1 batch_normalize=1"
    layers = network(conv, "upsample", f"{conv} share_index=0", f"{conv} share_index=-1").layers
    assert [layer.shares for layer in layers if isinstance(layer, Convolutional)] == [None, 0, 0]
    assert [layer.parameter_count for layer in layers] == [4 * 3 + 81, 0, 0, 0]
    assert layers[2].macs == 4 * layers[0].macs
    with pytest.raises(UnsupportedOpError, match="share_layer is not supported"):
        network(conv, f"{conv} share_layer=0")
    with pytest.raises(CfgError, match=r"share_index: .* expected, layer 1, \[upsample\]"):
        network(conv, "upsample", f"{conv} share_index=1")


def test_deconvolution_is_pjreddies() -> None:
    layer = last_layer("deconvolutional filters=5 size=4 stride=2 padding=1 batch_normalize=1", width=8)
    assert isinstance(layer, Deconvolutional)
    assert layer.out_shape == Shape(5, 16, 16)  # (8 - 1) * 2 + 4 - 2
    assert layer.parameters[-1] == Parameter("weights", (3, 5, 4, 4))


def test_connected_puts_statistics_behind_the_weights() -> None:
    layer = last_layer("connected output=10 batch_normalize=1", width=4)
    assert isinstance(layer, Connected)
    assert layer.out_shape == Shape(10, 1, 1)
    names = [parameter.name for parameter in layer.parameters]
    assert names == ["biases", "weights", "scales", "rolling_mean", "rolling_variance"]
    assert layer.parameters[1].shape == (10, 48)


def test_batchnorm_section() -> None:
    layer = last_layer("batchnorm")
    assert isinstance(layer, BatchNorm)
    assert [p.name for p in layer.parameters] == ["biases", "scales", "rolling_mean", "rolling_variance"]
    assert layer.parameter_count == 12


@pytest.mark.parametrize(
    ("width", "options", "side", "begin", "end"),
    [
        (32, "size=2 stride=2", 16, 0, 0),
        (13, "size=2 stride=1", 13, 0, 1),  # yolov3-tiny's last pool
        (13, "size=2 stride=2", 7, 0, 1),
        (13, "size=5 stride=1", 13, 2, 2),  # a pyramid pool
        (12, "size=3 stride=2", 6, 1, 0),
        (13, "size=3 stride=2", 7, 1, 1),
        (14, "size=3 stride=2 padding=0", 6, 0, 0),  # the last column is not read
        (112, "size=3 stride=2 padding=1", 56, 0, 1),
        (32, "", 32, 0, 0),
        (32, "stride=4", 8, 1, 0),  # size defaults to stride
        (7, "global=1", 1, 0, 0),
    ],
)
def test_maxpool_sizes(width: int, options: str, side: int, begin: int, end: int) -> None:
    layer = last_layer(f"maxpool {options}", width=width)
    assert isinstance(layer, MaxPool)
    assert layer.out_shape == Shape(3, side, side)
    assert (layer.pad_begin_wh, layer.pad_end_wh) == ((begin, begin), (end, end))
    local = last_layer(f"local_avgpool {options}", width=width)
    assert local.out_shape == layer.out_shape


def test_pools_with_two_strides() -> None:
    layer = last_layer("maxpool size=3 stride_x=1 stride_y=2", width=8, height=6)
    assert layer.out_shape == Shape(3, 3, 8)


@pytest.mark.parametrize(
    ("sections", "shape"),
    [
        (["avgpool"], Shape(3, 1, 1)),
        (["upsample"], Shape(3, 64, 64)),
        (["upsample stride=4"], Shape(3, 128, 128)),
        (["convolutional filters=8", "reorg stride=2"], Shape(32, 16, 16)),
        (["convolutional filters=8", "reorg stride=2 reverse=1"], Shape(2, 64, 64)),
        (["reorg3d stride=2"], Shape(12, 16, 16)),
        (["crop crop_width=28 crop_height=24"], Shape(3, 24, 28)),
        (["activation activation=mish"], Shape(3, 32, 32)),
        (["logistic"], Shape(3, 32, 32)),
        (["l2norm"], Shape(3, 32, 32)),
        (["dropout probability=.2"], Shape(3, 32, 32)),
        (["softmax"], Shape(3, 32, 32)),
        (["cost type=sse"], Shape(3, 32, 32)),
    ],
)
def test_shapes_of_layers_without_parameters(sections: list[str], shape: Shape) -> None:
    layer = last_layer(*sections)
    assert layer.out_shape == shape
    assert (layer.parameters, layer.macs) == ((), 0)


def test_fields_of_layers_without_parameters() -> None:
    layers = network(
        "crop crop_width=28 crop_height=24",
        "crop crop_width=28 crop_height=24 noadjust=1",
        "logistic",
        "upsample scale=.5",
        "softmax groups=3 temperature=2 tree=a.tree",
    ).layers
    crop, plain, logistic, upsample, softmax = layers
    assert isinstance(crop, Crop)
    assert isinstance(plain, Crop)
    assert (crop.offset_wh, crop.scale, crop.shift) == ((2, 4), 2.0, -1.0)
    assert (plain.offset_wh, plain.scale, plain.shift) == ((0, 0), 1.0, 0.0)
    assert isinstance(logistic, ActivationOnly)
    assert logistic.activation is Activation.LOGISTIC
    assert isinstance(upsample, Upsample)
    assert upsample.scale == 0.5
    assert isinstance(softmax, Softmax)
    assert (softmax.groups, softmax.temperature, softmax.tree) == (3, 2.0, "a.tree")


def test_route_joins_and_splits() -> None:
    layers = network(
        "convolutional filters=8",
        "convolutional filters=4",
        "route layers=-1,0",
        "route layers=2 groups=2 group_id=1",
        "route layers=-1,0 groups=2",
    ).layers
    routes = [layer for layer in layers if isinstance(layer, Route)]
    assert [route.inputs for route in routes] == [(1, 0), (2,), (3, 0)]
    assert [route.out_shape.c for route in routes] == [12, 6, 3 + 4]
    assert routes[1].group_id == 1


def test_shortcut_keeps_the_shape_of_the_previous_layer() -> None:
    layers = network(
        "convolutional filters=8 size=3 stride=2 pad=1",
        "convolutional filters=4",
        "convolutional filters=8",
        "shortcut from=-2",
        "shortcut from=0,1 weights_type=per_channel weights_normalization=softmax activation=leaky",
        "shortcut from=1 weights_type=per_feature weights_normalizion=avg_relu",
        "convolutional filters=9 size=3 stride=2 pad=1",
        "shortcut from=3",
    ).layers
    shortcuts = [layer for layer in layers if isinstance(layer, Shortcut)]
    assert [layer.inputs for layer in shortcuts] == [(2, 1), (3, 0, 1), (4, 1), (6, 3)]
    assert [layer.out_shape for layer in shortcuts] == [Shape(8, 16, 16)] * 3 + [Shape(9, 8, 8)]
    assert [layer.parameters for layer in shortcuts] == [
        (),
        (Parameter("weights", (3, 8)),),
        (Parameter("weights", (2,)),),
        (),
    ]
    assert [layer.normalization for layer in shortcuts] == ["none", "softmax", "relu", "none"]


def test_scale_channels_and_sam() -> None:
    layers = network(
        "convolutional filters=8",
        "avgpool",
        "scale_channels from=-2",
        "convolutional filters=1",
        "scale_channels from=-2 scale_wh=1",
        "sam from=2 activation=logistic",
    ).layers
    by_channel, by_pixel = (layer for layer in layers if isinstance(layer, ScaleChannels))
    assert (by_channel.inputs, by_channel.out_shape) == ((1, 0), Shape(8, 32, 32))
    assert (by_pixel.inputs, by_pixel.out_shape, by_pixel.scale_wh) == ((3, 2), Shape(8, 32, 32), True)
    assert (layers[5].inputs, layers[5].out_shape) == ((4, 2), Shape(8, 32, 32))


def test_yolo_head() -> None:
    head = last_layer(
        "convolutional filters=14 size=32 stride=16 padding=8",
        "yolo mask=2,0 classes=2 num=3 anchors=10,14,23,27,37,58, scale_x_y=1.05 new_coords=1",
        width=64,
        height=32,
    )
    assert isinstance(head, Yolo)
    assert head.anchors_wh == ((37.0, 58.0), (10.0, 14.0))
    assert (head.mask, head.classes, head.scale_x_y, head.new_coords) == ((2, 0), 2, 1.05, True)
    assert head.grid_wh == (4, 2)
    assert head.stride_wh == (16, 16)


def test_region_anchors_become_pixels() -> None:
    head = last_layer(
        "convolutional filters=14 size=16 stride=16",
        "region classes=2 num=2 anchors=1,2,.5,4 softmax=1",
        width=64,
        height=32,
    )
    assert isinstance(head, Region)
    assert head.anchors_wh == ((16.0, 32.0), (8.0, 64.0))
    assert (head.softmax, head.coords, head.background) == (True, 4, False)


def test_gaussian_and_first_generation_heads() -> None:
    gaussian = last_layer("convolutional filters=33", "Gaussian_yolo classes=2 num=3 anchors=1,1,2,2,3,3")
    assert isinstance(gaussian, GaussianYolo)
    assert (gaussian.mask, gaussian.yolo_point) == ((0, 1, 2), "center")
    first = last_layer("connected output=1470", "detection classes=20 coords=4 num=2 side=7 sqrt=1")
    assert isinstance(first, Detection)
    assert first.sqrt


@pytest.mark.parametrize(
    ("sections", "line", "message", "hint"),
    [
        (
            ["route layers=-2"],
            6,
            "layers=-2 points to layer -2; one before this layer, 0, expected",
            "count from 0",
        ),
        (["route layers=0"], 6, "layers=0 points to layer 0", "count from 0"),
        (["route"], 5, "layers=... expected", None),
        (["route layers="], 6, "an integer expected, '' found", None),
        (["convolutional", "shortcut from=7"], 7, "from=7 points to layer 7", "count from 0"),
        (["avgpool", "upsample", "route layers=0,1"], 8, "layer 0 (3x1x1), layer 1 (3x2x2) found", None),
        (
            ["avgpool", "route layers=0 groups=2"],
            8,
            "groups=2 must divide the channels of layer 0 (3x1x1)",
            None,
        ),
        (["avgpool", "route layers=0 groups=3 group_id=3"], 9, "group_id below groups=3", None),
        (["avgpool", "upsample", "shortcut from=-2,-1"], 8, "width and height of the previous layer", None),
        (["avgpool", "sam from=0", "convolutional filters=2", "sam from=0"], 11, "2x1x1, expected", None),
        (
            ["avgpool", "convolutional filters=4", "scale_channels from=0"],
            9,
            "3x1x1 expected from the previous",
            None,
        ),
        (["convolutional filters=0"], 6, "filters of at least 1 expected, 0 found", None),
        (["convolutional stride=0"], 6, "stride of at least 1 expected, 0 found", None),
        (["convolutional size=33"], 5, "an input of at least 33 expected, width 32", None),
        (["convolutional groups=2"], 6, "groups=2 must divide the 3 input channels", None),
        (["convolutional size=3 dilation=2"], 7, "needs pad=1 and an odd size", None),
        (["convolutional filters=1e3"], 6, "filters: an integer expected, '1e3' found", None),
        (["convolutional filters=99999999999"], 6, "a 32-bit integer expected, 99999999999 found", None),
        (["convolutional filters=3000000000"], 6, "a 32-bit integer expected", None),
        (["dropout probability=x"], 6, "a number expected, 'x' found", None),
        (["maxpool size=40 padding=0"], 5, "an input of at least 40 expected", None),
        (["maxpool size=2 padding=9"], 7, "windows of 2 would lie outside", None),
        (["reorg stride=2"], 6, "channels divisible by 4 expected, 3 found", None),
        (["convolutional filters=9", "reorg stride=3"], 8, "width and height divisible by 3", None),
        (["upsample stride=-2"], 6, "stride of at least 1", None),
        (["softmax groups=7"], 6, "groups=7 must divide", None),
        (["crop crop_width=40 crop_height=2"], 5, "a crop within the input 32x32", None),
        (["deconvolutional size=1 padding=40"], 5, "an output of at least 1x1x1 expected", None),
        (
            ["connected output=7", "detection classes=20 coords=4"],
            7,
            "= 1225 values expected, 7 found",
            "output=1225",
        ),
    ],
)
def test_mistakes_are_told_with_line_expected_and_found(
    sections: list[str], line: int, message: str, hint: str | None
) -> None:
    with pytest.raises(CfgError) as caught:
        network(*sections)
    assert f"test.cfg:{line}: " in str(caught.value)
    assert message in str(caught.value)
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("head", "message", "hint"),
    [
        (
            "yolo classes=80 num=3 anchors=1,1,2,2,3,3",
            "3 anchors * (5 + 80 classes) = 255 channels expected, the [convolutional] of line 5 gives 21",
            "filters=255 in the [convolutional] of line 5, or classes=2 here",
        ),
        ("yolo classes=2 num=3 anchors=1,1,2,2", "2 * num = 6 numbers expected in anchors, 4 found", "num=2"),
        ("yolo classes=2 num=3 anchors=1,1,2", "2 * num = 6 numbers expected in anchors, 3 found", "pairs"),
        ("yolo classes=2 num=3", "anchors=... expected, 6 numbers for num=3, none found", None),
        ("yolo classes=2 num=3 mask=3 anchors=1,1,2,2,3,3", "mask: anchors 0 to 2", None),
        ("yolo classes=2 num=3 anchors=1,1,2,2,0,3", "anchors above 0 expected, 0 found", None),
        ("region classes=9 num=3 anchors=1,1,2,2,3,3", "= 42 channels expected", "classes=2"),
        (
            "Gaussian_yolo classes=2 num=3 anchors=1,1,2,2,3,3",
            "3 anchors * (9 + 2 classes) = 33",
            "filters=33",
        ),
    ],
)
def test_heads_that_do_not_fit_the_layer_before(head: str, message: str, hint: str | None) -> None:
    with pytest.raises(CfgError) as caught:
        network("convolutional filters=21 size=3 stride=2 pad=1", head)
    assert message in str(caught.value)
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize(
    "kind", ["rnn", "gru", "lstm", "crnn", "conv_lstm", "local", "normalization", "iseg"]
)
def test_kinds_that_are_refused_by_name_with_the_reason(kind: str) -> None:
    with pytest.raises(UnsupportedOpError, match=rf"test.cfg:5: \[{kind}\] is not supported: "):
        network(kind)


def test_an_unknown_kind_proposes_the_near_one() -> None:
    with pytest.raises(UnsupportedOpError, match=r"\[convolutinal\] is no layer") as caught:
        network("convolutinal")
    assert "did you mean [convolutional]?" in (caught.value.hint or "")


def test_reorg_refuses_what_it_would_read_out_of_bounds() -> None:
    assert isinstance(last_layer("convolutional filters=4", "reorg stride=2"), Reorg)
    with pytest.raises(UnsupportedOpError, match="extra=1"):
        network("reorg extra=1")
