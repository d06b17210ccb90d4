"""Where pictures come from: one class a kind of source, one door to all of them."""

from __future__ import annotations

from edgeyolo.camera.address import STALL_TIMEOUT_S
from edgeyolo.camera.uri import open_source

__all__ = ["STALL_TIMEOUT_S", "open_source"]
