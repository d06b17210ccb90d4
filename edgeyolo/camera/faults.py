"""The camera as an error speaks of it, and what its own answers mean.

Owns the words for a status of HTTP or RTSP, whichever library reads the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeyolo.errors import SourceError, SourceRefusedError

__all__ = ["FAILED", "Peer", "refusal"]

FAILED = 400
"""Statuses of HTTP and RTSP from here on say no."""

_REFUSED = {401, 403, 407}
_NOTHING_THERE = {404, 410, 454}
_NO_TRANSPORT = 461  # RTSP: Unsupported Transport


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The camera.

    Args:
        name: The source's printable name.
        secrets: Addresses whose credentials must not be shown.
        has_login: Whether credentials were given.
        reach: Finds out why a network camera cannot be reached; None where there is no network.
        status: Asks a network camera for its status, for a library that does not tell it.
    """

    name: str
    secrets: tuple[str, ...] = ()
    has_login: bool = False
    reach: Callable[[], str] | None = None
    status: Callable[[], int | None] | None = None


def refusal(status: int, peer: Peer) -> SourceError:
    """Give the error for a status that says no."""
    name, scheme = peer.name, peer.name.partition(":")[0]
    if status in _REFUSED:
        what = (
            "the camera refuses this user and password" if peer.has_login else "the camera asks for a login"
        )
        return SourceRefusedError(
            f"{name}: {what} ({status})",
            hint=f"{scheme}://USER:PASSWORD@HOST/...   (special characters percent-encoded: @ is %40)",
        )
    if status in _NOTHING_THERE:
        return SourceRefusedError(
            f"{name}: the camera answers, and has no such stream ({status})",
            hint="the path of a stream is in the camera's manual or its ONVIF page",
        )
    if status == _NO_TRANSPORT:
        return SourceRefusedError(
            f"{name}: the camera does not do this transport ({status})", hint="?transport=udp, or tcp"
        )
    return SourceError(f"{name}: the camera answers with an error ({status})")
