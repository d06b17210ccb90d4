"""Geometry against exact fractions and hand-checked rows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.vision.letterbox import Letterbox

KINDS = ("letterbox", "letterbox_top_left", "stretch", "center_crop")
sides = st.integers(1, 8192)
sizes = st.tuples(sides, sides)
inputs = st.tuples(st.integers(1, 640), st.integers(1, 640))


@pytest.mark.parametrize(
    ("src_wh", "dst_wh", "kind", "crop", "resized", "pad"),
    [
        # 1280 * 0.325 = 416, 720 * 0.325 = 234, (416 - 234) / 2 = 91
        ((1280, 720), (416, 416), "letterbox", (0, 0, 1280, 720), (416, 234), (0, 91)),
        ((720, 1280), (416, 416), "letterbox", (0, 0, 720, 1280), (234, 416), (91, 0)),
        ((1280, 720), (416, 416), "letterbox_top_left", (0, 0, 1280, 720), (416, 234), (0, 0)),
        ((1280, 720), (416, 416), "stretch", (0, 0, 1280, 720), (416, 416), (0, 0)),
        ((1280, 720), (256, 256), "center_crop", (280, 0, 720, 720), (256, 256), (0, 0)),
        # 427 * 320 / 640 = 213.5 is rounded down, as in Darknet; 107 of padding leave 53 above, 54 below
        ((640, 427), (320, 320), "letterbox", (0, 0, 640, 427), (320, 213), (0, 53)),
        # an input that is not square
        ((1920, 1080), (640, 384), "letterbox", (0, 0, 1920, 1080), (640, 360), (0, 12)),
        ((100, 400), (640, 384), "center_crop", (0, 170, 100, 60), (640, 384), (0, 0)),
        # nothing to do
        ((64, 64), (64, 64), "letterbox", (0, 0, 64, 64), (64, 64), (0, 0)),
        # one pixel, and a thread
        ((1, 1), (320, 320), "letterbox", (0, 0, 1, 1), (320, 320), (0, 0)),
        ((8000, 1), (320, 320), "letterbox", (0, 0, 8000, 1), (320, 1), (0, 159)),
        ((8000, 1), (320, 320), "center_crop", (3999, 0, 1, 1), (320, 320), (0, 0)),
    ],
)
def test_fit_by_hand(src_wh, dst_wh, kind, crop, resized, pad) -> None:
    box = Letterbox.fit(src_wh, dst_wh, kind)
    assert (box.crop_xywh, box.resized_wh, box.pad_xy) == (crop, resized, pad)


@pytest.mark.parametrize(
    ("src_wh", "gain"), [((1280, 720), 0.325), ((720, 1280), 0.325), ((1, 9999), 416 / 9999), ((208, 1), 2.0)]
)
def test_gain_is_the_one_of_the_side_that_fills_the_input(src_wh, gain) -> None:
    assert Letterbox.fit(src_wh, (416, 416)).gain == gain


@pytest.mark.parametrize("src_wh", [(0, 5), (5, 0), (-1, 5)])
def test_a_size_below_one_is_refused(src_wh) -> None:
    with pytest.raises(ValueError, match="at least 1x1 expected"):
        Letterbox.fit(src_wh, (32, 32))


@pytest.mark.parametrize("shape", [(4, 3), (), (5,)])
def test_boxes_of_another_shape_are_refused(shape) -> None:
    box = Letterbox.fit((10, 10), (32, 32))
    for to in (box.to_image, box.to_net):
        with pytest.raises(ValueError, match="boxes of shape"):
            to(np.zeros(shape, np.float32))


@settings(deadline=None)
@given(sizes, inputs, st.sampled_from(KINDS))
def test_every_picture_lies_inside_the_input(src_wh, dst_wh, kind) -> None:
    box = Letterbox.fit(src_wh, dst_wh, kind)
    x, y, w, h = box.crop_xywh
    assert x >= 0 <= y
    assert 1 <= w <= src_wh[0] - x
    assert 1 <= h <= src_wh[1] - y
    for pad, resized, dst in zip(box.pad_xy, box.resized_wh, dst_wh, strict=True):
        assert pad >= 0
        assert 1 <= resized <= dst - pad


@settings(deadline=None)
@given(sizes, inputs)
def test_letterbox_keeps_the_ratio_to_within_a_pixel(src_wh, dst_wh) -> None:
    box = Letterbox.fit(src_wh, dst_wh)
    gain = min(Fraction(dst_wh[0], src_wh[0]), Fraction(dst_wh[1], src_wh[1]))
    for src, resized in zip(src_wh, box.resized_wh, strict=True):
        assert -1 < resized - src * gain < 1
        assert resized <= src * gain or resized == 1
    # centred: what is left over differs by a pixel at most
    for dst, resized, pad in zip(dst_wh, box.resized_wh, box.pad_xy, strict=True):
        assert 0 <= (dst - resized - pad) - pad <= 1


@settings(deadline=None)
@given(sizes, inputs)
def test_a_crop_fills_the_input_and_touches_two_sides(src_wh, dst_wh) -> None:
    box = Letterbox.fit(src_wh, dst_wh, "center_crop")
    assert box.resized_wh == dst_wh
    assert box.crop_xywh[2] == src_wh[0] or box.crop_xywh[3] == src_wh[1]


@settings(deadline=None)
@given(sizes, inputs, st.sampled_from(KINDS), st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_mapping_there_is_the_fraction_and_back_is_the_inverse(src_wh, dst_wh, kind, mille) -> None:
    box = Letterbox.fit(src_wh, dst_wh, kind)
    x, y, w, h = box.crop_xywh
    xyxy = np.array([x + mille[0] * w / 1000, y + mille[1] * h / 1000, x + mille[2] * w / 1000, y + h], float)
    net = box.to_net(xyxy)
    for axis, value in enumerate(net.tolist()):
        side = axis % 2
        expected = (Fraction(xyxy[axis]) - box.crop_xywh[side]) * Fraction(
            box.resized_wh[side], box.crop_xywh[2 + side]
        ) + box.pad_xy[side]
        assert value == pytest.approx(float(expected), abs=1e-9)
    np.testing.assert_allclose(box.to_image(net), xyxy, rtol=0, atol=1e-8)


@settings(deadline=None)
@given(sizes, inputs, st.sampled_from(KINDS))
def test_float32_boxes_come_back_as_exactly_as_float32_holds_them(src_wh, dst_wh, kind) -> None:
    box = Letterbox.fit(src_wh, dst_wh, kind)
    x, y, w, h = box.crop_xywh
    # A step of float32 in the network's pixels, seen in the picture: 0.001 px at 8192 to 640, and a quarter
    # of a pixel where a side of 8192 has become one pixel beside 319 of padding.
    step = np.finfo(np.float32).eps * max(
        *src_wh, max(dst_wh) * max(w / box.resized_wh[0], h / box.resized_wh[1])
    )
    xyxy = np.array([[x, y, x + w, y + h], [x + w / 3, y + h / 7, x + w / 2, y + h / 2]], np.float32)
    back = box.to_image(box.to_net(xyxy))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, xyxy, rtol=0, atol=4 * step)


def test_to_image_clips_to_the_picture_and_to_net_does_not_clip() -> None:
    box = Letterbox.fit((1280, 720), (416, 416))
    assert box.to_image([[-50, 0, 999, 416]]).tolist() == [[0, 0, 1280, 720]]
    assert box.to_net([[-1280, 0, 0, 0]]).tolist() == [[-416, 91, 0, 91]]


def test_the_caller_s_boxes_are_not_changed() -> None:
    xyxy = np.array([[1, 2, 3, 4]], np.float32)
    box = Letterbox.fit((10, 20), (32, 32))
    box.to_image(xyxy)
    box.to_net(xyxy)
    assert xyxy.tolist() == [[1, 2, 3, 4]]
