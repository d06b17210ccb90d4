"""Each layer's ONNX against Darknet's formula, written again as plain loops over single values.

What the 2018 library knows is compared with that library in test_parity; here are the activations, the layers
of AlexeyAB's Darknet, and the corners of the common ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from edgeyolo.darknet.cfg import parse_cfg
from edgeyolo.darknet.dialect import dialect_of
from edgeyolo.darknet.emit import GraphBuilder, emit_layer
from edgeyolo.darknet.layers import Activation
from edgeyolo.darknet.network import Network, Parameters, network_from_cfg
from edgeyolo.darknet.to_onnx import onnx_from_network
from edgeyolo.darknet.weights import random_parameters
from edgeyolo.errors import UnsupportedOpError

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = npt.NDArray[np.float32]


def network_of(*sections: str, channels: int = 4, height: int = 6, width: int = 8) -> Network:
    head = f"[net]\nchannels={channels}\nheight={height}\nwidth={width}\n"
    return network_from_cfg(parse_cfg(head + "\n".join(sections), source="test.cfg"))


def run_layers(
    network: Network, tensor: Array, parameters: Parameters | None = None, opset: int = 16
) -> Array:
    """Emit every layer of a network without head, and give the value of the last."""
    import onnx
    import onnxruntime

    graph = GraphBuilder(source="test.cfg", opset=opset, batch=None)
    names = {-1: graph.input("images", network.input_shape)}
    for layer in network.layers:
        arrays = (parameters or {}).get(layer.index, {})
        inputs = [names[index] for index in layer.inputs]
        names[layer.index] = emit_layer(graph, layer, inputs, arrays, dialect_of(network))
    graph.output(names[network.layers[-1].index], network.layers[-1].out_shape)
    model = graph.finish("test", "")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (value,) = session.run(None, {"images": tensor})
    return value


def random_tensor(network: Network, batch: int = 2) -> Array:
    return np.random.default_rng(1).standard_normal((batch, *network.input_shape)).astype(np.float32)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def stair(x: float) -> float:
    n = math.floor(x)
    return math.floor(x / 2) if n % 2 == 0 else (x - n) + math.floor(x / 2)


def plse(x: float) -> float:
    if x < -4:
        return 0.01 * (x + 4)
    return 0.01 * (x - 4) + 1 if x > 4 else 0.125 * x + 0.5


def lhtan(x: float) -> float:
    if x < 0:
        return 0.001 * x
    return 0.001 * (x - 1) + 1 if x > 1 else x


def hard_mish(x: float) -> float:
    if x > 0:
        return x
    return x * x / 2 + x if x > -2 else 0.0


# Darknet src/activations.h, and src/activations.c of AlexeyAB/darknet.
ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "leaky": lambda x: x if x > 0 else 0.1 * x,
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "logistic": logistic,
    "loggy": lambda x: 2 / (1 + math.exp(-x)) - 1,
    "tanh": lambda x: (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1),
    "elu": lambda x: (x >= 0) * x + (x < 0) * (math.exp(x) - 1),
    "selu": lambda x: (x >= 0) * 1.0507 * x + (x < 0) * 1.0507 * 1.6732 * (math.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(0.797885 * x + 0.035677 * x**3)),
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "plse": plse,
    "hardtan": lambda x: min(max(x, -1), 1),
    "stair": stair,
    "lhtan": lhtan,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hard_mish": hard_mish,
    "swish": lambda x: x * logistic(x),
}


def test_every_activation_has_a_formula() -> None:
    assert {activation.value for activation in Activation} == set(ACTIVATIONS)


@pytest.mark.parametrize("opset", [13, 16, 21])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str, opset: int) -> None:
    network = network_of(f"[activation]\nactivation={name}")
    tensor = np.linspace(-9, 9, 2 * 4 * 6 * 8, dtype=np.float32).reshape(2, 4, 6, 8)
    tensor.ravel()[:8] = [-4, -2, -1, 0, 1, 2, 4, 6]  # where the pieces meet
    expected = np.vectorize(ACTIVATIONS[name], otypes=[np.float64])(tensor.astype(np.float64))
    np.testing.assert_allclose(run_layers(network, tensor, opset=opset), expected, rtol=2e-6, atol=2e-6)


CONVOLUTION = "[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation=linear\n"


@pytest.mark.parametrize(
    ("options", "fork"),
    [("", False), ("groups=2\n", False), ("dilation=2\n", True), ("stride_x=2\nstride_y=1\n", True)],
)
def test_convolution_with_batch_norm(options: str, fork: bool) -> None:
    section = CONVOLUTION.format(filters=6, size=3, stride=1) + "batch_normalize=1\n" + options
    network = network_of(section)
    parameters = {0: dict(random_parameters(network, 3)[0])}
    # Small variances show which epsilon is used, and where.
    parameters[0]["rolling_variance"] = np.float32([1e-9, 1e-7, 1e-5, 1e-3, 0.5, 4])
    tensor = random_tensor(network)
    layer = network.layers[0]
    sums = naive_convolution(tensor, parameters[0]["weights"], layer)
    mean, variance, scales, biases = (
        parameters[0][key].astype(np.float64)[None, :, None, None]
        for key in ("rolling_mean", "rolling_variance", "scales", "biases")
    )
    deviation = np.sqrt(variance + 1e-5) if fork else np.sqrt(variance) + 1e-6
    expected = scales * (sums - mean) / deviation + biases
    found = run_layers(network, tensor, parameters)
    assert np.abs((found - expected) * deviation).max() < 1e-5


def naive_convolution(tensor: Array, weights: Array, layer) -> npt.NDArray[np.float64]:
    """Sum over the taps; zero outside of the picture. src/gemm.c, src/im2col.c."""
    (pad_w, pad_h), (stride_w, stride_h), dilation = layer.pad_wh, layer.stride_wh, layer.dilation
    padded = np.pad(tensor.astype(np.float64), ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    _, height, width = layer.out_shape
    filters, per_group = weights.shape[:2]
    result = np.zeros((len(tensor), *layer.out_shape))
    for f in range(filters):
        first = f // (filters // layer.groups) * per_group
        for y in range(height):
            for x in range(width):
                rows = y * stride_h + dilation * np.arange(layer.size)
                columns = x * stride_w + dilation * np.arange(layer.size)
                window = padded[:, first : first + per_group][:, :, rows][:, :, :, columns]
                result[:, f, y, x] = (window * weights[f]).sum(axis=(1, 2, 3))
    return result


def test_deconvolution() -> None:
    network = network_of("[deconvolutional]\nfilters=3\nsize=4\nstride=2\npadding=1\nactivation=linear\n")
    parameters = random_parameters(network, 3)
    tensor, layer = random_tensor(network), network.layers[0]
    weights, biases = parameters[0]["weights"], parameters[0]["biases"]
    size, stride, pad = layer.size, layer.stride_wh[0], layer.pad_wh[0]
    # col2im: every input value adds its filter at its place; then the border is cut.
    whole = np.zeros((2, 3, (6 - 1) * stride + size, (8 - 1) * stride + size))
    for y in range(6):
        for x in range(8):
            patch = np.einsum("bc,cnij->bnij", tensor[:, :, y, x], weights)
            whole[:, :, y * stride : y * stride + size, x * stride : x * stride + size] += patch
    expected = (
        whole[:, :, pad : whole.shape[2] - pad, pad : whole.shape[3] - pad] + biases[None, :, None, None]
    )
    np.testing.assert_allclose(run_layers(network, tensor, parameters), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["maxpool", "local_avgpool"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 1), (2, 1, 1), (3, 2, 2), (3, 1, 0), (5, 1, 4)]
)
def test_pool(kind: str, size: int, stride: int, padding: int) -> None:
    network = network_of(f"[{kind}]\nsize={size}\nstride={stride}\npadding={padding}\n", height=7)
    tensor = random_tensor(network)
    _, height, width = network.layers[0].out_shape
    assert (height, width) == ((7 + padding - size) // stride + 1, (8 + padding - size) // stride + 1)
    expected = np.zeros((2, *network.layers[0].out_shape), np.float32)
    for y in range(height):
        for x in range(width):
            top, left = y * stride - padding // 2, x * stride - padding // 2
            window = tensor[:, :, max(0, top) : top + size, max(0, left) : left + size]
            expected[:, :, y, x] = (window.max if kind == "maxpool" else window.mean)(axis=(2, 3))
    np.testing.assert_allclose(run_layers(network, tensor), expected, atol=1e-6)


def test_upsample_scales_the_value() -> None:
    network = network_of("[upsample]\nstride=2\nscale=0.5\n")
    tensor = random_tensor(network)
    np.testing.assert_array_equal(run_layers(network, tensor), tensor.repeat(2, axis=2).repeat(2, axis=3) / 2)


def reorg_cpu(memory: Array, w: int, h: int, c: int, stride: int, forward: bool) -> Array:
    """``reorg_cpu`` of src/blas.c on one picture, index by index."""
    out = np.zeros_like(memory)
    out_c = c // (stride * stride)
    for k in range(c):
        for j in range(h):
            for i in range(w):
                here = i + w * (j + h * k)
                c2, offset = k % out_c, k // out_c
                w2, h2 = i * stride + offset % stride, j * stride + offset // stride
                there = w2 + w * stride * (h2 + h * stride * c2)
                if forward:
                    out[there] = memory[here]
                else:
                    out[here] = memory[there]
    return out


@pytest.mark.parametrize(
    "section", ["[reorg]\nstride=2", "[reorg]\nstride=2\nreverse=1", "[reorg3d]\nstride=2"]
)
def test_reorg(section: str) -> None:
    network = network_of(section)
    tensor, layer = random_tensor(network), network.layers[0]
    # [reorg] is called with the sizes of its input, [reorg3d] with those of its output.
    c, h, w = layer.out_shape if "3d" in section else layer.in_shape
    expected = [reorg_cpu(picture.ravel(), w, h, c, 2, "reverse" in section) for picture in tensor]
    np.testing.assert_array_equal(run_layers(network, tensor), np.reshape(expected, (2, *layer.out_shape)))


def test_crop_takes_the_middle_and_scales() -> None:
    network = network_of("[crop]\ncrop_width=4\ncrop_height=3\n")
    tensor = random_tensor(network)
    expected = tensor[:, :, 1:4, 2:6] * 2 - 1
    np.testing.assert_allclose(run_layers(network, tensor), expected, atol=1e-6)


def test_route_takes_a_group_of_each_layer() -> None:
    network = network_of(
        CONVOLUTION.format(filters=8, size=1, stride=1),
        "[activation]\nactivation=relu",
        "[route]\nlayers=-1,0\ngroups=2\ngroup_id=1",
    )
    parameters = random_parameters(network, 2)
    tensor = random_tensor(network)
    before = naive_convolution(tensor, parameters[0]["weights"], network.layers[0])
    before += parameters[0]["biases"][None, :, None, None]
    expected = np.concatenate([np.maximum(before, 0)[:, 4:], before[:, 4:]], axis=1)
    np.testing.assert_allclose(run_layers(network, tensor, parameters), expected, atol=1e-5)


@pytest.mark.parametrize("fusion", ["none", "per_feature", "per_channel"])
@pytest.mark.parametrize("normalization", ["none", "relu", "softmax"])
def test_shortcut_of_three_layers(fusion: str, normalization: str) -> None:
    options = "" if fusion == "none" else f"weights_type={fusion}\nweights_normalization={normalization}\n"
    network = network_of(
        "[activation]\nactivation=relu",
        "[activation]\nactivation=tanh",
        "[activation]\nactivation=leaky",
        f"[shortcut]\nfrom=-2,-3\nactivation=logistic\n{options}",
    )
    tensor = random_tensor(network)
    first = np.maximum(tensor, 0).astype(np.float64)
    second = np.tanh(first)
    terms = [second, second, first]  # leaky of what is not negative is the same
    weights = np.float32([[1.5, -2.0, 0.5, 0.1], [0.3, 0.4, -0.5, 2.0], [-1.0, 0.0, 0.7, 0.2]])
    if fusion == "per_feature":
        weights = weights[:, 0]
    parameters = {} if fusion == "none" else {3: {"weights": weights}}
    expected = np.zeros_like(first)
    for channel in range(4):
        rows = [1.0] * 3
        if fusion != "none":
            column = weights if fusion == "per_feature" else weights[:, channel]
            rows = normalized(column.astype(float).tolist(), normalization)
        for row, term in zip(rows, terms, strict=True):
            expected[:, channel] += row * term[:, channel]
    expected = 1 / (1 + np.exp(-expected))
    np.testing.assert_allclose(run_layers(network, tensor, parameters), expected, atol=1e-6)


def normalized(weights: list[float], kind: str) -> list[float]:
    """``shortcut_multilayer_cpu`` (src/blas.c of AlexeyAB/darknet), one channel."""
    if kind == "relu":
        weights = [w if w > 0.001 else 0.001 for w in weights]
    elif kind == "softmax":
        weights = [math.exp(w - max(weights)) for w in weights]
    total = 1 if kind == "none" else 0.0001 + sum(weights)
    return [w / total for w in weights]


@pytest.mark.parametrize(("filters", "stride"), [(6, 1), (2, 1), (6, 2), (2, 2)])
def test_shortcut_of_another_size(filters: int, stride: int) -> None:
    """``shortcut_cpu`` of src/blas.c: the smaller of both, every `stride`-th pixel of the larger."""
    network = network_of(
        "[activation]\nactivation=relu",
        CONVOLUTION.format(filters=filters, size=3, stride=stride),
        "[shortcut]\nfrom=0\nactivation=linear",
    )
    parameters = random_parameters(network, 2)
    tensor = random_tensor(network)
    added = np.maximum(tensor, 0)
    expected = naive_convolution(added, parameters[1]["weights"], network.layers[1])
    expected += parameters[1]["biases"][None, :, None, None]
    common = min(4, filters)
    expected[:, :common] += added[:, :common, ::stride, ::stride]
    np.testing.assert_allclose(run_layers(network, tensor, parameters), expected, atol=1e-5)


def test_scale_channels_and_sam() -> None:
    network = network_of(
        "[activation]\nactivation=logistic",
        "[avgpool]",
        "[scale_channels]\nfrom=0\nactivation=relu",
        "[sam]\nfrom=0\nactivation=linear",
    )
    tensor = random_tensor(network)
    gate = 1 / (1 + np.exp(-tensor.astype(np.float64)))
    expected = gate * gate.mean(axis=(2, 3), keepdims=True) * gate
    np.testing.assert_allclose(run_layers(network, tensor), expected, atol=1e-6)


def test_scale_channels_by_pixel() -> None:
    network = network_of(
        "[activation]\nactivation=tanh",
        CONVOLUTION.format(filters=1, size=1, stride=1),
        "[scale_channels]\nfrom=0\nscale_wh=1\nactivation=linear",
    )
    parameters = random_parameters(network, 2)
    tensor = np.tanh(random_tensor(network))
    factor = naive_convolution(tensor, parameters[1]["weights"], network.layers[1])
    factor += parameters[1]["biases"][None, :, None, None]
    raw = np.arctanh(tensor)
    np.testing.assert_allclose(run_layers(network, raw, parameters), tensor * factor, atol=1e-5)


def test_connected_and_batchnorm() -> None:
    network = network_of("[batchnorm]", "[connected]\noutput=5\nbatch_normalize=1\nactivation=leaky")
    parameters = random_parameters(network, 2)
    tensor = random_tensor(network).astype(np.float64)

    def batch_norm(x: npt.NDArray[np.float64], arrays, axes) -> npt.NDArray[np.float64]:
        mean, variance, scales, biases = (
            np.expand_dims(arrays[key].astype(np.float64), axes)
            for key in ("rolling_mean", "rolling_variance", "scales", "biases")
        )
        return scales * (x - mean) / (np.sqrt(variance) + 1e-6) + biases

    first = batch_norm(tensor, parameters[0], (0, 2, 3))
    product = batch_norm(first.reshape(2, -1) @ parameters[1]["weights"].T, parameters[1], (0,))
    expected = np.where(product > 0, product, 0.1 * product)[:, :, None, None]
    np.testing.assert_allclose(
        run_layers(network, tensor.astype(np.float32), parameters), expected, atol=1e-5
    )


@pytest.mark.parametrize("options", ["groups=1", "groups=4\ntemperature=2", "spatial=1"])
def test_softmax(options: str) -> None:
    network = network_of(f"[softmax]\n{options}")
    tensor = random_tensor(network)
    temperature = 2 if "temperature" in options else 1
    groups = {"groups=1": (2, 1, -1, 1), "spatial=1": (2, 1, 4, 48)}.get(options, (2, 4, -1, 1))
    powers = np.exp(tensor.reshape(groups).astype(np.float64) / temperature)
    expected = (powers / powers.sum(axis=2, keepdims=True)).reshape(tensor.shape)
    np.testing.assert_allclose(run_layers(network, tensor), expected, atol=1e-6)


def test_l2norm() -> None:
    network = network_of("[l2norm]")
    tensor = random_tensor(network)
    expected = tensor / np.sqrt((tensor.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(run_layers(network, tensor), expected, atol=1e-6)


def test_reversed_reorg3d_is_refused() -> None:
    network = network_of("[reorg3d]\nstride=2\nreverse=1")
    with pytest.raises(UnsupportedOpError, match=r"test.cfg:5: \[reorg3d\] reverse=1"):
        run_layers(network, random_tensor(network))


# ---- heads -------------------------------------------------------------------------------------------------


def decode(network: Network, tensor: Array, opset: int = 16) -> tuple[Array, Array]:
    import onnx
    import onnxruntime

    model = onnx_from_network(
        network, random_parameters(network, 5), names=("a", "b", "c"), batch=None, opset=opset
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": tensor})


def head_input(network: Network, tensor: Array) -> npt.NDArray[np.float64]:
    """Give what the head reads: a 1x1 convolution of the picture, by hand."""
    arrays, layer = random_parameters(network, 5)[0], network.layers[0]
    value = naive_convolution(tensor, arrays["weights"], layer) + arrays["biases"][None, :, None, None]
    return value if layer.activation is Activation.LINEAR else 1 / (1 + np.exp(-value))


def head_network(section: str, entries: int, activation: str = "linear") -> Network:
    convolution = (
        f"[convolutional]\nfilters={2 * entries}\nsize=1\nstride=8\npad=0\nactivation={activation}\n"
    )
    return network_of(convolution, section, channels=3, height=24, width=32)


ANCHORS = "anchors=10,14, 23,27, 37,58\nnum=3\nmask=1,2\nclasses=3\n"
ANCHORS_WH = [(23, 27), (37, 58)]


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize(
    ("scale", "new_coords"), [(1.0, False), (1.05, False), (2.0, True)], ids=["plain", "scale", "new_coords"]
)
def test_yolo(scale: float, new_coords: bool, opset: int) -> None:
    section = f"[yolo]\n{ANCHORS}scale_x_y={scale}\nnew_coords={int(new_coords)}\n"
    network = head_network(section, 8, "logistic" if new_coords else "linear")
    tensor = random_tensor(network)
    boxes, scores = decode(network, tensor, opset)
    assert boxes.shape == (2, 24, 4)
    raw = head_input(network, tensor)
    activate = (lambda v: v) if new_coords else logistic
    for b, n, row, column in np.ndindex(2, 2, 3, 4):
        tx, ty, tw, th, to, *classes = raw[b, n * 8 : n * 8 + 8, row, column]
        # get_yolo_box and scal_add_cpu(..., scale_x_y, -0.5 * (scale_x_y - 1), ...)
        x = (column + activate(tx) * scale - 0.5 * (scale - 1)) / 4 * 32
        y = (row + activate(ty) * scale - 0.5 * (scale - 1)) / 3 * 24
        if new_coords:
            w, h = tw * tw * 4 * ANCHORS_WH[n][0], th * th * 4 * ANCHORS_WH[n][1]
        else:
            w, h = math.exp(tw) * ANCHORS_WH[n][0], math.exp(th) * ANCHORS_WH[n][1]
        i = n * 12 + row * 4 + column
        np.testing.assert_allclose(
            boxes[b, i], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5, atol=1e-4
        )
        expected = [activate(to) * activate(value) for value in classes]
        np.testing.assert_allclose(scores[b, i], expected, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("point", ["center", "left_top", "right_bottom"])
def test_gaussian_yolo(point: str, opset: int) -> None:
    network = head_network(f"[Gaussian_yolo]\n{ANCHORS}scale_x_y=1.1\nyolo_point={point}\n", 12)
    tensor = random_tensor(network)
    boxes, scores = decode(network, tensor, opset)
    raw = head_input(network, tensor)
    for b, n, row, column in np.ndindex(2, 2, 3, 4):
        mx, sx, my, sy, mw, sw, mh, sh, to, *classes = raw[b, n * 12 : n * 12 + 12, row, column]
        x = (column + logistic(mx) * 1.1 - 0.05) / 4 * 32
        y = (row + logistic(my) * 1.1 - 0.05) / 3 * 24
        w, h = math.exp(mw) * ANCHORS_WH[n][0], math.exp(mh) * ANCHORS_WH[n][1]
        x += {"center": 0, "left_top": w / 2, "right_bottom": -w / 2}[point]
        y += {"center": 0, "left_top": h / 2, "right_bottom": -h / 2}[point]
        i = n * 12 + row * 4 + column
        np.testing.assert_allclose(
            boxes[b, i], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5, atol=1e-4
        )
        doubt = (logistic(sx) + logistic(sy) + logistic(sw) + logistic(sh)) / 4
        expected = [logistic(to) * logistic(value) * (1 - doubt) for value in classes]
        np.testing.assert_allclose(scores[b, i], expected, atol=1e-6)


@pytest.mark.parametrize("softmax", [0, 1])
def test_region(softmax: int) -> None:
    section = f"[region]\nanchors=1.5,2, 3,2.5\nnum=2\nclasses=3\ncoords=4\nsoftmax={softmax}\n"
    network = head_network(section, 8)
    tensor = random_tensor(network)
    boxes, scores = decode(network, tensor)
    raw = head_input(network, tensor)
    for b, n, row, column in np.ndindex(2, 2, 3, 4):
        tx, ty, tw, th, to, *classes = raw[b, n * 8 : n * 8 + 8, row, column]
        x, y = (column + logistic(tx)) / 4 * 32, (row + logistic(ty)) / 3 * 24
        w = math.exp(tw) * [1.5, 3][n] / 4 * 32
        h = math.exp(th) * [2, 2.5][n] / 3 * 24
        i = n * 12 + row * 4 + column
        np.testing.assert_allclose(
            boxes[b, i], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5, atol=1e-4
        )
        powers = [math.exp(value) for value in classes]
        shares = [p / sum(powers) for p in powers] if softmax else [logistic(value) for value in classes]
        np.testing.assert_allclose(scores[b, i], [logistic(to) * share for share in shares], atol=1e-6)


@pytest.mark.parametrize("option", ["tree=9k.tree", "background=1"])
def test_region_of_another_kind_is_refused_unless_raw(option: str) -> None:
    entries = 8
    section = f"[region]\nanchors=1.5,2, 3,2.5\nnum=2\nclasses=3\ncoords=4\nsoftmax=1\n{option}\n"
    network = head_network(section, entries)
    with pytest.raises(UnsupportedOpError, match=option.partition("=")[0]):
        decode(network, random_tensor(network))
    model = onnx_from_network(network, random_parameters(network, 5), names=("a", "b", "c"), outputs="raw")
    assert [item.name for item in model.graph.output] == ["000_convolutional"]
