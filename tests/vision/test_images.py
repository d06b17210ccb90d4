"""Every kind of picture file becomes the same thing; every kind of wreck becomes a SourceError.

Pillow is the independent reference for pixels.
"""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.errors import SourceError
from edgeyolo.vision.images import MAX_PIXELS, decode_image, is_image_path, read_image

pytestmark = pytest.mark.needs("opencv")
Image = pytest.importorskip("PIL.Image", reason="Pillow is the reference")

LOSSY = {"JPEG", "WEBP"}


def picture() -> Any:
    """A picture without symmetry: smooth (kind to JPEG), every edge and channel different."""
    y, x = np.mgrid[0:40, 0:56]
    return Image.fromarray(np.stack([x * 4, y * 6, (x + y) * 2], axis=2).astype(np.uint8))


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    if kind == "WEBP":
        options = {"lossless": True} | options
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray[Any, Any]:
    """BGR, upright, as Pillow sees it."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    image = decode_image(data, name="x")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.ndim == 3
    assert image.shape[2] == 3
    return image


def far(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, mode) for kind in ("PNG", "BMP", "TIFF") for mode in ("RGB", "L", "P", "1")]
    + [("JPEG", "RGB"), ("JPEG", "L"), ("WEBP", "RGB"), ("WEBP", "L")],
)
def test_formats_and_modes_match_pillow(kind: str, mode: str) -> None:
    data = encoded(picture().convert(mode), kind)
    assert far(decoded(data), by_pillow(data)) <= (2 if kind in LOSSY else 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright_in_every_format(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif)
    assert far(decoded(data), by_pillow(data)) <= (4 if kind in LOSSY else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decoded(encoded(picture(), "PNG", exif=exif)).shape == (40, 56, 3)


def test_cmyk_jpeg() -> None:
    data = encoded(picture().convert("CMYK"), "JPEG")
    assert far(decoded(data), by_pillow(data)) <= 6


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_lie_on_white(kind: str) -> None:
    image = picture().convert("RGBA")
    alpha = np.zeros((40, 56), np.uint8)
    alpha[:, 20:] = 128
    alpha[:, 40:] = 255
    image.putalpha(Image.fromarray(alpha))
    background = Image.new("RGBA", image.size, "white")
    wanted = np.asarray(Image.alpha_composite(background, image).convert("RGB"))[:, :, ::-1]
    found = decoded(encoded(image, kind, **({"exact": True} if kind == "WEBP" else {})))
    assert far(found, wanted) <= 1
    assert (found[:, :20] == 255).all()


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.fromarray(np.full((4, 4), 100, np.uint8)).convert("LA")
    image.putalpha(0)
    assert (decoded(encoded(image, "PNG")) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("value", "wanted"), [(0, 0), (128, 0), (129, 1), (32768, 128), (65406, 254), (65535, 255)]
)
def test_sixteen_bits_are_scaled_and_rounded(kind: str, value: int, wanted: int) -> None:
    data = encoded(Image.fromarray(np.full((4, 5), value, np.uint16)), kind)
    assert decoded(data).tolist() == [[[wanted] * 3] * 5] * 4


def test_sixteen_bits_with_alpha() -> None:
    import cv2

    bgra = np.full((2, 2, 4), (65535, 0, 0, 32896), np.uint16)  # half-transparent blue
    assert far(decoded(cv2.imencode(".png", bgra)[1].tobytes()), np.full((2, 2, 3), (255, 127, 127))) <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_counts(kind: str) -> None:
    import cv2

    if kind == "WEBP" and tuple(int(part) for part in cv2.__version__.split(".")[:2]) < (4, 11):
        pytest.skip("OpenCV reads animated WebP from 4.11 on")
    other = Image.new("RGB", (56, 40), "red")
    data = encoded(picture(), kind, save_all=True, append_images=[other, other])
    assert far(decoded(data), np.asarray(picture())[:, :, ::-1]) == 0


def test_progressive_and_thumbnailed_jpeg_give_the_large_picture() -> None:
    thumbnail = encoded(picture().resize((8, 6)), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    data = encoded(picture(), "JPEG", progressive=True, exif=exif)
    assert decoded(data).shape == (40, 56, 3)


def test_names_are_any_characters_and_the_suffix_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "Straße 写真 📷.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert far(read_image(path), np.asarray(picture())[:, :, ::-1]) == 0
    assert is_image_path(path)
    assert is_image_path("A.TIFF")
    assert not is_image_path("a.jpg.txt")
    assert not is_image_path("._a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.995])
def test_a_cut_file_is_refused_and_not_filled_with_grey(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(SourceError, match=r"x: "):
        decode_image(data[: int(len(data) * share)], name="x")


def test_a_progressive_jpeg_cut_between_scans_is_refused() -> None:
    data = encoded(picture(), "JPEG", progressive=True)
    with pytest.raises(SourceError, match="no end-of-image marker"):
        decode_image(data[: data.rindex(b"\xff\xda")], name="x")


def test_a_flipped_bit_in_a_png_is_refused_with_the_chunk() -> None:
    data = bytearray(encoded(picture(), "PNG"))
    data[data.index(b"IDAT") + 9] ^= 1
    with pytest.raises(SourceError, match="checksum of chunk IDAT"):
        decode_image(bytes(data), name="x")


def _png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(SourceError, match=f"{width}x{height} pixels; at most"):
        decode_image(_png_of(width, height), name="x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"GIF89a", "a GIF found"),
        (b"\0\0\0\x18ftypheic", "a HEIC found"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"hello", "begins with b'hello'"),
        (b"\xff\xd8\xff\xd9", "ends before any picture data"),
        (b"\xff\xd8ab", "a marker expected at byte 2"),
        (_png_of(0, 5), "nothing to see"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        decode_image(data, name="x")


def test_float_tiff_is_refused() -> None:
    with pytest.raises(SourceError, match="8 or 16 bits expected, 1 of float32 found"):
        decode_image(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), name="x")


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(SourceError, match="a folder found"):
        read_image(tmp_path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_image("a\0b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(SourceError, match="a pipe found"):  # and not: wait for ever
        read_image(tmp_path / "pipe.jpg")


SEEDS = [encoded(picture(), kind) for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF")]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    st.integers(0, 9000),
)
def test_damage_never_raises_anything_else(seed: bytes, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(seed[: max(1, length)])
    for at, value in changes:
        data[at % len(data)] = value
    with contextlib.suppress(SourceError):
        decoded(bytes(data))


def test_real_photographs_match_pillow(shared_data: Path) -> None:
    for path in sorted((shared_data / "coco" / "val2017").glob("*.jpg"))[:20]:
        assert far(read_image(path), by_pillow(path.read_bytes())) <= 3
