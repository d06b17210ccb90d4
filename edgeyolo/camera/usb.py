"""A USB camera, or any other behind Video4Linux: ``0``, ``v4l2:///dev/video0``."""

from __future__ import annotations

from edgeyolo.camera.decoders import choose_decoder
from edgeyolo.camera.live_source import LiveSource
from edgeyolo.camera.opencv_grabber import OpenCvTarget
from edgeyolo.camera.pipelines import Recipe, usb_text
from edgeyolo.camera.usb_mode import MEDIA, choose_mode
from edgeyolo.camera.v4l2 import Mode, read_device
from edgeyolo.errors import SourceOpenError

__all__ = ["UsbSource"]


class UsbSource(LiveSource):
    """A `edgeyolo.frames.Source` of a video device: the mode is chosen from what the driver lists."""

    elements = ("v4l2src", "appsink", "videoconvert")

    def recipe(self) -> Recipe:
        """Ask the device, and choose."""
        mode = self._mode()
        media = MEDIA[mode.fourcc]
        decoder, note = None, "no decoder needed"
        if media == "image/jpeg":
            decoder, note = choose_decoder(media, self.address.options.decoder)
        rate = f"{mode.fps.numerator}/{mode.fps.denominator}"
        return Recipe(
            text=usb_text(media, mode.size_wh, rate, decoder, self.address.options),
            source={"device": self.address.location},
            notes=(f"{mode} FPS", note),
        )

    def opencv_target(self) -> OpenCvTarget:
        """Give the device; the mode is asked of the driver as for GStreamer."""
        lack = "OpenCV chooses its decoder itself" if self.address.options.decoder else None
        return OpenCvTarget(self.address.location, mode=self._mode, lack=lack, remedy="leave out decoder=")

    def _mode(self) -> Mode:
        device = read_device(self.address.location)
        if device is None:
            raise SourceOpenError(
                f"{self.name}: it gives no pictures (a camera has several devices, one of which does)",
                hint="edgeyolo doctor   (lists the cameras)",
            )
        return choose_mode(device, self.address.options, name=self.name)
