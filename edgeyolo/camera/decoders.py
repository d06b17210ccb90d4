"""Which decoder a stream gets: hardware that answers first, then software.

Owns the order and the reason that is told. Refuses to run anything but a probe.

Source: NVIDIA, "Accelerated GStreamer" (nvv4l2decoder, NVMM memory, ``mjpeg=1``); GStreamer's plugins ``va``,
``v4l2codecs`` (stateless) and ``video4linux2`` (stateful).
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeyolo.errors import MissingDependencyError, SourceOpenError
from edgeyolo.gstreamer import has_element, opens

__all__ = ["CODECS", "Decoder", "choose_decoder"]


@dataclass(frozen=True)
class Decoder:
    """A decoder.

    Args:
        element: Its element.
        hardware: Whether it drives a device, which is then asked.
        nvmm: Whether its pictures are in NVIDIA's memory, out of which only nvvidconv brings them.
        options: Properties, as in a pipeline's text.
    """

    element: str
    hardware: bool = False
    nvmm: bool = False
    options: str = ""

    @property
    def text(self) -> str:
        """It in a pipeline."""
        return f"{self.element} {self.options}".rstrip()


CODECS = {"video/x-h264": "H.264", "video/x-h265": "H.265", "image/jpeg": "MJPEG"}
"""Media types that can be decoded, and their names."""

# max-threads: frame threads would hold back as many frames as there are cores; slices do not.
_LIBAV = "thread-type=slice"
_DECODERS = {
    "video/x-h264": (
        Decoder("nvv4l2decoder", hardware=True, nvmm=True),
        Decoder("vah264dec", hardware=True),
        Decoder("v4l2slh264dec", hardware=True),
        Decoder("v4l2h264dec", hardware=True),
        Decoder("avdec_h264", options=_LIBAV),
        Decoder("openh264dec"),
    ),
    "video/x-h265": (
        Decoder("nvv4l2decoder", hardware=True, nvmm=True),
        Decoder("vah265dec", hardware=True),
        Decoder("v4l2slh265dec", hardware=True),
        Decoder("v4l2h265dec", hardware=True),
        Decoder("avdec_h265", options=_LIBAV),
        Decoder("libde265dec"),
    ),
    "image/jpeg": (
        Decoder("nvv4l2decoder", hardware=True, nvmm=True, options="mjpeg=1"),
        Decoder("vajpegdec", hardware=True),
        Decoder("v4l2jpegdec", hardware=True),
        Decoder("jpegdec"),
        Decoder("avdec_mjpeg"),
    ),
}
_APT = {"image/jpeg": "sudo apt-get install gstreamer1.0-plugins-good"}
_APT_LIBAV = "sudo apt-get install gstreamer1.0-libav"


def choose_decoder(media: str, forced: str | None = None) -> tuple[Decoder, str]:
    """Choose.

    Args:
        media: A key of `CODECS`.
        forced: The element that the user wants.

    Returns:
        The decoder, and a sentence that says which and why.

    Raises:
        SourceOpenError: The forced one is not here, or does not decode that.
        MissingDependencyError: There is none.
    """
    candidates = _DECODERS[media]
    codec = CODECS[media]
    if forced is not None:
        return _forced(candidates, codec, forced)
    absent: list[str] = []
    passed: list[str] = []
    for decoder in candidates:
        if not has_element(decoder.element):
            if decoder.hardware:
                absent.append(decoder.element)
        elif decoder.hardware and not opens(decoder.element):
            passed.append(f"{decoder.element} finds no device")
        else:
            kind = "in hardware" if decoder.hardware else "in software"
            why = [*passed, f"{', '.join(absent)} not installed"] if absent else passed
            reason = f" ({'; '.join(why)})" if why and not decoder.hardware else ""
            return decoder, f"{codec} decoded by {decoder.element} {kind}{reason}"
    raise MissingDependencyError(
        f"GStreamer has no decoder for {codec}: one of {', '.join(d.element for d in candidates)} expected",
        hint=_APT.get(media, _APT_LIBAV),
    )


def _forced(candidates: tuple[Decoder, ...], codec: str, name: str) -> tuple[Decoder, str]:
    decoder = next((d for d in candidates if d.element == name), None)
    if decoder is None:
        raise SourceOpenError(
            f"decoder={name}: for {codec} one of {', '.join(d.element for d in candidates)} expected"
        )
    if not has_element(name) or (decoder.hardware and not opens(name)):
        raise SourceOpenError(f"decoder={name}: is not installed, or finds no device")
    return decoder, f"{codec} decoded by {name}, as asked"
