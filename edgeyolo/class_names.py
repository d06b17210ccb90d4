"""Class names: from a file, or what a detector of that many classes was most likely trained on.

Owns the two lists that nearly every published detector uses, says which was taken, and finds the classes that
a user names. Refuses to guess in silence: the caller prints `ClassNames.origin`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgeyolo.errors import ConfigError

__all__ = ["COCO", "VOC", "ClassNames", "class_ids_from_names", "names_for", "read_names"]


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


def class_ids_from_names(names: Sequence[str], wanted: Sequence[str | int]) -> tuple[int, ...]:
    """Turn class names or ids, as a user gives them, into ids.

    Args:
        names: The engine's class names; the index is the id.
        wanted: Names (letter case counts only where two names differ by nothing else) or ids, as
            numbers or as text.

    Raises:
        ConfigError: One of them is not a class of this engine; a near name is proposed.

    Examples:
        >>> class_ids_from_names(["person", "car"], ["Car", "0"])
        (1, 0)
        >>> class_ids_from_names(["person", "car"], ["cat"])
        Traceback (most recent call last):
        ...
        edgeyolo.errors.ConfigError: classes: 'cat' is not one of the engine's 2 classes
    """
    if not wanted:
        raise ConfigError("classes: at least one name or id expected, none found")
    return tuple(_class_id(names, item) for item in wanted)


def _class_id(names: Sequence[str], item: str | int) -> int:
    text = str(item).strip()
    if text in names:
        return list(names).index(text)
    folded = [name.casefold() for name in names]
    if folded.count(text.casefold()) == 1:
        return folded.index(text.casefold())
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    near = difflib.get_close_matches(text.casefold(), folded, n=3)
    known = [names[folded.index(name)] for name in near] or list(names[:8])
    more = ", ..." if not near and len(names) > len(known) else ""
    start = "did you mean" if near else "it knows"
    raise ConfigError(
        f"classes: {text!r} is not one of the engine's {len(names)} classes",
        hint=f"{start} {', '.join(known)}{more}; ids are 0..{len(names) - 1}",
    )
