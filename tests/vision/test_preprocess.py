"""Pixels to tensor against bilinear sampling written out in NumPy, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeyolo.spec import Preprocess
from edgeyolo.vision.preprocess import Preprocessor

pytestmark = pytest.mark.needs("opencv")
RNG = np.random.default_rng(5)
KINDS = ("letterbox", "letterbox_top_left", "stretch", "center_crop")


def naive_bilinear(image: np.ndarray, wh: tuple[int, int]) -> np.ndarray:
    """Sample at pixel centres, a row and a column at a time; beyond the edge the edge's pixel counts."""

    def along(values: np.ndarray, count: int) -> np.ndarray:
        lines = []
        for i in range(count):
            at = min(max((i + 0.5) * len(values) / count - 0.5, 0), len(values) - 1)
            low = int(at)
            high = min(low + 1, len(values) - 1)
            lines.append(values[low] * (1 - (at - low)) + values[high] * (at - low))
        return np.array(lines)

    rows = along(image.astype(float), wh[1])
    return along(rows.swapaxes(0, 1), wh[0]).swapaxes(0, 1)


def naive_tensor(image: np.ndarray, spec: Preprocess, input_wh: tuple[int, int]) -> np.ndarray:
    """The textbook: a canvas, the scaled picture on it, then channels, scale, mean and std one by one."""
    (width, height), (h, w) = input_wh, image.shape[:2]
    if spec.resize == "center_crop":
        side = min(w / width, h / height)  # square inputs: the short side
        cut_w, cut_h = int(side * width), int(side * height)
        top, left = (h - cut_h) // 2, (w - cut_w) // 2
        image = image[top : top + cut_h, left : left + cut_w]
    new_w, new_h = width, height
    if spec.resize.startswith("letterbox"):
        if width / w < height / h:
            new_h = max(1, int(h * width / w + 1e-9))
        else:
            new_w = max(1, int(w * height / h + 1e-9))
    left, top = ((width - new_w) // 2, (height - new_h) // 2) if spec.resize == "letterbox" else (0, 0)
    canvas = np.full((height, width, 3), spec.pad_value, float)
    canvas[top : top + new_h, left : left + new_w] = naive_bilinear(image[..., :3], (new_w, new_h))
    if spec.channels == "gray":
        luma = canvas @ [0.114, 0.587, 0.299]
        return ((luma * spec.scale - spec.mean[0]) / spec.std[0])[None]
    if spec.channels == "rgb":
        canvas = canvas[..., ::-1]
    return ((canvas * spec.scale - spec.mean) / spec.std).transpose(2, 0, 1)


def run(image: np.ndarray, spec: Preprocess, input_wh: tuple[int, int]) -> np.ndarray:
    prepare = Preprocessor(spec, input_wh)
    out = np.full(prepare.shape, np.nan, np.float32)
    prepare(image, out)
    return out


def levels(spec: Preprocess, count: float) -> float:
    """`count` grey levels in units of the tensor: OpenCV rounds to whole levels after scaling."""
    return count * spec.scale / min(spec.std)


SPECS = [
    Preprocess(),
    Preprocess(channels="bgr", scale=1.0, pad_value=114),
    Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), pad_value=0),
    Preprocess(channels="gray", mean=(0.5,), std=(0.5,)),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.channels}-{spec.mean[0]}")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "src_hw", [(60, 100), (100, 60), (31, 47), (64, 64), (1, 1), (1, 90), (90, 1), (128, 128)]
)
def test_every_spec_and_shape_agrees_with_the_textbook(spec, kind, src_hw) -> None:
    spec = replace(spec, resize=kind)
    image = RNG.integers(0, 256, (*src_hw, 3), dtype=np.uint8)
    expected = naive_tensor(image, spec, (64, 64))
    # One level for OpenCV's fixed-point weights and rounding; luma rounds once more.
    np.testing.assert_allclose(
        run(image, spec, (64, 64)),
        expected,
        rtol=0,
        atol=levels(spec, 1.6 if spec.channels == "gray" else 1.1),
    )


@pytest.mark.parametrize("kind", ["letterbox", "letterbox_top_left", "stretch"])
@pytest.mark.parametrize("input_wh", [(96, 32), (32, 96)])
def test_inputs_that_are_not_square(kind, input_wh) -> None:
    image = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    spec = Preprocess(resize=kind)
    np.testing.assert_allclose(
        run(image, spec, input_wh), naive_tensor(image, spec, input_wh), rtol=0, atol=levels(spec, 1.1)
    )


