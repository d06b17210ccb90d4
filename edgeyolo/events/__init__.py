"""Objects followed from frame to frame; zones, lines and what happens at them."""

from __future__ import annotations

from edgeyolo.events.analyst import CameraAnalyst, analyst_for
from edgeyolo.events.counts_file import read_counts, write_counts
from edgeyolo.events.tracker import WEAK

__all__ = ["WEAK", "CameraAnalyst", "analyst_for", "read_counts", "write_counts"]
