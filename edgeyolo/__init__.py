"""EdgeYOLO: from YOLO weights to a live camera on Jetson-class hardware.

Owns nothing but the version and the two names most programs need, `Detector` and `Detections`; both are
imported on first use, so that ``import edgeyolo`` stays cheap on a small board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeyolo.detections import Detections
    from edgeyolo.runtime.detector import Detector

__all__ = ["Detections", "Detector", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Detector":
        from edgeyolo.runtime.detector import Detector

        return Detector
    if name == "Detections":
        from edgeyolo.detections import Detections

        return Detections
    raise AttributeError(f"module 'edgeyolo' has no attribute {name!r}")
