"""Class names: from a file, or what a detector of that many classes was most likely trained on.

Owns the two lists that nearly every published detector uses, and says which was taken. Refuses to
guess in silence: the caller prints `ClassNames.origin`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgeyolo.errors import ConfigError

__all__ = ["COCO", "VOC", "ClassNames", "names_for", "read_names"]


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.replace("\n", " ").split(","))


# Darknet data/coco.names and data/voc.names, in their order.
COCO = _split("""
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
    hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
    vase, scissors, teddy bear, hair drier, toothbrush
""")
VOC = _split("""
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
    motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
""")
_KNOWN = {len(COCO): ("COCO's", COCO), len(VOC): ("Pascal VOC's", VOC)}


class ClassNames(NamedTuple):
    """Names and where they come from, as a sentence for the user."""

    names: tuple[str, ...]
    origin: str


def names_for(classes: int, *, detects: bool, path: Path | None) -> ClassNames:
    """Choose the class names of a model.

    Args:
        classes: How many it has.
        detects: A detector, not a classifier.
        path: The user's file, or None.

    Raises:
        ConfigError: The file cannot be read or has another number of names.

    Examples:
        >>> names_for(2, detects=True, path=None)
        ClassNames(names=('class_0', 'class_1'), origin='names: class_0 to class_1, as --names was not given')
    """
    if path is not None:
        names = read_names(path)
        if len(names) != classes:
            raise ConfigError(
                f"{path}: {classes} class names expected, {len(names)} found",
                hint="one name a line, in the order of training; or another cfg",
            )
        return ClassNames(names, f"names: {classes} from {path}")
    if detects and classes in _KNOWN:
        owner, names = _KNOWN[classes]
        return ClassNames(names, f"names: {owner} {classes}, by their number, as --names was not given")
    generic = tuple(f"class_{i}" for i in range(classes))
    which = f"{generic[0]} to {generic[-1]}" if classes > 1 else generic[0]
    return ClassNames(generic, f"names: {which}, as --names was not given")


def read_names(path: Path) -> tuple[str, ...]:
    """Read one class name a line, as Darknet's ``.names`` files are; blank lines at the end do not count.

    Raises:
        ConfigError: It cannot be read, is not UTF-8 text, or holds no name.

    Source:
        ``get_labels`` (src/data.c).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot read the class names: {exc.strerror or exc}",
            hint="--names FILE, one name a line",
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: a UTF-8 text file of class names expected: {exc}") from exc
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if not names or "\0" in text:
        raise ConfigError(f"{path}: a text file of class names expected, one a line; no name found")
    return names
