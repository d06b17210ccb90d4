"""Which class of a model is which category of a ground truth file: by name, never by number.

COCO's category ids have gaps (80 of 1 to 90), Darknet's class ids have none, and a file of one's own may be
in any order; names are what both sides mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeyolo.errors import EvaluationError

__all__ = ["ClassMatch", "match_classes"]

# Darknet's data/coco.names calls six classes as PASCAL VOC does; two of these differ by a space only.
_VOC_TO_COCO = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class ClassMatch:
    """Classes and categories that are the same.

    Args:
        category_of: Class id to category id.
        without_category: Names of classes that the file has no category for.
        without_class: Names of categories that the model has no class for.
    """

    category_of: Mapping[int, int]
    without_category: tuple[str, ...]
    without_class: tuple[str, ...]


def match_classes(names: Sequence[str], categories: Mapping[int, str]) -> ClassMatch:
    """Match by name; case, spaces, hyphens and underscores do not count, and VOC's words are COCO's.

    Args:
        names: The model's class names; the index is the class id.
        categories: Category id to name.

    Raises:
        EvaluationError: No name is on both sides, or two of one side are the same to this rule.

    Examples:
        >>> match = match_classes(["Traffic Light", "sofa", "cup"], {10: "traffic_light", 63: "couch"})
        >>> dict(match.category_of), match.without_category
        ({0: 10, 1: 63}, ('cup',))
    """
    category_ids = {key: i for i, key in _keys("categories", categories).items()}
    class_ids = {key: i for i, key in _keys("class names", dict(enumerate(names))).items()}
    both = [key for key in class_ids if key in category_ids]
    if not both:
        raise EvaluationError(
            f"no class of the model is a category of the annotations: classes {_some(names)}; "
            f"categories {_some(list(categories.values()))}",
            hint="give the model its names: edgeyolo convert ... --names FILE",
        )
    return ClassMatch(
        category_of={class_ids[key]: category_ids[key] for key in both},
        without_category=tuple(names[i] for key, i in class_ids.items() if key not in category_ids),
        without_class=tuple(categories[i] for key, i in category_ids.items() if key not in class_ids),
    )


def _keys(what: str, names: Mapping[int, str]) -> dict[int, str]:
    keys: dict[int, str] = {}
    seen: dict[str, str] = {}
    for index, name in names.items():
        plain = re.sub(r"[\s_-]+", "", name.casefold())
        key = _VOC_TO_COCO.get(plain, plain)
        if key in seen:
            raise EvaluationError(
                f"{what}: names that differ expected, {seen[key]!r} and {name!r} are the same"
            )
        seen[key] = name
        keys[index] = key
    return keys


def _some(names: Sequence[str]) -> str:
    more = f", ... ({len(names)})" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
