"""A source by its URI: the one place that knows every kind.

Owns telling the kinds apart and the near names of a file that is not there. Each kind is a class of its own.
"""

from __future__ import annotations

import difflib
import glob
import re
from pathlib import Path

from edgeyolo.camera.address import NETWORK, STALL_TIMEOUT_S, Address
from edgeyolo.camera.images import ImageSource, natural_key
from edgeyolo.camera.video import VideoSource
from edgeyolo.errors import SourceOpenError
from edgeyolo.frames import Source
from edgeyolo.vision.images import is_image_path

__all__ = ["open_source"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(?://)?(.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"\d+(\?.*)?", re.ASCII | re.DOTALL)
_KINDS = (
    "an image, a folder or a glob of images, a video file, test://, or a camera "
    "(0, v4l2://, csi://, rtsp://, http://, gst:)"
)


def open_source(uri: str, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> Source:
    """Open a source of pictures.

    Args:
        uri: An image, a folder of images, a glob such as ``"shots/*.png"``, a video file (any of these
            also as ``file://``), ``test://?width=640&height=480&...`` for a synthetic scene; of live cameras
            ``0`` or ``v4l2:///dev/video0``, ``csi://0``, ``rtsp://...``, ``http(s)://...`` with MJPEG or HLS,
            and ``gst:PIPELINE``, with options as ``docs/cameras.md`` has them.
        stall_timeout_s: Seconds without a picture that count as a fault of a live camera.

    Returns:
        The source; what can be checked without decoding or connecting has been checked.

    Raises:
        SourceOpenError: There is no such thing, or the address is malformed.
        MissingDependencyError: What it cannot be read without is not installed.
    """
    if not uri:
        raise SourceOpenError(f"source: {_KINDS} expected, nothing found")
    if _NUMBER.fullmatch(uri) and not Path(uri).exists():
        return _open_live("v4l2", uri, stall_timeout_s)
    scheme = _SCHEME.fullmatch(uri)
    if scheme and not Path(uri).exists():
        name = scheme[1].lower()
        if name == "test":
            from edgeyolo.camera.synthetic import SyntheticSource

            return SyntheticSource.from_uri(uri)
        if name == "file":
            return _open_path(scheme[2])
        return _open_live(name, uri, stall_timeout_s)
    return _open_path(uri)


def _open_live(scheme: str, uri: str, stall_timeout_s: float) -> Source:
    """Open a camera; its module is loaded only now, for a device has few of them."""
    if scheme == "gst":
        from edgeyolo.camera.launch import LaunchSource

        return LaunchSource(uri, stall_timeout_s=stall_timeout_s)
    if scheme == "v4l2":
        from edgeyolo.camera.usb import UsbSource

        return UsbSource(Address.parse(uri), stall_timeout_s=stall_timeout_s)
    if scheme == "csi":
        from edgeyolo.camera.csi import CsiSource

        return CsiSource(Address.parse(uri), stall_timeout_s=stall_timeout_s)
    if scheme in NETWORK:
        from edgeyolo.camera.network import HttpSource, RtspSource

        kind = RtspSource if scheme.startswith("rtsp") else HttpSource
        return kind(Address.parse(uri), stall_timeout_s=stall_timeout_s)
    raise SourceOpenError(f"{scheme}:// is not read; {_KINDS} expected")


def _open_path(text: str) -> Source:
    path = Path(text).expanduser()
    if path.is_dir():
        return ImageSource(_images_in(path), name=text)
    if path.is_file():
        return ImageSource([path], name=text) if is_image_path(path) else VideoSource(path)
    if path.exists():
        raise SourceOpenError(f"{text}: {_KINDS} expected, a device or a pipe found")
    if glob.has_magic(text):
        return ImageSource(_images_matching(text), name=text)
    raise SourceOpenError(f"{text}: no such file or folder", hint=_near(path))


def _images_in(folder: Path) -> list[Path]:
    images = [path for path in folder.iterdir() if is_image_path(path) and path.is_file()]
    if not images:
        others = sorted({path.suffix.lower() for path in folder.iterdir() if path.is_file() and path.suffix})
        found = f"files of the kinds {', '.join(others[:6])}" if others else "no files"
        raise SourceOpenError(
            f"{folder}: images expected in the folder, {found} found",
            hint="folders inside it are not searched; name the one with the images, or a glob",
        )
    return sorted(images, key=natural_key)


def _images_matching(pattern: str) -> list[Path]:
    matches = [Path(match) for match in glob.glob(str(Path(pattern).expanduser()), recursive=True)]
    images = [path for path in matches if is_image_path(path) and path.is_file()]
    if not images:
        raise SourceOpenError(
            f"{pattern}: images expected, {len(matches)} other files match"
            if matches
            else f"{pattern}: no file matches",
            hint="put the pattern in quotes, so that the shell leaves it alone",
        )
    return sorted(images, key=natural_key)


def _near(path: Path) -> str | None:
    """Propose what lies in the nearest folder that exists and is spelled nearly so."""
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    if folder is None:
        return None
    missing = path.relative_to(folder).parts[0]
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(missing, names, n=3)
    if near:
        return "did you mean " + " or ".join(str(folder / name) for name in near)
    return f"{folder}/ is there, and has no {missing!r}"
