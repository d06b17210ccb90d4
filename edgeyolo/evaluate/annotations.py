"""Ground truth from a COCO "instances" file.

Owns reading it and saying what is wrong with it. Refuses to open the pictures and to know a model's classes
(`edgeyolo.evaluate.classes`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeyolo.errors import EvaluationError

__all__ = ["Annotations", "Picture", "TrueBox", "read_annotations"]

_HINT = 'a COCO "instances" file has the keys images, annotations and categories'


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that the file names.

    Args:
        image_id: Its id in the file.
        file_name: Where it is, below the folder of pictures.
        wh: Its size, where the file tells it.
    """

    image_id: int
    file_name: str
    wh: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class TrueBox:
    """An object that is in a picture.

    Args:
        image_id: Which picture.
        category_id: Which category, by its id in the file (COCO's 80 ids lie between 1 and 90).
        xywh: Left, top, width and height, pixels.
        crowd: A region of many objects: what is found in it is neither right nor wrong.
    """

    image_id: int
    category_id: int
    xywh: tuple[float, float, float, float]
    crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The contents of a ground truth file.

    Args:
        path: The file.
        pictures: In the order of the file.
        boxes: Of these pictures, in the order of the file.
        categories: Category id to name.
    """

    path: Path
    pictures: tuple[Picture, ...]
    boxes: tuple[TrueBox, ...]
    categories: Mapping[int, str]


def read_annotations(path: Path | str) -> Annotations:
    """Read a COCO "instances" file.

    ``iscrowd``, ``area``, ``segmentation`` and the sizes of pictures may be absent; a box of a picture that
    the file does not list is left out, as subsets of COCO have them.

    Args:
        path: The JSON file.

    Raises:
        EvaluationError: It cannot be read, is not JSON or not of this form; the text says where.
    """
    path = Path(path)
    data = _json_object(path)
    pictures = tuple(_pictures(path, data))
    known = {picture.image_id for picture in pictures}
    if len(known) != len(pictures):
        raise EvaluationError(f"{path}: images: ids that differ expected, an id found twice")
    categories = _categories(path, data)
    boxes = tuple(box for box in _boxes(path, data, categories) if box.image_id in known)
    return Annotations(path=path, pictures=pictures, boxes=boxes, categories=categories)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise EvaluationError(f"{path}: cannot be read: {exc.strerror or exc}", hint=_HINT) from exc
    except (ValueError, RecursionError) as exc:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise EvaluationError(f"{path}: JSON expected: {exc}", hint=_HINT) from exc
    if not isinstance(data, dict):
        what = "a list (COCO results have this form)" if isinstance(data, list) else type(data).__name__
        raise EvaluationError(f"{path}: a JSON object expected, {what} found", hint=_HINT)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            found = ", ".join(map(str, list(data)[:8])) or "nothing"
            raise EvaluationError(f'{path}: a list under the key "{key}" expected, {found} found', hint=_HINT)
    return data


def _entries(path: Path, data: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, entry in enumerate(data[key]):
        where = f"{path}: {key}[{index}]"
        if not isinstance(entry, dict):
            raise EvaluationError(f"{where}: an object expected, {type(entry).__name__} found", hint=_HINT)
        yield where, entry


def _pictures(path: Path, data: Mapping[str, Any]) -> Iterator[Picture]:
    for where, entry in _entries(path, data, "images"):
        name = entry.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name:
            raise EvaluationError(f"{where}: file_name: a name expected, {name!r} found", hint=_HINT)
        size = entry.get("width"), entry.get("height")
        wh = (_integer(where, entry, "width"), _integer(where, entry, "height")) if all(size) else None
        yield Picture(image_id=_integer(where, entry, "id"), file_name=name, wh=wh)


def _categories(path: Path, data: Mapping[str, Any]) -> dict[int, str]:
    categories: dict[int, str] = {}
    for where, entry in _entries(path, data, "categories"):
        name = entry.get("name")
        if not isinstance(name, str):
            raise EvaluationError(f"{where}: name: a text expected, {name!r} found", hint=_HINT)
        if name in categories.values():
            raise EvaluationError(f"{where}: names that differ expected, {name!r} found twice", hint=_HINT)
        categories[_integer(where, entry, "id")] = name
    return categories


def _boxes(path: Path, data: Mapping[str, Any], categories: Mapping[int, str]) -> Iterator[TrueBox]:
    for where, entry in _entries(path, data, "annotations"):
        category_id = _integer(where, entry, "category_id")
        if category_id not in categories:
            raise EvaluationError(
                f"{where}: category_id: an id under categories expected, {category_id} found", hint=_HINT
            )
        yield TrueBox(
            image_id=_integer(where, entry, "image_id"),
            category_id=category_id,
            xywh=_xywh(where, entry.get("bbox")),
            crowd=bool(entry.get("iscrowd", 0)),
        )


def _xywh(where: str, value: Any) -> tuple[float, float, float, float]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) == 4 and all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        x, y, w, h = map(float, numbers)
        if w >= 0 <= h:
            return x, y, w, h
    raise EvaluationError(f"{where}: bbox: [x, y, width, height] expected, {value!r} found", hint=_HINT)


def _integer(where: str, entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    # Some tools write ids as text or as 1.0.
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise EvaluationError(f"{where}: {key}: a whole number expected, {value!r} found", hint=_HINT)
    return value
