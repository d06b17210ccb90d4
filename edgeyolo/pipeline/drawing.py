"""What is drawn on a picture: what the camera's analyst has to show, and over it boxes and labels.

Owns the order of the two. Refuses to choose colours (`edgeyolo.vision.draw`, `edgeyolo.events`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeyolo.frames import Analyst, Result
from edgeyolo.vision.draw import Painter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeyolo.pipeline.loop import Draw

__all__ = ["drawer"]


def drawer(names: Sequence[str], analysts: Mapping[str, Analyst] | None = None) -> Draw:
    """Make what draws a result on a picture of its frame, in place.

    Args:
        names: Class names; the index is the class id.
        analysts: Camera to its analyst.

    Raises:
        MissingDependencyError: OpenCV is absent.
    """
    painter = Painter(names)

    def draw(picture_bgr: npt.NDArray[np.uint8], result: Result) -> None:
        if analysts and (analyst := analysts.get(result.frame.camera)) is not None:
            analyst.draw(picture_bgr)
        painter.draw(picture_bgr, result.output)

    return draw
