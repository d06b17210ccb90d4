"""A network camera: ``rtsp://``, ``rtsps://``, and ``http(s)://`` with MJPEG or an HLS playlist."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from edgeyolo.camera.address import STALL_TIMEOUT_S, Address
from edgeyolo.camera.live_source import LiveSource
from edgeyolo.camera.opencv_grabber import OpenCvTarget
from edgeyolo.camera.pipelines import SINK, Recipe
from edgeyolo.errors import SourceOpenError

__all__ = ["HttpSource", "RtspSource"]

# GstRTSPLowerTrans and GTlsCertificateFlags, by number: their namespaces need not be loaded for it.
_TRANSPORTS = {"udp": 0x1, "tcp": 0x4}
_NO_CHECKS, _ALL_CHECKS = 0, 0x7F
_US = 1_000_000
_PATIENCE = 2  # GStreamer's own time limits are behind ours, which has the better words


class _NetworkSource(LiveSource):
    def __init__(self, address: Address, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        super().__init__(address, stall_timeout_s=stall_timeout_s)
        fps = address.options.fps
        if fps is not None and not fps.is_integer():
            raise SourceOpenError(
                f"{address.name}: fps: a whole number expected, {fps:g} found",
                hint="a network camera sends its own rate; fps= leaves out pictures beyond so many a second",
            )

    def opencv_target(self) -> OpenCvTarget:
        """Give the address with credentials, as FFmpeg takes them."""
        options, lack, remedy = self.address.options, None, None
        if options.decoder:
            lack, remedy = "OpenCV chooses its decoder itself", "leave out decoder="
        elif options.verify and self.address.scheme in ("rtsps", "https"):
            lack, remedy = (
                "OpenCV does not check certificates",
                "?verify=0 accepts that; GStreamer does check",
            )
        return OpenCvTarget(self._location_with_login(), lack=lack, remedy=remedy)

    def _location_with_login(self) -> str:
        address = self.address
        scheme, _, rest = address.location.partition("://")
        login = ""
        if address.user is not None:
            login = quote(address.user, safe="")
            login += "" if address.password is None else f":{quote(address.password, safe='')}"
            login += "@"
        return f"{scheme}://{login}{rest}"

    def _login(self) -> dict[str, object]:
        address = self.address
        return {} if address.user is None else {"user-id": address.user, "user-pw": address.password or ""}


class RtspSource(_NetworkSource):
    """A `edgeyolo.frames.Source` of a stream over RTSP.

    TCP by default: over UDP a lost packet spoils every picture up to the next key frame, and a detector sees
    things in the smear. In a local network TCP costs no time.
    """

    elements = ("rtspsrc", "rtph264depay", "h264parse", "appsink", "videoconvert")

    def recipe(self) -> Recipe:
        """Give the pipeline; the decoder is chosen when the camera has said what it sends."""
        options = self.address.options
        source: dict[str, object] = {
            "location": self.address.location,
            "protocols": _TRANSPORTS[options.transport],
            "latency": options.latency,
            "tcp-timeout": int(_PATIENCE * self._stall_timeout_s * _US),
            "timeout": 0,  # no change to TCP by itself: the user chose
            **self._login(),
        }
        if self.address.scheme == "rtsps":
            source["tls-validation-flags"] = _ALL_CHECKS if options.verify else _NO_CHECKS
        return Recipe(
            text=f"rtspsrc name=source {SINK}",
            source=source,
            notes=(f"RTSP over {options.transport.upper()}",),
        )


class HttpSource(_NetworkSource):
    """A `edgeyolo.frames.Source` of MJPEG or an HLS playlist over HTTP."""

    elements = ("souphttpsrc", "parsebin", "multipartdemux", "appsink", "videoconvert")

    def recipe(self) -> Recipe:
        """Give the pipeline; what it is becomes known when it comes."""
        source: dict[str, object] = {
            "location": self.address.location,
            "is-live": True,
            "do-timestamp": True,
            "retries": 0,  # the frame loop tries again, and says so
            "timeout": 1 + int(_PATIENCE * self._stall_timeout_s),
            **self._login(),
        }
        if urlsplit(self.address.location).path.lower().endswith(".m3u8"):
            # The pieces of a playlist are fetched by other elements, which know its address and nothing else.
            source["location"] = self._location_with_login()
        if self.address.scheme == "https":
            source["ssl-strict"] = self.address.options.verify
        return Recipe(text=f"souphttpsrc name=source ! parsebin name=parse {SINK}", source=source)
