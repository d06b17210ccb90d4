"""Pipelines as GStreamer's own text, one function a part.

Owns what elements are in which order, and why. Refuses to run them, and to hold an address: addresses and
credentials are set as properties, so that no text of a pipeline has them.

* Only the newest picture is kept: ``appsink drop=true max-buffers=1``, and a leaky queue in front of the
  conversion, so that a picture for which there is no time is not converted either.
* MJPEG is also dropped *before* it is decoded: each of its pictures stands alone. H.264 and H.265 are decoded
  whole, for a picture that is left out spoils those after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeyolo.camera.address import Flip, Options
from edgeyolo.camera.decoders import Decoder

__all__ = [
    "BGR",
    "LEAKY",
    "RTP_PARTS",
    "SINK",
    "Recipe",
    "csi_text",
    "decoding_text",
    "scaled_wh",
    "usb_text",
]

LEAKY = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
_PATIENT = "queue max-size-buffers=2 max-size-bytes=0 max-size-time=0"
SINK = "appsink name=sink sync=false"
BGR = "video/x-raw,format=BGR"

# Whole pictures are asked of the depayloader: the parser would otherwise wait, where a picture is in several
# slices, for the next one to know where it ends, and every picture would be late by one.
RTP_PARTS = {
    "H264": "rtph264depay ! video/x-h264,stream-format=avc,alignment=au ! h264parse",
    "H265": "rtph265depay ! video/x-h265,stream-format=hvc1,alignment=au ! h265parse",
    "JPEG": "rtpjpegdepay",
}
"""Encoding of RTP packets to the pipeline from them to a compressed stream."""

# nvvidconv and videoflip number the same turns differently, which is why an address has words.
_NVVIDCONV: dict[Flip, int] = {"none": 0, "ccw": 1, "180": 2, "cw": 3, "h": 4, "v": 6}
# Its older property `method` is without effect in GStreamer 1.22.0.
_VIDEOFLIP: dict[Flip, str] = {
    "cw": "90r",
    "180": "180",
    "ccw": "90l",
    "h": "horiz",
    "v": "vert",
}
_SIDEWAYS = ("cw", "ccw")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pipeline to be made.

    Args:
        text: For ``gst_parse_launch``. ``sink`` is its appsink; an element ``parse``, where it has one, gives
            the compressed streams out of which the first with a picture is decoded.
        source: Properties of the element ``source``, set apart from the text.
        notes: What the user should know.
    """

    text: str
    source: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def usb_text(
    media: str, size_wh: tuple[int, int], rate: str, decoder: Decoder | None, options: Options
) -> str:
    """Give the pipeline of a USB camera.

    Args:
        media: ``image/jpeg``, or ``video/x-raw,format=...``.
        size_wh: A size that the camera has.
        rate: A rate that it has at that size, such as ``"30/1"``.
        decoder: For JPEG.
        options: Of the address.
    """
    caps = f"{media},width={size_wh[0]},height={size_wh[1]},framerate={rate}"
    raw = Options(flip=options.flip)  # size and rate are the camera's own
    if decoder is None:
        return f"v4l2src name=source ! {caps} ! {LEAKY} ! {_converted(raw, None)} ! {SINK}"
    return f"v4l2src name=source ! {caps} ! {decoding_text(media, decoder, raw, None)} ! {SINK}"


def csi_text(size_wh: tuple[int, int], rate: str, flip: Flip) -> str:
    """Give the pipeline of a CSI camera: NVIDIA's image processor scales and turns it."""
    width, height = size_wh
    return (
        f"nvarguscamerasrc name=source ! video/x-raw(memory:NVMM),format=NV12,width={width},height={height},"
        f"framerate={rate} ! nvvidconv flip-method={_NVVIDCONV[flip]} ! video/x-raw,format=BGRx "
        f"! {LEAKY} ! videoconvert ! {SINK}"
    )


def decoding_text(
    media: str,
    decoder: Decoder,
    options: Options,
    size_wh: tuple[int, int] | None,
    *,
    paced: bool = False,
) -> str:
    """Give the part from a compressed stream to BGR.

    Args:
        media: A key of `edgeyolo.camera.decoders.CODECS`.
        decoder: The decoder.
        options: Of the address.
        size_wh: Size of the stream, where it is known.
        paced: Whether the sink waits for each picture's time, and so those before it must wait too.
    """
    queue = _PATIENT if paced else LEAKY
    before = f"{queue} ! " if media == "image/jpeg" else ""
    if not decoder.nvmm:
        return f"{before}{decoder.text} ! {queue} ! {_converted(options, size_wh)}"
    known = scaled_wh(options, size_wh)
    if known is not None and options.flip in _SIDEWAYS:
        known = known[::-1]  # the caps are those of the turned picture
    caps = f",width={known[0]},height={known[1]}" if known else ""
    return (
        f"{before}{decoder.text} ! nvvidconv flip-method={_NVVIDCONV[options.flip]} "
        f"! video/x-raw,format=BGRx{caps} ! {queue} "
        f"! {_rate(options)}{'' if known else _scale(options, size_wh, turned=True)}videoconvert"
    )


def scaled_wh(options: Options, size_wh: tuple[int, int] | None) -> tuple[int, int] | None:
    """Give the size that a stream is scaled to; one side alone keeps the shape. None leaves it as it is.

    Examples:
        >>> scaled_wh(Options(width=640), (1920, 1080))
        (640, 360)
    """
    width, height = options.width, options.height
    if size_wh is not None and (width is None) != (height is None):
        if width is not None:
            height = _even(width * size_wh[1] / size_wh[0])
        elif height is not None:
            width = _even(height * size_wh[0] / size_wh[1])
    if width is None or height is None or (width, height) == size_wh:
        return None
    return width, height


def _converted(options: Options, size_wh: tuple[int, int] | None) -> str:
    turn = "" if options.flip == "none" else f" ! videoflip video-direction={_VIDEOFLIP[options.flip]}"
    return f"{_rate(options)}{_scale(options, size_wh, turned=False)}videoconvert{turn}"


def _scale(options: Options, size_wh: tuple[int, int] | None, *, turned: bool) -> str:
    """Give the scaling; where the size of a stream is not known yet, videoscale finds the other side."""
    if size_wh is None:
        width, height = options.width, options.height
    else:
        width, height = scaled_wh(options, size_wh) or (None, None)
    if turned and options.flip in _SIDEWAYS:
        width, height = height, width
    sides = "".join(f",{key}={side}" for key, side in (("width", width), ("height", height)) if side)
    return f"videoscale ! video/x-raw{sides},pixel-aspect-ratio=1/1 ! " if sides else ""


def _rate(options: Options) -> str:
    return f"videorate max-rate={max(1, round(options.fps))} ! " if options.fps else ""


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))
