"""What cameras are here and what reads them, for ``edgeyolo doctor``: GStreamer, decoders, devices, Argus.

Owns the questions and the remedies. A camera is asked what it can do, and never started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgeyolo.camera.decoders import CODECS, choose_decoder
from edgeyolo.camera.usb_mode import MEDIA
from edgeyolo.camera.v4l2 import VideoDevice, read_device
from edgeyolo.errors import EdgeYoloError, MissingDependencyError, SourceOpenError
from edgeyolo.gstreamer import apt_line, has_element, load_gst, missing_elements
from edgeyolo.jetson import l4t_here
from edgeyolo.pipeline.doctor import Answer

__all__ = ["camera_answers"]

_NETWORK = ("rtspsrc", "souphttpsrc", "multipartdemux", "parsebin", "appsink")
# The daemon that drives CSI cameras listens here; without it nvarguscamerasrc waits for ever.
_ARGUS_SOCKET = "tmp/argus_socket"


def camera_answers(root: Path) -> Iterator[Answer]:
    """Tell what reads cameras, and the cameras that the kernel knows."""
    on_jetson = l4t_here(root) is not None
    yield from _gstreamer(on_jetson)
    if on_jetson:
        yield _argus(root)
    devices = sorted((root / "dev").glob("video[0-9]*"), key=lambda path: int(path.name[5:]))
    answers = [answer for device in devices for answer in _device(root, device)]
    if not answers:
        yield Answer(
            "camera", "note", "none; test:// is a source that needs none", "edgeyolo run ENGINE test://"
        )
    yield from answers


def _gstreamer(on_jetson: bool) -> Iterator[Answer]:
    try:
        gst = load_gst()
    except MissingDependencyError as exc:
        text = (
            f"{exc.message}; cameras are read by OpenCV{', and CSI cameras not at all' if on_jetson else ''}"
        )
        yield Answer("GStreamer", "warning" if on_jetson else "note", text, exc.hint)
        return
    version = gst.version_string().removeprefix("GStreamer ")
    missing = missing_elements(_NETWORK)
    if missing:
        yield Answer(
            "GStreamer", "warning", f"{version} without {', '.join(missing)}: no network cameras", apt_line()
        )
    else:
        yield Answer("GStreamer", "ok", f"{version} through PyGObject")
    for media in CODECS:
        try:
            yield Answer("decoder", "ok", choose_decoder(media)[1])
        except EdgeYoloError as exc:
            yield Answer("decoder", "warning", exc.message, exc.hint)


def _argus(root: Path) -> Answer:
    if not _is_here("nvarguscamerasrc"):
        return Answer(
            "CSI", "note", "GStreamer has no nvarguscamerasrc: no csi://", apt_line(["nvarguscamerasrc"])
        )
    if not (root / _ARGUS_SOCKET).exists():
        return Answer(
            "CSI", "warning", "the camera daemon does not run", "sudo systemctl restart nvargus-daemon"
        )
    return Answer("CSI", "ok", "the camera daemon runs: csi://0 is the first sensor")


def _is_here(name: str) -> bool:
    """Tell whether an element is here, also where GStreamer is not."""
    try:
        return has_element(name)
    except MissingDependencyError:
        return False


def _device(root: Path, path: Path) -> Iterator[Answer]:
    shown = f"/dev/{path.name}"
    if not os.access(path, os.R_OK | os.W_OK):
        text = f"{shown}: {_name_of(root, path)}; this user may not open it"
        yield Answer("camera", "problem", text, "sudo usermod -aG video $USER, then log in again")
        return
    try:
        device = read_device(path)
    except SourceOpenError:
        yield Answer("camera", "ok", f"{shown}: {_name_of(root, path)}; it does not tell what it can do")
        return
    if device is not None:  # else a node of metadata beside a camera
        yield Answer("camera", "ok", f"{shown}: {device.card}; {_abilities(device)}")


def _abilities(device: VideoDevice) -> str:
    if device.modes and not any(mode.fourcc in MEDIA for mode in device.modes):
        return f"a bare sensor, which csi:// reads ({'; '.join(device.formats())})"
    return "; ".join(device.formats()) or "no formats"


def _name_of(root: Path, path: Path) -> str:
    try:
        return (root / "sys/class/video4linux" / path.name / "name").read_text().strip()
    except OSError:
        return "not named"
