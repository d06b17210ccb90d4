"""Pixels to tensor, outputs to boxes, boxes to picture: shared by calibration, evaluation and run.

Owns the one implementation of each. Refuses to know engines, cameras and files of models.
"""

from __future__ import annotations

__all__: list[str] = []
