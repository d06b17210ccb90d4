"""What the command line asks of ``adapt``, and how its words are read.

Owns the options and their text form. Whether a model can follow them, the model's family says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeyolo.errors import ConfigError
from edgeyolo.spec import Preprocess

__all__ = ["AdaptOptions", "options_from_text", "preprocess_text"]

_FIELDS = ("resize", "channels", "scale", "mean", "std", "pad")
_OPTION_OF = {"pad_value": "pad"}
_EXAMPLE = "--preprocess resize=stretch,channels=rgb,scale=1/255,mean=0.485/0.456/0.406"


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """What the user says of a model.

    Args:
        family: The only family to try; None tries all.
        anchors: Width and height of every anchor in pixels, head by head from the finest.
        names: File of class names.
        preprocess: Fields of `Preprocess` that differ from the family's.
        input_wh: Network input in pixels where the graph leaves it open.
        strip_nms: Cut the suppression that the graph does itself.
    """

    family: str | None = None
    anchors: tuple[tuple[float, float], ...] = ()
    names: Path | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)
    input_wh: tuple[int, int] | None = None
    strip_nms: bool = False

    def words(self) -> list[str]:
        """Give the options as they stand on a command line; `options_from_text` reads them back.

        Examples:
            >>> options_from_text(anchors="10,13", size="64x32", preprocess="mean=0/0.5/1,pad=9").words()
            ['--anchors', '10,13', '--preprocess', 'mean=0.0/0.5/1.0,pad=9.0', '--size', '64x32']
        """
        changes = ",".join(f"{_OPTION_OF.get(key, key)}={_text(v)}" for key, v in self.preprocess.items())
        given = {
            "--family": self.family,
            "--anchors": ",".join(f"{number:g}" for anchor in self.anchors for number in anchor),
            "--names": self.names and str(self.names),
            "--preprocess": changes,
            "--size": self.input_wh and "{}x{}".format(*self.input_wh),
        }
        words = [word for option, value in given.items() if value for word in (option, value)]
        return [*words, *(["--strip-nms"] if self.strip_nms else [])]

    def preprocess_of(self, family: Preprocess) -> Preprocess:
        """Give the family's preprocess with the user's changes.

        Raises:
            ModelError: A value is out of its range.
        """
        return dataclasses.replace(family, **self.preprocess)


def options_from_text(
    *,
    family: str | None = None,
    anchors: str | None = None,
    names: Path | None = None,
    preprocess: str | None = None,
    size: str | None = None,
    strip_nms: bool = False,
) -> AdaptOptions:
    """Read the options of the command line.

    Raises:
        ConfigError: One cannot be read.

    Examples:
        >>> options = options_from_text(anchors="10,13, 16,30", size="64x32", preprocess="mean=0/0/0")
        >>> options.anchors, options.input_wh, options.preprocess["mean"]
        (((10.0, 13.0), (16.0, 30.0)), (64, 32), (0.0, 0.0, 0.0))
    """
    return AdaptOptions(
        family=family,
        anchors=_anchors(anchors),
        names=names,
        preprocess=_preprocess(preprocess),
        input_wh=_size(size),
        strip_nms=strip_nms,
    )


def preprocess_text(preprocess: Preprocess) -> str:
    """Give a preprocess as ``--preprocess`` takes it.

    Examples:
        >>> text = preprocess_text(Preprocess(channels="bgr", pad_value=114.0))
        >>> text
        'resize=letterbox,channels=bgr,scale=1/255,mean=0/0/0,std=1/1/1,pad=114'
        >>> Preprocess(**options_from_text(preprocess=text).preprocess) == Preprocess(
        ...     channels="bgr", pad_value=114.0)
        True
    """
    scale = "1/255" if preprocess.scale == 1 / 255 else f"{preprocess.scale:g}"
    mean, std = ("/".join(f"{value:g}" for value in values) for values in (preprocess.mean, preprocess.std))
    return (
        f"resize={preprocess.resize},channels={preprocess.channels},scale={scale},mean={mean},std={std},"
        f"pad={preprocess.pad_value:g}"
    )


def _anchors(text: str | None) -> tuple[tuple[float, float], ...]:
    if text is None:
        return ()
    try:
        numbers = [float(part) for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
    except ValueError as exc:
        raise ConfigError(f"--anchors: numbers W,H,W,H,... expected, {text!r} found") from exc
    if len(numbers) % 2 or not numbers or not all(0 < number < 1e5 for number in numbers):
        raise ConfigError(
            f"--anchors: pairs of sizes in pixels expected, {len(numbers)} numbers {text!r} found",
            hint="--anchors 10,13,16,30,33,23,...",
        )
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ConfigError(f"--size: N or WxH in pixels expected, {text!r} found", hint="--size 640x384")
    return int(numbers[0]), int(numbers[-1])


def _preprocess(text: str | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for part in (text or "").replace(" ", ",").split(","):
        if not part:
            continue
        key, _, value = part.partition("=")
        if key not in _FIELDS or not value:
            raise ConfigError(
                f"--preprocess: {', '.join(_FIELDS)} with a value each expected, {part!r} found",
                hint=_EXAMPLE,
            )
        if key in ("resize", "channels"):
            changes[key] = value
        elif key in ("mean", "std"):
            changes[key] = tuple(_number(key, item) for item in value.split("/"))
        else:
            changes["pad_value" if key == "pad" else key] = _number(key, value)
    return changes


def _text(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(key: str, text: str) -> float:
    """Read a number or a fraction, as in ``1/255``."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError) as exc:
        raise ConfigError(f"--preprocess {key}: a number expected, {text!r} found", hint=_EXAMPLE) from exc
