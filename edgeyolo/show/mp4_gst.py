"""One mp4 whose pictures are encoded by an element of GStreamer, such as a Jetson's hardware encoder.

Owns the pipeline from a picture to H.264, and its bus. The container is that of an mp4 encoded on processor
cores (`edgeyolo.show.mp4`): PyAV writes it, so that fragments, time line and full disks are one code.

Source: NVIDIA, "Accelerated GStreamer", Jetson Linux Developer Guide 36 (nvvidconv, nvv4l2h264enc).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeyolo.gstreamer import load_gst
from edgeyolo.show.mp4 import KEY_FRAME_EVERY_S, TICK_S, even, open_container, pyav, writing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["JETSON", "GstEncoder", "GstMp4"]

_NS_PER_S = 10**9
# An encoder that holds back more pictures than this, or gives none for so long, has failed.
_HELD_BACK = 16
_PATIENCE_S = 5.0
# Bits of a pixel of a picture: 6 Mbit/s at 1080p and 30 frames a second.
_BITS_PER_PIXEL = 0.1


@dataclass(frozen=True)
class GstEncoder:
    """An encoder and what stands before it.

    Args:
        element: Its element.
        pipeline: From BGR to its H.264, with ``{gop}`` pictures from key frame to key frame and ``{bitrate}``
            bits a second; without B frames.
    """

    element: str
    pipeline: str


JETSON = GstEncoder(
    "nvv4l2h264enc",
    "videoconvert ! video/x-raw,format=BGRx ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! "
    "nvv4l2h264enc bitrate={bitrate} iframeinterval={gop} idrinterval={gop} insert-sps-pps=true",
)


class GstMp4:
    """An `edgeyolo.show.mp4.Mp4Writer` with an encoder of GStreamer.

    Args:
        encoder: The encoder.
        path: The file, made when the first picture is encoded.
        size_wh: Pixels of each picture.
        fps: Usual pictures a second.
        recording: As for `edgeyolo.show.mp4.SoftwareMp4`.

    Raises:
        MissingDependencyError: GStreamer or PyAV is not here.
        OSError: The encoder does not start.
    """

    def __init__(
        self, encoder: GstEncoder, path: Path, size_wh: tuple[int, int], *, fps: float, recording: bool
    ) -> None:
        self._av = pyav()
        self._gst = load_gst()
        self._element = encoder.element
        self._path = path
        self._recording = recording
        self._container: Any = None
        self._stream: Any = None
        self._last = -1
        self._held_back = 0
        self._closed = False
        self._pipeline = self._start(encoder, size_wh, fps)
        self._source, self._sink = (self._pipeline.get_by_name(name) for name in ("source", "sink"))

    def write(self, picture_bgr: npt.NDArray[np.uint8], time_s: float) -> None:
        """Encode a picture, shown from `time_s` on."""
        self._last = max(self._last + 1, round(time_s / TICK_S))  # two pictures at one moment are two
        picture = even(picture_bgr)
        buffer = self._gst.Buffer.new_wrapped(_rows_of_four(picture).tobytes())
        buffer.pts = round(self._last * TICK_S * _NS_PER_S)
        if self._source.push_buffer(buffer) != self._gst.FlowReturn.OK:
            raise self._failure()
        self._held_back += 1
        while self._mux_next(0 if self._held_back <= _HELD_BACK else _PATIENCE_S):
            pass
        if self._held_back > _HELD_BACK:
            raise self._failure()

    def close(self) -> None:
        """Finish the file; twice is harmless."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._last >= 0:
                self._source.end_of_stream()
                while self._mux_next(_PATIENCE_S):
                    pass
                if not self._sink.is_eos():
                    raise self._failure()
        finally:
            self._pipeline.set_state(self._gst.State.NULL)
            if self._container is not None:
                with writing(self._path):
                    self._container.close()

    def _start(self, encoder: GstEncoder, size_wh: tuple[int, int], fps: float) -> Any:
        gst = self._gst
        width, height = (length + length % 2 for length in size_wh)
        rate = Fraction(fps).limit_denominator(1001)
        chain = encoder.pipeline.format(
            gop=max(1, round(KEY_FRAME_EVERY_S * fps)), bitrate=int(width * height * fps * _BITS_PER_PIXEL)
        )
        try:
            pipeline = gst.parse_launch(
                "appsrc name=source format=time max-bytes=0 "
                f"caps=video/x-raw,format=BGR,width={width},height={height},framerate={rate.numerator}/"
                f"{rate.denominator} ! {chain} ! h264parse config-interval=-1 ! "
                "video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
            )
        except Exception as exc:  # GLib.Error, whose class is only known where PyGObject is
            raise OSError(None, f"{encoder.element}: {exc}", str(self._path)) from exc
        if pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            pipeline.set_state(gst.State.NULL)
            raise OSError(None, f"{encoder.element}: does not start", str(self._path))
        return pipeline

    def _mux_next(self, patience_s: float) -> bool:
        """Write a picture that the encoder has ready, or has soon; give whether there was one."""
        sample = self._sink.try_pull_sample(int(patience_s * _NS_PER_S))
        if sample is None:
            return False
        self._held_back -= 1
        self._mux(sample.get_buffer())
        return True

    def _mux(self, buffer: Any) -> None:
        data = buffer.extract_dup(0, buffer.get_size())
        with writing(self._path):
            if self._stream is None:
                self._begin(data)
            packet = self._av.Packet(data)
            packet.stream, packet.time_base = self._stream, TICK_S
            packet.pts = packet.dts = round(Fraction(buffer.pts, _NS_PER_S) / TICK_S)
            packet.is_keyframe = not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT)
            self._container.mux(packet)

    def _begin(self, first: bytes) -> None:
        """Make the file; the parameter sets of its header are those of the first picture."""
        with self._av.open(io.BytesIO(first), format="h264") as parsed:
            self._container = open_container(self._path, recording=self._recording)
            self._stream = self._container.add_stream_from_template(parsed.streams.video[0], opaque=True)
            self._stream.time_base = TICK_S
            self._container.start_encoding()

    def _failure(self) -> OSError:
        """Give what the bus has to say."""
        gst = self._gst
        message = self._pipeline.get_bus().timed_pop_filtered(0, gst.MessageType.ERROR)
        said = message.parse_error()[0].message if message is not None else "gives no picture back"
        return OSError(None, f"{self._element}: {said}", str(self._path))


def _rows_of_four(picture_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Make each row a multiple of four bytes, as GStreamer has it in raw video."""
    import numpy as np

    height, width = picture_bgr.shape[:2]
    rows = picture_bgr.reshape(height, 3 * width)
    spare = -3 * width % 4
    return np.pad(rows, ((0, 0), (0, spare))) if spare else rows
