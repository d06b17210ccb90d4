"""What a GStreamer pipeline complains of, as an error of ours.

Owns the words and the remedies. Every text of GStreamer passes through `scrub`: its debug texts have
addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgeyolo.camera.credentials import scrub
from edgeyolo.camera.faults import FAILED, Peer, refusal
from edgeyolo.errors import SourceError, SourceOpenError, SourceRefusedError
from edgeyolo.gstreamer import load_gst
from edgeyolo.optional import require

__all__ = ["ARGUS_REMEDY", "Complaint", "error_from", "missing_plugin_error", "parsed"]

ARGUS_REMEDY = "sudo systemctl restart nvargus-daemon   (and end every other program that has the camera)"
# What rtspsrc and souphttpsrc say whatever the reason is that they have no connection.
_SAYS_NOTHING = re.compile(r"Failed to connect|Could not (connect|receive)|streaming stopped, reason error")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error message of the bus.

    Args:
        element: The factory's name, such as ``rtspsrc``; a bin's own children too.
        text: For users.
        debug: For developers; the last line says most.
        status: Of HTTP or RTSP, where the other side gave one.
        gerror: GStreamer's own error.
        is_source: Whether the pipeline's own source complains, rather than a part behind it.
    """

    element: str
    text: str
    debug: str
    status: int | None
    gerror: Any
    is_source: bool

    @classmethod
    def of(cls, message: Any) -> Complaint:
        """Read an error message."""
        gerror, debug = message.parse_error()
        factory = message.src.get_factory() if hasattr(message.src, "get_factory") else None
        return cls(
            element=factory.get_name() if factory else message.src.get_name(),
            text=gerror.message,
            debug=(debug or "").strip().splitlines()[-1] if debug else "",
            status=_status(message.parse_error_details()),
            gerror=gerror,
            is_source=message.src.get_name() == "source",
        )


def parsed(text: str, peer: Peer) -> Any:
    """Make the pipeline of a text; nothing runs.

    Raises:
        SourceOpenError: GStreamer does not take it.
    """
    glib = require("gi.repository.GLib", why="to read cameras with GStreamer")
    try:
        return load_gst().parse_launch(text)
    except glib.Error as exc:
        raise SourceOpenError(
            f"{peer.name}: GStreamer does not take the pipeline: {scrub(exc.message, *peer.secrets)}",
            hint="gst-launch-1.0 PIPELINE ! fakesink   (tries it; gst-inspect-1.0 lists the elements)",
        ) from None  # GLib's own text has not been scrubbed


def error_from(complaint: Complaint, peer: Peer) -> SourceError:
    """Translate.

    Args:
        complaint: What the pipeline said.
        peer: The camera.
    """
    name = peer.name
    if complaint.status is not None and complaint.status >= FAILED:
        return refusal(complaint.status, peer)
    raw = f"{complaint.element}: {complaint.text} {f'({complaint.debug})' if complaint.debug else ''}"
    words = scrub(raw.strip(), *peer.secrets)
    if complaint.element == "nvarguscamerasrc" or "argus" in raw.lower():
        return SourceOpenError(f"{name}: the camera daemon fails: {words}", hint=ARGUS_REMEDY)
    if "not-negotiated" in complaint.debug:
        return SourceRefusedError(
            f"{name}: the camera does not deliver what is asked of it: {words}",
            hint="leave out width, height and fps, or take what `edgeyolo doctor` lists",
        )
    if complaint.element == "v4l2src":
        return _of_device(complaint, name, words)
    if complaint.is_source and peer.reach is not None and _SAYS_NOTHING.search(complaint.debug):
        return SourceError(f"{name}: no connection: {peer.reach()}")
    return SourceError(f"{name}: {words}")


def missing_plugin_error(structure: Any, *, name: str) -> SourceRefusedError:
    """Translate the message that no plugin takes a stream."""
    what = structure.get_string("name") or "the stream"
    return SourceRefusedError(
        f"{name}: a stream of H.264, H.265 or MJPEG expected, found what GStreamer here cannot take: {what}",
        hint="set the camera to H.264, or look for the part: gst-inspect-1.0",
    )


def _of_device(complaint: Complaint, name: str, words: str) -> SourceError:
    codes = load_gst().ResourceError

    def is_one_of(*names: str) -> bool:
        return any(complaint.gerror.matches(codes.quark(), int(getattr(codes, n))) for n in names)

    if is_one_of("BUSY"):
        return SourceOpenError(
            f"{name}: another program has the camera", hint="sudo fuser -v /dev/video*   (names it)"
        )
    if is_one_of("NOT_FOUND"):
        return SourceOpenError(
            f"{name}: no such camera: {words}", hint="edgeyolo doctor   (lists the cameras)"
        )
    if is_one_of("OPEN_READ", "OPEN_READ_WRITE"):
        hint = "sudo usermod -aG video $USER, then log in again; or it is unplugged"
        return SourceOpenError(f"{name}: the camera cannot be opened: {words}", hint=hint)
    return SourceError(f"{name}: {words}")


def _status(details: Any) -> int | None:
    for key in ("rtsp-status-code", "http-status-code"):
        if details is not None and details.has_field(key):
            good, value = details.get_uint(key)
            return int(value) if good else None
    return None