def test_the_values_themselves_are_exact_without_scaling() -> None:
    image = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = image[..., ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(run(image, Preprocess(), (16, 16)), expected, rtol=2e-7)


def test_any_buffer_is_written_whole_whatever_it_held() -> None:
    # Wide and tall pictures in turn, into a new, a used and an overwritten tensor.
    prepare = Preprocessor(Preprocess(), (48, 48))
    wide, tall = (RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((20, 48, 3), (48, 20, 3)))
    used = np.empty(prepare.shape, np.float32)
    for image in (wide, tall, wide, wide):
        prepare(image, used)
        np.testing.assert_array_equal(used, run(image, Preprocess(), (48, 48)))
        used[:] = np.nan
        prepare(image, used)
        np.testing.assert_array_equal(used, run(image, Preprocess(), (48, 48)))


def test_a_tensor_of_a_batch_is_written_in_its_place() -> None:
    prepare = Preprocessor(Preprocess(), (24, 24))
    batch = np.zeros((3, *prepare.shape), np.float32)
    image = RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    prepare(image, batch[1])
    assert not batch[0].any()
    assert not batch[2].any()
    np.testing.assert_array_equal(batch[1], run(image, Preprocess(), (24, 24)))


@pytest.mark.parametrize("spec", SPECS[:2] + SPECS[3:], ids=lambda spec: spec.channels)
@pytest.mark.parametrize("src_hw", [(30, 50), (32, 32)])
def test_grey_and_alpha(spec, src_hw) -> None:
    grey = RNG.integers(0, 256, src_hw, dtype=np.uint8)
    as_bgr = np.repeat(grey[..., None], 3, axis=2)
    expected = run(as_bgr, spec, (32, 32))
    np.testing.assert_allclose(run(grey, spec, (32, 32)), expected, atol=levels(spec, 1.01))
    np.testing.assert_array_equal(run(grey[..., None], spec, (32, 32)), run(grey, spec, (32, 32)))
    colour = RNG.integers(0, 256, (*src_hw, 4), dtype=np.uint8)
    np.testing.assert_array_equal(
        run(colour, spec, (32, 32)), run(np.ascontiguousarray(colour[..., :3]), spec, (32, 32))
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("src_hw", [(40, 60), (32, 32)])
def test_any_strides(kind, src_hw) -> None:
    big = RNG.integers(0, 256, (2 * src_hw[0], 2 * src_hw[1], 3), dtype=np.uint8)
    spec = Preprocess(resize=kind)
    for view in (
        big[: src_hw[0], : src_hw[1]],
        big[::2, ::2],
        big[: src_hw[0], : src_hw[1]][:, ::-1],
        big[: src_hw[0], : src_hw[1], ::-1],
        big[: src_hw[1], : src_hw[0]].swapaxes(0, 1),
    ):
        expected = run(np.ascontiguousarray(view), spec, (32, 32))
        np.testing.assert_array_equal(run(view, spec, (32, 32)), expected)


def test_the_picture_is_not_changed_and_may_be_read_only() -> None:
    image = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    before = image.copy()
    image.flags.writeable = False
    run(image, Preprocess(), (32, 32))
    run(image, Preprocess(), (16, 16))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint16), "uint16"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), "2 found"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (None, "NoneType found .cv2.imread gives None"),
        ("street.jpg", "str found"),
    ],
)
def test_what_is_no_picture_is_refused(image, found) -> None:
    prepare = Preprocessor(Preprocess(), (8, 8))
    with pytest.raises(ValueError, match=found):
        prepare(image, np.empty(prepare.shape, np.float32))


@pytest.mark.parametrize(
    "out",
    [
        np.empty((3, 8, 9), np.float32),
        np.empty((3, 8, 8), np.float64),
        np.empty((1, 3, 8, 8), np.float32),
        np.empty((8, 8, 3), np.float32).transpose(2, 0, 1),
    ],
)
def test_another_tensor_is_refused(out) -> None:
    with pytest.raises(ValueError, match=r"C-contiguous float32 tensor of \(3, 8, 8\) expected"):
        Preprocessor(Preprocess(), (8, 8))(np.zeros((4, 4, 3), np.uint8), out)
