"""The architectures that are known by name, so that a user needs the weights only.

Owns the names. Each is a function in its own module that states the structure.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from edgeyolo.darknet.architectures.darknet53 import darknet53, darknet53_448
from edgeyolo.darknet.architectures.yolov2 import darknet19, yolov2, yolov2_tiny
from edgeyolo.darknet.architectures.yolov3 import yolov3, yolov3_openimages, yolov3_spp, yolov3_tiny
from edgeyolo.darknet.architectures.yolov4 import yolov4, yolov4_tiny
from edgeyolo.darknet.cfg import Cfg
from edgeyolo.errors import ConfigError

__all__ = ["ARCHITECTURES", "architecture"]

_FUNCTIONS: dict[str, Callable[[], Cfg]] = {
    "darknet53": darknet53,
    "darknet53_448": darknet53_448,
    "darknet19": darknet19,
    "yolov3": yolov3,
    "yolov3-tiny": yolov3_tiny,
    "yolov3-spp": yolov3_spp,
    "yolov3-openimages": yolov3_openimages,
    "yolov2": yolov2,
    "yolov2-tiny": yolov2_tiny,
    "yolov4": yolov4,
    "yolov4-tiny": yolov4_tiny,
}

ARCHITECTURES = tuple(_FUNCTIONS)
"""Names that `architecture` knows."""


def architecture(name: str) -> Cfg:
    """Give the cfg of a known architecture.

    Args:
        name: One of `ARCHITECTURES`.

    Returns:
        What ``read_cfg`` would give for its file, without the options of training.

    Raises:
        ConfigError: The name is not known.

    Examples:
        >>> cfg = architecture("darknet53")
        >>> sum(section.kind == "convolutional" for section in cfg.sections)
        53
    """
    function = _FUNCTIONS.get(name)
    if function is None:
        close = difflib.get_close_matches(name[:40], ARCHITECTURES, n=1)
        raise ConfigError(
            f"a known architecture expected, {name[:80]!r} found",
            hint=(f"did you mean {close[0]}? " if close else "") + f"known: {', '.join(ARCHITECTURES)}",
        )
    return function()
