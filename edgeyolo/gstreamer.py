"""GStreamer, loaded when a camera or a recording needs it, and which of its elements are here.

Owns the import through PyGObject and the command that brings it. Refuses to build pipelines.

PyGObject works whatever OpenCV was built with: pip's OpenCV has no GStreamer at all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from edgeyolo.errors import MissingDependencyError
from edgeyolo.optional import require

__all__ = ["apt_line", "has_element", "load_gst", "missing_elements", "opens"]

_WHY = "for GStreamer"
_APT_LINE = (
    "sudo apt-get install gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-libav"
)


@functools.cache
def load_gst() -> Any:
    """Load and start GStreamer.

    Returns:
        The namespace ``Gst`` of ``gi.repository``; ``GstApp`` is loaded with it.

    Raises:
        MissingDependencyError: PyGObject or GStreamer's introspection data is not here.
    """
    gi = require("gi", why=_WHY)
    try:
        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
    except ValueError as exc:
        raise MissingDependencyError(f"PyGObject does not find GStreamer: {exc}", hint=_APT_LINE) from exc
    gst = require("gi.repository.Gst", why=_WHY)
    require("gi.repository.GstApp", why=_WHY)  # gives appsrc and appsink their methods
    gst.init(None)
    return gst


def apt_line(elements: Iterable[str] = ()) -> str:
    """Give the command that brings GStreamer, or some elements of it.

    Examples:
        >>> apt_line(["nvarguscamerasrc"])
        'sudo apt-get install nvidia-l4t-gstreamer   (on a Jetson)'
    """
    if any(name.startswith("nv") for name in elements):
        return "sudo apt-get install nvidia-l4t-gstreamer   (on a Jetson)"
    return _APT_LINE


def missing_elements(names: Iterable[str]) -> tuple[str, ...]:
    """Give those of some elements that are not in GStreamer's registry."""
    return tuple(name for name in names if not has_element(name))


def has_element(name: str) -> bool:
    """Tell whether an element is in GStreamer's registry."""
    return load_gst().ElementFactory.find(name) is not None


def opens(name: str) -> bool:
    """Tell whether an element finds the device that it drives: being installed is not enough for that."""
    gst = load_gst()
    element = gst.ElementFactory.make(name, None)
    if element is None:
        return False
    good = bool(element.set_state(gst.State.READY) != gst.StateChangeReturn.FAILURE)
    element.set_state(gst.State.NULL)
    return good
